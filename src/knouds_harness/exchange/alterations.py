"""How a key was altered before it was sent, so that it can be altered again from the key."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from knouds_harness.targets.personas import Secret

_SHORTEST_PIECE: Final = 4
_MOST_OTHER_CHARACTERS: Final = 4
_CASES: Final[Mapping[str, tuple[Callable[[str], str], str]]] = {
    "upper": (str.upper, "a-z A-Z"),
    "lower": (str.lower, "A-Z a-z"),
    "swapped": (str.swapcase, "a-zA-Z A-Za-z"),
}


@dataclass(frozen=True, kw_only=True)
class Alteration:
    """What was made of a key.

    Attributes:
        label: Of the key that it was made of, such as ``key:full``.
        case: ``upper``, ``lower`` or ``swapped`` for the whole key in that case; else empty.
        pieces: Places in the key, from the first to behind the last character, and texts, one after another.
    """

    label: str
    case: str = ""
    pieces: tuple[tuple[int, int] | str, ...] = ()

    @classmethod
    def of(cls, altered: str, secrets: Iterable[Secret]) -> Alteration | None:
        """What was done to one of these secrets; None where that is not plain."""
        for secret in secrets:
            key = secret.reveal()
            for case, (change, _) in _CASES.items():
                if altered == change(key):
                    return cls(label=secret.label, case=case)
            pieces = tuple(_pieces(altered, key))
            others = sum(isinstance(each, str) for each in pieces)
            if others <= _MOST_OTHER_CHARACTERS and others < len(pieces):
                return cls(label=secret.label, pieces=pieces)
        return None

    @classmethod
    def read(cls, stored: Mapping[str, Any]) -> Alteration:
        """What ``stored`` gave."""
        pieces = tuple(
            each if isinstance(each, str) else (int(each[0]), int(each[1])) for each in stored["pieces"]
        )
        case = stored["case"]
        return cls(label=str(stored["label"]), case=case if case in _CASES else "", pieces=pieces)

    def stored(self) -> dict[str, Any]:
        return {"label": self.label, "case": self.case, "pieces": list(self.pieces)}

    def apply(self, key: str) -> str:
        if self.case:
            return _CASES[self.case][0](key)
        return "".join(each if isinstance(each, str) else key[slice(*each)] for each in self.pieces)

    def expression(self, variable: str) -> str:
        """For a POSIX shell, in double quotes: what is made of the key in a variable."""
        key = f'printf %s "${{{variable}}}"'
        if self.case:
            return f"$({key} | tr {_CASES[self.case][1]})"
        return "".join(
            f"$(printf %s {shlex.quote(each)})"
            if isinstance(each, str)
            else f"$({key} | cut -c {each[0] + 1}-{each[1]})"
            for each in self.pieces
        )


def _pieces(altered: str, key: str) -> Iterable[tuple[int, int] | str]:
    """The longest pieces of the key that make up the other text, and single characters between them."""
    at = 0
    while at < len(altered):
        length = len(altered) - at
        while length >= _SHORTEST_PIECE and altered[at : at + length] not in key:
            length -= 1
        if length >= _SHORTEST_PIECE:
            start = key.index(altered[at : at + length])
            yield start, start + length
        else:
            length = 1
            yield altered[at]
        at += length
