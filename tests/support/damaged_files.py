"""Files that are valid but for some damage: bytes, and members that are gone, odd, nested or double."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from hypothesis import strategies as st

ODD_VALUES: Final[tuple[str, ...]] = (
    *("null", "true", "-1", "0", "1.5", '""', '"x"', "[]", "{}", "[[]]", '{"a": 1}', '["a", 1]'),
    *("NaN", "Infinity", "-1e400", "1e308", "9" * 30, "9" * 5_000, '"\\ud800"', '"\\u0000"', '"\\u001b[2J"'),
    *(
        '"2026-02-30T99:00:00Z"',
        '"9999-12-31T23:59:59+14:00"',
        '"http://[::1"',
        '"../../x"',
        '"' + "a" * 5_000 + '"',
    ),
    *("[" * 300 + "]" * 300, '{"a":' * 300 + "1" + "}" * 300, "[" * 100_000),
)
BOMB: Final = "\n".join(
    [
        "a: &a [x, x]",
        *(f"{c}: &{c} [*{p}, *{p}, *{p}, *{p}, *{p}]" for p, c in zip("abcdefgh", "bcdefghi", strict=True)),
    ]
)
"""YAML that is small, and half a million values once its aliases are followed."""


class Damage(NamedTuple):
    """One thing that happens to a file.

    Attributes:
        kind: Which.
        place: Where, as a share of a million.
        odd: Which of the odd values is put there.
    """

    kind: str
    place: int
    odd: int


PLACES: Final = st.integers(0, 999_999)
DAMAGES: Final = st.lists(
    st.builds(
        Damage,
        kind=st.sampled_from(
            ["value", "value", "value", "drop", "nest", "double", "rename", "byte", "cut", "line"]
        ),
        place=PLACES,
        odd=st.integers(0, len(ODD_VALUES) - 1),
    ),
    min_size=1,
    max_size=3,
)
_VALUE: Final = re.compile(rb'("(?:[^"\\\n]|\\.)*"|-?\d[\d.eE+:TZ-]*|true|false|null)(?=\s*(?:[,\]}\n]|$))')
_MEMBER: Final = re.compile(rb'("?[\w.-]+"?)(?=\s*[:=])')


def damaged(content: bytes, damages: list[Damage]) -> bytes:
    """What is left of a text of values: JSON, JSON lines, TOML, YAML or CSV."""
    for each in damages:
        content = _HOW[each.kind](content, each)
    return content


def _at(content: bytes, damage: Damage) -> int:
    return damage.place * len(content) // 1_000_000


def _replaced(pattern: re.Pattern[bytes], change: Callable[[bytes, Damage], bytes]) -> Callable[..., bytes]:
    """Change the next match after a place."""

    def replace(content: bytes, damage: Damage) -> bytes:
        found = pattern.search(content, _at(content, damage)) or pattern.search(content)
        if found is None:
            return content
        return content[: found.start(1)] + change(found[1], damage) + content[found.end(1) :]

    return replace


def _byte(content: bytes, damage: Damage) -> bytes:
    at = _at(content, damage)
    return content[:at] + bytes([damage.place % 256]) + content[at + 1 :]


def _line(content: bytes, damage: Damage) -> bytes:
    """A line that is gone, or comes again somewhere else."""
    lines = content.splitlines(keepends=True) or [b""]
    at = damage.place * len(lines) // 1_000_000
    if damage.place % 2:
        return b"".join(lines[:at] + lines[at + 1 :])
    return b"".join([*lines[:at], lines[damage.place % len(lines)], *lines[at:]])


def _in_json(change: Callable[..., None]) -> Callable[[bytes, Damage], bytes]:
    """Change a member of JSON; of other texts a line."""

    def act(content: bytes, damage: Damage) -> bytes:
        try:
            whole = json.loads(content)
        except (ValueError, RecursionError):
            return _line(content, damage)
        holders = list(_holders(whole))
        if not holders:
            return content
        change(*holders[damage.place * len(holders) // 1_000_000], damage)
        return json.dumps(whole).encode()

    return act


def _holders(value: Any) -> Any:
    """Each member with what holds it, to any depth."""
    pending = [value]
    while pending:
        holder = pending.pop()
        members = (
            holder.items()
            if isinstance(holder, dict)
            else enumerate(holder)
            if isinstance(holder, list)
            else ()
        )
        for key, member in members:
            yield holder, key
            if isinstance(member, dict | list):
                pending.append(member)


def _drop(holder: Any, key: Any, _: Damage) -> None:
    del holder[key]


def _nest(holder: Any, key: Any, damage: Damage) -> None:
    holder[key] = [holder[key]] if damage.place % 2 else {"a": holder[key]}


def _double(holder: Any, key: Any, _: Damage) -> None:
    if isinstance(holder, list):
        holder.append(holder[key])
    else:
        holder[f"{key}2"] = holder[key]


_HOW: Final[dict[str, Callable[[bytes, Damage], bytes]]] = {
    "value": _replaced(_VALUE, lambda _, damage: ODD_VALUES[damage.odd].encode()),
    "rename": _replaced(_MEMBER, lambda name, damage: name[: damage.place % 9]),
    "drop": _in_json(_drop),
    "nest": _in_json(_nest),
    "double": _in_json(_double),
    "byte": _byte,
    "cut": lambda content, damage: content[: _at(content, damage)],
    "line": _line,
}
