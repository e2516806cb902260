"""The operation by persona matrix: what to send for a cell, what to expect of it, and what it showed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from knouds_harness.conformance.checks import capabilities
from knouds_harness.conformance.claims import answer
from knouds_harness.conformance.needs import FULL_KEY, free_workflow
from knouds_harness.conformance.probe import Call
from knouds_harness.conformance.subjects import Subjects, harmless_call
from knouds_harness.contract.operations import Action, Operation
from knouds_harness.runs.findings import Finding
from knouds_harness.target.personas import Persona

TIERS_WITHOUT_KEYS = ("free", "creator")
_TIERS_WITHOUT_MODELS = ("pro",)


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One operation as one persona.

    Attributes:
        is_admitted: What the documented rule says.
        call: What to send: a valid request to a resource that exists, so that nothing else can be the reason
            for a refusal. Where the persona is admitted it writes to scratch workflows alone, and a run that
            would cost something has inputs that are no object instead.
    """

    operation: Operation
    persona: Persona
    is_admitted: bool
    call: Call


def cells_of(persona: Persona, operations: Iterable[Operation], owner: Persona) -> tuple[Operation, ...]:
    """The operations for which the documents say how this persona fares on resources of an owner.

    Whether a capability or the ownership is judged first is open: a persona of another account is left out
    where the first would refuse it, as a 404 would be as good an answer.
    """
    if persona.state != "active" or persona.tier in TIERS_WITHOUT_KEYS:
        return ()  # whether a key minted for such an account may do anything is open
    return tuple(
        operation
        for operation in operations
        if not operation.is_public
        # under business a model:run key is refused with one of two codes: a check of its own
        and not (operation.id == "runModel" and persona.tier in _TIERS_WITHOUT_MODELS)
        and (
            persona.user == owner.user
            or not _names_a_possession(operation)
            or _is_admitted(persona, operation)
        )
    )


def _names_a_possession(operation: Operation) -> bool:
    return bool(operation.path_parameters) and operation.id != "runModel"


def _is_admitted(persona: Persona, operation: Operation) -> bool:
    return operation.admits(persona.capabilities, dict.fromkeys(operation.path_parameters, ""))


def cell_for(subjects: Subjects, operation: Operation, persona: Persona, resource: str | None = None) -> Cell:
    """Choose what to send.

    Args:
        subjects: Existing resources.
        operation: The row.
        persona: The column.
        resource: The slug or model to name instead of any that exists.
    """
    call = subjects.call_on_existing(operation)
    if resource is not None:
        call = call.having(path_values=dict.fromkeys(operation.path_parameters, resource))
    is_admitted = operation.admits(persona.capabilities, call.path_values)
    if is_admitted and persona.user != subjects.probe.need(FULL_KEY).user:
        call = _harmless(operation, call)
    elif is_admitted:
        call = _admitted_call(subjects, operation, persona, call)
    return Cell(operation=operation, persona=persona, is_admitted=is_admitted, call=call)


def _admitted_call(subjects: Subjects, operation: Operation, persona: Persona, call: Call) -> Call:
    """What the owner's account may do for nothing, and what a server that looks at the body first accepts."""
    if operation.action is Action.RUN:
        free = free_workflow(subjects.probe.target, persona)
        path_values = {"slug": free.slug} if free and operation.id == "runWorkflow" else {}
        if free and path_values and operation.admits(persona.capabilities, path_values):
            return call.having(path_values=path_values, json={"inputs": dict(free.inputs)})
        return call.having(json={"inputs": []})
    if operation.id == "updateWorkflow":
        return call.having(json={"description": "sent by the harness"})
    if operation.id == "deleteWorkflow":
        return call.having(path_values={"slug": subjects.make_workflow()})
    return call


def prove_cell(subjects: Subjects, cell: Cell) -> list[Finding]:
    """Send what a cell asks for and judge the answer.

    Returns:
        The findings that fail the run.
    """
    probe = subjects.probe
    exchange = probe.send(cell.operation.id, cell.persona, cell.call)
    subjects.note_created(exchange)
    failing = probe.judge(
        capabilities.admitted if cell.is_admitted else capabilities.denied,
        exchange,
        operation=cell.operation,
        held=cell.persona.capabilities,
        path_values=cell.call.path_values,
    )
    probe.recorder.writer.add_cell(
        operation=cell.operation.id,
        persona=cell.persona.name,
        expected="admitted" if cell.is_admitted else "denied",
        observed=answer(exchange),
        ok=not failing,
        exchange_id=exchange.id,
    )
    required = capabilities.required_of(exchange)
    if required and not cell.is_admitted and probe.mint is not None:
        granted = probe.minted(cell.persona.capabilities | {required[0]})
        failing += probe.judge(
            capabilities.granting_what_was_required,
            probe.send(cell.operation.id, granted, _harmless(cell.operation, cell.call)),
            granted=required[0],
        )
    return failing


def _harmless(operation: Operation, call: Call) -> Call:
    if operation.action is Action.RUN:
        return call.having(json={"inputs": []})
    return call if operation.action is Action.READ else harmless_call(operation)
