"""What a table of faults is made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias


class Subtle(str):
    """What a fault does that hides: an edge, a second condition, more than one answer by itself shows."""

    __slots__ = ()


Table: TypeAlias = Mapping[str, Mapping[str, str]]
"""By fact, then by fault id: what the sandbox then does, ``Subtle`` where it hides."""
