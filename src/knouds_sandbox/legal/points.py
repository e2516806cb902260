"""Open points: each with its legal values, the first of which is the sandbox's own.

A server that decides any of them in any way breaks no documented promise, so a harness that finds a breach in
one is wrong. Each point is drawn from the seed and its name: a new point does not change the others.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from knouds_sandbox.errors import SandboxError, UnknownName

ORDERS: Final = {
    "capability": ("capability", "count"),
    "capability-resource": ("capability", "resource", "body", "count"),
    "capability-body": ("capability", "body", "count", "resource"),
    "resource": ("resource", "capability", "count", "body"),
    "resource-body": ("resource", "body", "capability", "count"),
    "body": ("body", "resource", "count", "capability"),
    "body-capability": ("body", "capability", "resource", "count"),
    "count": ("count", "capability", "resource", "body"),
}
"""In which order a server looks for reasons to refuse a key that it knows; the handler looks for the rest."""

SERVER: Final[Mapping[str, tuple[str, ...]]] = {
    # what is refused, and how
    "order": tuple(ORDERS),
    "tier": ("before-model", "after-model"),
    "foreign-read": ("404", "403"),
    "foreign-write": ("404", "403"),
    "template-read": ("shown", "404"),
    "template-write": ("403", "404"),
    "template-run": ("404", "runs"),
    "star": ("works", "ignored"),
    "required": ("list", "text", "reversed"),
    "codes": ("own", "others"),
    "session": ("401", "403", "404"),
    "bad-slug": ("404", "400"),
    "document": ("400", "422"),
    "run-body": ("inputs", "body"),
    "free-cap": ("403", "402", "409"),
    "late-cancel": ("409", "400", "200"),
    "method": ("405", "404"),
    "large": ("413", "400"),
    "type": ("400", "415"),
    "query": ("ignored", "refused"),
    "longest-text": ("10000", "2000", "300"),
    "deepest": ("64", "24", "150"),
    # what a success shows
    "create": ("201-document", "200-document", "201-slug", "200-slug"),
    "update": ("document", "nothing", "success"),
    "submit": ("202", "200"),
    "cancel": ("200", "202"),
    "poll": ("rich", "minimal"),
    "model-ms": ("shown", "left-out"),
    "page": ("1", "0"),
    "models": ("object", "list"),
    "health": ("status", "ok", "rich"),
    "empty": ("shown", "left-out", "null"),
    "trim": ("no", "yes"),
    "compose": ("no", "yes"),
    "line-ends": ("kept", "newline"),
    "unknown": ("dropped", "kept", "dropped-in-nodes"),
    "longest-slug": ("80", "40", "200"),
    "list": ("slug", "newest", "shuffled"),
    "extra": ("none", "members", "varying"),
    # how it is written
    "times": ("milliseconds", "seconds", "microseconds", "offset", "zone", "short-offset"),
    "numbers": ("plain", "doubles"),
    "members": ("own", "sorted", "rotated"),
    "json": ("compact", "indented", "unicode"),
    "media-type": ("plain", "charset", "capitals"),
    "headers": ("lower", "title", "upper"),
    "body": ("length", "chunked"),
    "gzip": ("no", "yes"),
    "http": ("keep-alive", "close", "1.0"),
    # money, windows, deliveries
    "failed": ("refunded", "charged"),
    "stop": ("0.1", "0", "0.5"),
    "window": ("first-request", "minute"),
    "limited": ("runs", "writes", "all"),
    "unlimited": ("silent", "shown"),
    "retries": ("slow", "quick", "two", "none"),
}

BETWEEN: Final[Mapping[str, tuple[str, ...]]] = {
    "in-flight": ("any", "3", "8"),
    "firewall": ("none", "markup", "paths"),
    "longest-body": ("any", "256K", "64K"),
    "delay-ms": ("0", "5", "30"),
    "headers": ("as-sent", "added", "renamed"),
    "slashes": ("as-sent", "merged"),
    "methods": ("any", "common"),
}
"""What may stand in front of a server: a balancer, a firewall, a proxy."""


@dataclass(frozen=True, kw_only=True)
class Choices:
    """A value for each point of a table; ``drawn`` is empty for the first value of each."""

    table: Mapping[str, tuple[str, ...]]
    drawn: Mapping[str, str]

    def __getitem__(self, point: str) -> str:
        return self.drawn.get(point) or self.table[point][0]

    def __str__(self) -> str:
        """Name every choice that differs from the first of its values."""
        return " ".join(
            f"{name}={value}" for name, value in self.drawn.items() if value != self.table[name][0]
        )


OWN_SEED: Final = "own"
"""In place of a seed: the first value of each point."""

OWN: Final = Choices(table=SERVER, drawn={})


def drawn(option: str, text: str, table: Mapping[str, tuple[str, ...]]) -> Choices:
    """Draw a value for each point from a seed; ``17,trim=yes`` fixes one, ``own,trim=yes`` all others too.

    Raises:
        SandboxError: The text names no seed, or no point or value of the table.
    """
    seed, *fixed = text.split(",")
    if seed != OWN_SEED and not (seed.isascii() and seed.isdecimal()):
        raise SandboxError(f"{option} {text}: begin with a whole number or {OWN_SEED}, as in 17,NAME=VALUE.")
    values = {
        name: values[0] if seed == OWN_SEED else random.Random(f"{seed} {name}").choice(values)
        for name, values in table.items()
    }
    for each in fixed:
        name, _, value = each.partition("=")
        if name not in table:
            raise UnknownName(f"point for {option}", name, table)
        if value not in table[name]:
            raise SandboxError(f"{option}: {name} is one of {', '.join(table[name])}, not {value!r}.")
        values[name] = value
    if values.get("http") == "1.0":
        values["body"] = "length"  # HTTP/1.0 has no chunks
    return Choices(table=table, drawn=values)


def looks(choices: Choices) -> Sequence[str]:
    return ORDERS[choices["order"]]


def chosen(legal: str | None, between: str | None) -> list[str]:
    """Return the options that name each choice that these seeds draw."""
    tables = (("--legal", legal, SERVER), ("--between", between, BETWEEN))
    return [
        f"{option} {','.join(dict.fromkeys([*text.split(','), *str(drawn(option, text, table)).split()]))}"
        for option, text, table in tables
        if text
    ]
