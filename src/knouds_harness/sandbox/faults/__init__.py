"""Every fault: a promise that the sandbox can be told to break, one at a time.

Faults show that checks can fail. Each breaks what one documented fact says, in a line beside the behaviour
itself (``"auth-revoked-accepted" in faults``); a test holds this list and those lines together. Users write
fault ids down: renaming one breaks them. The tables stand in one module for each family.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from knouds_harness.errors import UnknownName
from knouds_harness.sandbox.faults import (
    authentication,
    capabilities,
    envelopes,
    executions,
    rate_limits,
    runs,
    usage,
    webhooks,
    workflows,
)
from knouds_harness.sandbox.faults.table import Subtle


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """One promise to break.

    ``fact`` is the id of the documented fact, ``says`` what the sandbox then does. ``is_subtle`` where that
    hides: an edge, a second condition, or a difference that one answer by itself does not show.
    """

    id: str
    fact: str
    says: str
    is_subtle: bool


def check_faults(ids: Iterable[str]) -> frozenset[str]:
    """The ids as a set, if each of them exists.

    Raises:
        UnknownName: One of them does not.
    """
    known = {fault.id for fault in FAULTS}
    for fault_id in ids:
        if fault_id not in known:
            raise UnknownName("fault", fault_id, known)
    return frozenset(ids)


FAULTS = tuple(
    Fault(id=fault_id, fact=fact, says=says, is_subtle=isinstance(says, Subtle))
    for family in (
        envelopes,
        authentication,
        capabilities,
        workflows,
        runs,
        executions,
        usage,
        rate_limits,
        webhooks,
    )
    for fact, faults in family.FAULTS.items()
    for fault_id, says in faults.items()
)
