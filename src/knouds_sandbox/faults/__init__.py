"""All faults: promises that the sandbox breaks on demand.

Faults show that checks can fail. Each is a function with ``@fault``, in the module of the family of checks
that find it. Users write fault ids into scripts, so renaming one breaks them.
"""

from collections.abc import Iterable
from importlib import import_module

from knouds_sandbox.errors import UnknownName
from knouds_sandbox.fault_points import ActiveEdits, Fault

_FAMILIES = (
    "envelopes authentication capabilities validation schemas workflows"
    " runs executions usage rate_limits webhooks spellings times"
)
_MODULES = [import_module(f"{__name__}.{family}") for family in _FAMILIES.split()]

FAULTS = tuple(value for module in _MODULES for value in vars(module).values() if isinstance(value, Fault))
"""In the order of modules, and of faults in each module."""


def check_faults(ids: Iterable[str]) -> tuple[Fault, ...]:
    known = {fault.id: fault for fault in FAULTS}
    chosen = frozenset(ids)
    for fault_id in chosen - known.keys():
        raise UnknownName("fault", fault_id, known, listed_by="knouds-harness sandbox --list-faults")
    return tuple(known[fault_id] for fault_id in sorted(chosen))


def active_edits(ids: Iterable[str]) -> ActiveEdits:
    return ActiveEdits({fault.id: fault.edits for fault in check_faults(ids)})
