"""All faults: promises that the sandbox breaks on demand.

Faults show that checks can fail. Each is a function with ``@fault``, in the module of the family of checks
that find it. Users write fault ids into scripts, so renaming one breaks them.
"""

from collections.abc import Iterable

from knouds_sandbox.errors import UnknownName
from knouds_sandbox.fault_points import ActiveEdits
from knouds_sandbox.faults import (
    authentication,
    capabilities,
    executions,
    rate_limits,
    runs,
    spellings,
    times,
    usage,
    validation,
    webhooks,
)
from knouds_sandbox.faults.envelopes import form, refusals
from knouds_sandbox.faults.fault import Fault
from knouds_sandbox.faults.schemas import accounts as schemas_of_accounts
from knouds_sandbox.faults.schemas import runs as schemas_of_runs
from knouds_sandbox.faults.schemas import workflows as schemas_of_workflows
from knouds_sandbox.faults.workflows import reading, writing

_MODULES = (
    form,
    refusals,
    authentication,
    capabilities,
    validation,
    schemas_of_accounts,
    schemas_of_workflows,
    schemas_of_runs,
    reading,
    writing,
    runs,
    executions,
    usage,
    rate_limits,
    webhooks,
    spellings,
    times,
)

FAULTS = tuple(value for module in _MODULES for value in vars(module).values() if isinstance(value, Fault))
"""In the order of modules, and of faults in each module."""


def check_faults(ids: Iterable[str]) -> tuple[Fault, ...]:
    known = {fault.id: fault for fault in FAULTS}
    chosen = frozenset(ids)
    for fault_id in chosen - known.keys():
        raise UnknownName("fault", fault_id, known)
    return tuple(known[fault_id] for fault_id in sorted(chosen))


def active_edits(ids: Iterable[str]) -> ActiveEdits:
    """Return the edits of the faults with these ids."""
    return ActiveEdits(edit for fault in check_faults(ids) for edit in fault.edits)
