"""Describe how a key was altered before it was sent, so that a reproduction can alter it again."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from knouds_harness.targets.secrets import Secret

_SHORTEST_PIECE: Final = 4
_MOST_OTHER_CHARACTERS: Final = 4
_CASES: Final[Mapping[Literal["upper", "lower", "swapped"], tuple[Callable[[str], str], str]]] = {
    "upper": (str.upper, "a-z A-Z"),
    "lower": (str.lower, "A-Z a-z"),
    "swapped": (str.swapcase, "a-zA-Z A-Za-z"),
}


@dataclass(frozen=True, kw_only=True)
class Alteration:
    """The way in which a sent key differs from a known key.

    Attributes:
        label: The label of the known key, such as ``key:full``.
        case: ``upper``, ``lower`` or ``swapped`` if only the case of the whole key changed; otherwise empty.
        pieces: The parts of the sent key, in order: slices (start, end) of the known key, and texts.
    """

    label: str
    case: Literal["", "upper", "lower", "swapped"] = ""
    pieces: tuple[tuple[int, int] | str, ...] = ()

    @classmethod
    def of(cls, altered: str, secrets: Iterable[Secret]) -> Alteration | None:
        """Find out how one of these secrets was altered; return None if that is not clear."""
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

    def apply(self, key: str) -> str:
        if self.case:
            return _CASES[self.case][0](key)
        return "".join(each if isinstance(each, str) else key[slice(*each)] for each in self.pieces)

    def expression(self, variable: str) -> str:
        """Return a POSIX shell expression, for use in double quotes, that alters the key in a variable."""
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
    """Split the altered key into the longest slices of the key, and single characters between them."""
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
