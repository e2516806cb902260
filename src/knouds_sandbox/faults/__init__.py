"""Every fault: a promise that the sandbox can be told to break, one at a time.

Faults show that checks can fail. Each breaks what one documented fact says. There is one module for each
family: ``FAULTS`` names the faults, ``EDITS`` says what each does and at which point it steps in
(``sandbox/fault_points.py``). Users write fault ids down: renaming one breaks them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from knouds_sandbox.errors import UnknownName
from knouds_sandbox.fault_points import ActiveEdits
from knouds_sandbox.faults import (
    authentication,
    capabilities,
    envelopes,
    executions,
    models,
    rate_limits,
    runs,
    usage,
    webhooks,
    workflows,
)
from knouds_sandbox.faults.fault_types import Subtle


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


def active_edits(ids: Iterable[str]) -> ActiveEdits:
    """What the faults of these ids do.

    Raises:
        UnknownName: One of them does not exist.
    """
    edits = [EDITS[fault_id] for fault_id in sorted(check_faults(ids))]
    return ActiveEdits(each for edit in edits for each in (edit if isinstance(edit, tuple) else (edit,)))


FAMILIES = (
    envelopes,
    authentication,
    capabilities,
    workflows,
    runs,
    models,
    executions,
    usage,
    rate_limits,
    webhooks,
)

FAULTS = tuple(
    Fault(id=fault_id, fact=fact, says=says, is_subtle=isinstance(says, Subtle))
    for family in FAMILIES
    for fact, faults in family.FAULTS.items()
    for fault_id, says in faults.items()
)

EDITS = {fault_id: edit for family in FAMILIES for fault_id, edit in family.EDITS.items()}
"""What each fault does, by its id."""
