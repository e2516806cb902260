"""The matrix of operations and personas: what to send for a cell, what to expect, and what it showed."""

from dataclasses import dataclass

from knouds_harness.contract.operations import Action, Operation
from knouds_harness.exchange.effectless_requests import effectless_call
from knouds_harness.exchange.evidence import Call
from knouds_harness.judging.claim import answer
from knouds_harness.judging.rule.reasons import CAPABILITY
from knouds_harness.runs.findings import Finding
from knouds_harness.runs.results import Cell
from knouds_harness.suite.support.subjects import Subjects
from knouds_harness.targets.needs.rate_limits import free_workflow
from knouds_harness.targets.personas import Persona


@dataclass(frozen=True, kw_only=True)
class MatrixCase:
    """One operation as one persona.

    Attributes:
        call: A valid request to a resource that exists, so that only the capability can be the reason for a
            refusal. If the persona is admitted, it writes only to scratch workflows, and a run that would
            cost credits has inputs that are not an object.
    """

    operation: Operation
    persona: Persona
    is_admitted: bool
    call: Call


def cell_for(
    subjects: Subjects,
    operation: Operation,
    persona: Persona,
    account: str | None,
    resource: str | None = None,
) -> MatrixCase:
    call = effectless_call(operation) if account is None else subjects.call_on_existing(operation)
    if resource is not None:
        call = call.having(path_values=dict.fromkeys(operation.path_parameters, resource))
    is_admitted = operation.admits(persona.capabilities, call.path_values)
    if is_admitted and persona.user != account:
        call = _effectless(operation, call)
    elif is_admitted:
        call = _admitted_call(subjects, operation, persona, call)
    return MatrixCase(operation=operation, persona=persona, is_admitted=is_admitted, call=call)


def _admitted_call(subjects: Subjects, operation: Operation, persona: Persona, call: Call) -> Call:
    """Return a call that costs the owner nothing, and that a server that reads the body first accepts."""
    if operation.action is Action.RUN:
        free = free_workflow(subjects.tester.target, persona)
        path_values = {"slug": free.slug} if free and operation.id == "runWorkflow" else {}
        if free and path_values and operation.admits(persona.capabilities, path_values):
            return call.having(path_values=path_values, json={"inputs": dict(free.inputs)})
        return call.having(json={"inputs": []})
    if operation.id == "updateWorkflow":
        return call.having(json={"description": "sent by the harness"})
    if operation.id == "deleteWorkflow":
        return call.having(path_values={"slug": subjects.make_workflow()})
    return call


def prove_cell(subjects: Subjects, cell: MatrixCase) -> list[Finding]:
    """Send a cell's call, which the rule judges; returns the findings that fail the run."""
    tester = subjects.tester
    exchange = tester.send(cell.operation.id, cell.persona, cell.call)
    failing, may = tester.findings_about(exchange), tester.allowed(exchange)
    is_open = any(each.has_any_code and 403 in each.statuses for each in may.possible)
    if may.reasons[CAPABILITY] is not None and not is_open:
        tester.recorder.writer.cells.append(
            Cell(
                operation=cell.operation.id,
                persona=cell.persona.name,
                expected="admitted" if cell.is_admitted else "denied",
                observed=answer(exchange),
                ok=not failing,
                exchange_id=exchange.id,
            )
        )
    return failing


def _effectless(operation: Operation, call: Call) -> Call:
    if operation.action is Action.RUN:
        return call.having(json={"inputs": []})
    return call if operation.action is Action.READ else effectless_call(operation)
