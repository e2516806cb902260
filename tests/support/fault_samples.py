"""Which of the sandbox's faults the checks are tried on: one for each fact, or with ``EVERY_FAULT=1`` all."""

from __future__ import annotations

import os

from knouds_harness.judging.checks import all_checks
from knouds_sandbox.faults import FAULTS

CLAIMED_FACTS = {fact for check in all_checks().values() for fact in check.facts}
# Faults of facts that no check claims yet break promises that reports list as not exercised.
PROVABLE_FAULTS = [fault for fault in FAULTS if fault.fact in CLAIMED_FACTS]
TRIES_ALL = bool(os.environ.get("EVERY_FAULT"))
_ONE_BY_FACT = {fault.fact: fault for fault in sorted(PROVABLE_FAULTS, key=lambda fault: fault.is_subtle)}
TRIED_FAULTS = PROVABLE_FAULTS if TRIES_ALL else list(_ONE_BY_FACT.values())
