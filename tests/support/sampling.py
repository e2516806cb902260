"""Which cases CI tries, and which it leaves to ``nox -t nightly``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest


def sampled(cases: Sequence[object], *, every: int) -> list[Any]:
    """Mark all but every nth case as nightly, the first being one that CI tries."""
    return [
        case
        if place % every == 0
        else pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=pytest.mark.nightly)
        for place, case in enumerate(cases)
    ]
