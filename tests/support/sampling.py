"""Which cases CI tries, and which it leaves to ``nox -t nightly``."""

import os
from collections.abc import Sequence
from typing import Any

import pytest

from knouds_harness.judging.checks import all_checks
from knouds_sandbox.faults import FAULTS

CLAIMED_FACTS = {fact for check in all_checks().values() for fact in check.facts}
# Faults of facts that no check claims yet break promises that reports list as not exercised.
PROVABLE_FAULTS = [fault for fault in FAULTS if fault.fact in CLAIMED_FACTS]
TRIES_ALL = bool(os.environ.get("EVERY_FAULT"))
_ONE_BY_FACT = {fault.fact: fault for fault in sorted(PROVABLE_FAULTS, key=lambda fault: fault.is_subtle)}
TRIED_FAULTS = PROVABLE_FAULTS if TRIES_ALL else list(_ONE_BY_FACT.values())


def sampled(cases: Sequence[object], *, every: int) -> list[Any]:
    """Mark all but every nth case as nightly, the first being one that CI tries."""
    return [
        case
        if place % every == 0
        else pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=pytest.mark.nightly)
        for place, case in enumerate(cases)
    ]
