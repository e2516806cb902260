"""What a request to one operation may vary in: its key, what it names, its body, and the form of a run.

For each value it is known why the contract refuses it. What a key may do is one as well (``walk.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from knouds_harness.contract.operations import RUN_OPERATIONS, Operation
from knouds_harness.exchange.created_workflows import marked
from knouds_harness.exchange.evidence import Call, effectless_call
from knouds_harness.judging.checks import authentication, envelopes, validation
from knouds_harness.judging.claim import Check
from knouds_harness.suite.generation.strategies import key_alterations
from knouds_harness.targets.needs import Need, TwoKeys, keys, runs
from knouds_harness.targets.resources import Persona
from knouds_harness.targets.secrets import Secret

if TYPE_CHECKING:
    from knouds_harness.suite.generation.walk import Walk

KEY, CAPABILITIES, RESOURCE, BODY = "key", "capabilities", "resource", "body"
ASYNC: Final = ("async", "true")
_WRITES: Final = ("updateWorkflow", "moveWorkflow", "deleteWorkflow")
USUAL_KEYS: Final[Mapping[str, Need[Persona]]] = {
    **dict.fromkeys(("listWorkflows", "getWorkflow", "getWorkflowSchema"), keys.READER),
    "createWorkflow": keys.WRITER,
    **dict.fromkeys(_WRITES, keys.AUTHOR),
    "runWorkflow": keys.WORKFLOW_RUNNER,
    "runModel": keys.MODEL_RUNNER,
    "getExecution": keys.EXECUTION_READER,
    "cancelExecution": keys.EXECUTION_CANCELLER,
}
"""A key that an operation admits, if not any key will do."""


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A request that is being put together; ``key`` is sent in place of the persona's own."""

    call: Call
    is_async: bool = False
    persona: Persona | None = None
    key: Secret | None = None

    def having(self, **changes: Any) -> Draft:  # noqa: ANN401 - each member of a call has its own type
        return replace(self, call=self.call.having(**changes))


Change = Callable[["Walk", Draft], Draft | None]


@dataclass(frozen=True, kw_only=True, eq=False)
class Value:
    """One value of a dimension, other than the usual one.

    Attributes:
        check: Of the reason for which the contract refuses it; None if the rule alone says whether it does.
        needs: What the profile must offer for it.
        outcome: The outcome as which ``record`` keeps a request that is as usual otherwise.
        statuses: Those that show the outcome, if the check does not decide.
        hides_names: Whether it is looked at before whether what is named exists.
        change: Gives a draft this value; returns None for one that cannot have it.
    """

    dimension: str
    name: str
    check: Check[...] | None = None
    needs: tuple[Need[Any], ...] = ()
    outcome: str = ""
    statuses: tuple[int, ...] = ()
    hides_names: bool = False
    change: Change

    def __str__(self) -> str:
        return f"{self.dimension}={self.name}"


def fixed_values(operation: Operation) -> Iterator[Value]:
    """Yield the values that do not depend on what the keys of a profile may do."""
    if not operation.is_public:
        yield from _keys(operation)
    if operation.path_parameters:
        yield from _resources(operation)
    yield from _bodies(operation)


# --- key

_OF_LEGACY: Final = ("getWhoami", "listWorkflows", "runWorkflow", "runModel", "getExecution", "listUsage")
_NOT_KEPT: Final = ("null", "sql", "api-key-in-query")
_Sent = Secret | Need[Persona] | Callable[[str], dict[str, Any]] | str | None
_KEYS: Final[tuple[tuple[Check[...], str, _Sent], ...]] = (
    (authentication.missing_key, "no-key", None),
    (authentication.empty_key, "empty-key", Secret("", "key:empty")),
    (authentication.malformed_key, "malformed-key", Secret("knouds_live_", "key:malformed")),
    (authentication.malformed_key, "null", Secret("null", "key:malformed")),
    (authentication.malformed_key, "sql", Secret("' OR '1'='1", "key:malformed")),
    (authentication.unknown_key, "unknown-key", Secret(f"knouds_live_{'0a' * 21}0", "key:unknown")),
    (authentication.revoked_key, "revoked", keys.REVOKED_KEY),
    (authentication.legacy_key, "legacy", keys.LEGACY_KEY),
    (authentication.unapproved_account, "unapproved", keys.UNAPPROVED_KEY),
    (authentication.bearer, "bearer", lambda key: {"headers": (("authorization", f"Bearer {key}"),)}),
    (authentication.key_in_query, "key-in-query", lambda key: {"query": (("x-api-key", key),)}),
    (authentication.key_in_query, "api-key-in-query", lambda key: {"query": (("api_key", key),)}),
)
_WAYS: Final = tuple(key_alterations("knouds_live_a0"))


def _keys(operation: Operation) -> Iterator[Value]:
    is_whoami = operation.id == "getWhoami"
    own_way = sum(map(ord, operation.id)) % len(_WAYS)
    ways = _WAYS if is_whoami else _WAYS[own_way : own_way + 1]
    for check, outcome, sent in (*_KEYS, *((authentication.altered_key, "", way) for way in ways)):
        is_kept = (
            outcome == "no-key"
            or (outcome == "legacy" and operation.id in _OF_LEGACY)
            or (is_whoami and outcome not in _NOT_KEPT)
        )
        yield Value(
            dimension=KEY,
            name=f"altered-key {sent}" if isinstance(sent, str) else outcome,
            check=check,
            needs=check.needs,
            outcome=outcome if is_kept else "",
            hides_names=True,
            change=partial(with_key, sent),
        )


def with_key(sent: _Sent, walk: Walk, draft: Draft) -> Draft | None:
    """Send no key, this one, that of a persona, or a valid one altered or in another place."""
    if sent is None or isinstance(sent, Secret):
        return replace(draft, key=sent)
    if isinstance(sent, Need):
        return replace(draft, persona=walk.tester.need(sent))
    if not isinstance(sent, str):
        return draft.having(**sent(_weakest_key(walk).secret.reveal()))
    valid = walk.tester.need(keys.ANY_KEY).secret.reveal()
    altered = key_alterations(valid)[sent]  # one without capitals stays the same in lower case
    return None if altered == valid else replace(draft, key=Secret(altered, "key:altered"))


def _weakest_key(walk: Walk) -> Persona:
    """Return the key with the fewest capabilities that serve the operation, as a server's log may keep it."""
    walk.tester.need(keys.ANY_KEY)  # without one, the test is skipped
    target = walk.tester.target
    usual = USUAL_KEYS.get(walk.operation.id, keys.ANY_KEY)
    fitting = list(usual.fitting(target)) or list(keys.ANY_KEY.fitting(target))
    return min(fitting, key=lambda key: (key.role == "admin", key.is_open, len(key.capabilities)))


# --- resource

_UNKNOWN: Final = {
    "runWorkflow": (envelopes.run_unknown_workflow, "unknown"),
    "runModel": (envelopes.unknown_model, "unknown"),
    **dict.fromkeys(("getExecution", "cancelExecution"), (envelopes.unknown_execution, "unknown")),
    **dict.fromkeys(
        ("getWorkflowSchema", "getPublicWorkflowSchema"), (envelopes.unknown_schema, "unknown-slug")
    ),
    **dict.fromkeys(("getWorkflow", *_WRITES), (envelopes.unknown_workflow, "unknown-slug")),
}
_OF_FUNDS: Final = (("no-credits", envelopes.too_few_credits), ("grant-used-up", envelopes.exhausted_grant))
_REFUSED: Final[Mapping[str, tuple[tuple[str, Check[...]], ...]]] = {
    **dict.fromkeys(("getWorkflow", "getWorkflowSchema"), (("foreign", envelopes.read_foreign_workflow),)),
    **dict.fromkeys(_WRITES, (("foreign", envelopes.write_foreign_workflow),)),
    "runWorkflow": (("foreign", envelopes.run_foreign_workflow), *_OF_FUNDS),
    "runModel": (
        ("disabled", envelopes.disabled_model),
        ("above-tier", envelopes.model_above_tier),
        ("under-business", envelopes.model_run_under_business),
        *_OF_FUNDS,
    ),
}
"""What exists and is refused all the same; the check's need names a key and the resource."""
_MALFORMED: Final = ("harness no-such", "Harness-No-Such", "harness_no-such", "harness-no-such\n")


def _resources(operation: Operation) -> Iterator[Value]:
    need, is_run = USUAL_KEYS.get(operation.id), operation.id in RUN_OPERATIONS
    unknown, unknown_outcome = _UNKNOWN[operation.id]
    of_usual_key = (need,) if need else ()
    yield Value(
        dimension=RESOURCE,
        name="unknown",
        check=unknown,
        needs=of_usual_key,
        outcome=unknown_outcome,
        change=lambda walk, draft: replace(
            draft, call=effectless_call(operation), persona=walk.tester.need(need) if need else None
        ),
    )
    for outcome, check in _REFUSED.get(operation.id, ()):
        yield Value(
            dimension=RESOURCE,
            name=outcome,
            check=check,
            needs=check.needs,
            outcome=outcome,
            change=partial(_refused, check.needs[0]),
        )
    for name in _MALFORMED if is_run else ():
        yield Value(
            dimension=RESOURCE,
            name=f"malformed {name!r}",
            check=validation.malformed_slug,
            needs=of_usual_key,
            outcome="bad-name",
            statuses=(400,),
            change=partial(with_name, name),
        )
    for spell in (str.upper, str.capitalize, "{} ".format) if is_run else ():
        yield Value(
            dimension=RESOURCE,
            name=f"name like {spell('name')!r}",
            check=validation.malformed_slug,
            needs=(run_call(operation),),
            change=partial(_respelled, spell),
        )


def with_name(name: str, walk: Walk, draft: Draft) -> Draft:
    values = dict.fromkeys(walk.operation.path_parameters, name)
    call = Call(path_values=values, json={"inputs": {}}, is_deliberate=True)
    return replace(draft, call=call, persona=walk.tester.need(USUAL_KEYS[walk.operation.id]))


def _refused(need: Need[Any], walk: Walk, draft: Draft) -> Draft | None:
    """Ask for what the need of a check names, which is somebody else's, or that the account may not run."""
    found, operation, target = walk.tester.need(need), walk.operation, walk.tester.target
    if isinstance(found, TwoKeys):
        path_values = {"slug": walk.test_data.workflow_for(operation, found.first)}
        call = walk.test_data.call_on_existing(operation).having(path_values=path_values)
        return replace(draft, call=call, persona=found.second)
    if operation.id not in RUN_OPERATIONS:
        return replace(draft, call=Call(path_values=found.resource.path_values), persona=found.key)
    fitting = [each for each in need.fitting(target) if each.resource.run_operation == operation.id]
    if not fitting:
        return None
    key, resource = min(fitting, key=lambda each: draft.is_async and not each.resource.polled)
    _, _, call = walk.test_data.running(resource, key)
    return replace(draft, call=call.having(cost_credits=0.0), persona=key)


def _respelled(spell: Callable[[str], str], walk: Walk, draft: Draft) -> Draft | None:
    key, resource = walk.tester.need(run_call(walk.operation))
    values = {parameter: spell(name) for parameter, name in resource.path_values.items()}
    call = Call(path_values=values, json={"inputs": {}}, is_deliberate=True)
    return None if values == resource.path_values else replace(draft, call=call, persona=key)


# --- body

_NOT_JSON: Final = (
    *('{"inputs": {}', "inputs=%7B%7D", "<inputs/>", '{"inputs": [],}', '{"inputs": []} true'),
    *('{"inputs": []}{}', '/* c */ {"inputs": []}', '{"inputs": []} // c', "{'inputs': []}", "{inputs: []}"),
    *('{"inputs": [NaN]}', '{"inputs": [-Infinity]}', '{"inputs": [01]}', '{"inputs": [+1]}'),
    *('{"inputs": [.5]}', '{"inputs": [0x10]}', '{"inputs": ["\\x41"]}', '{"inputs": ["a\nb"]}'),
    *('{"inputs": [True, None]}', '{"inputs": ['),
)
"""A parser that takes one of these finds inputs that are an array, so that nothing is run."""
_NO_OBJECT: Final = ("[]", "null", "0", '"inputs"', "true", "")
_INPUTS: Final[tuple[Any, ...]] = ([], None, "", "a", 0, 1.5, False, True, [{"prompt": "a"}])
_Bodies = tuple[Check[...], str, tuple[Mapping[str, Any], ...]]


def _json(*bodies: Any) -> tuple[Mapping[str, Any], ...]:  # noqa: ANN401 - JSON
    return tuple({"json": body} for body in bodies)


_OF_RUNS: Final[tuple[_Bodies, ...]] = (
    (validation.inputs_missing, "no-inputs", _json({}, {"input": {}}, {"prompt": "a"}, {"Inputs": {}})),
    (validation.inputs_not_object, "inputs-array", _json(*({"inputs": each} for each in _INPUTS))),
    (validation.body_not_json, "not-json", tuple({"raw": text.encode()} for text in _NOT_JSON)),
    (validation.body_no_object, "", tuple({"raw": text.encode()} for text in _NO_OBJECT)),
)
_BODIES: Final[Mapping[str, tuple[_Bodies, ...]]] = {
    **dict.fromkeys(RUN_OPERATIONS, _OF_RUNS),
    "createWorkflow": (
        (validation.create_without_name, "no-name", _json({"description": "no name"}, {}, {"Name": "a"})),
        (validation.misshapen_create, "misshapen", _json({"name": "misshapen", "tags": 7})),
    ),
    "moveWorkflow": (
        (
            validation.misshapen_move,
            "no-folder",
            _json({}, {"folderId": 1}, {"folderId": []}, {"folderId": {}}, []),
        ),
    ),
}


def run_call(operation: Operation, *, is_async: bool = False) -> Need[Any]:
    """Return the need for a key, and for a workflow or model that it may run in one form."""
    if operation.id == "runWorkflow":
        return runs.ASYNC_WORKFLOW_CALL if is_async else runs.WORKFLOW_CALL
    return runs.ASYNC_MODEL_CALL if is_async else runs.MODEL_CALL


def _bodies(operation: Operation) -> Iterator[Value]:
    is_run = operation.id in RUN_OPERATIONS
    for check, outcome, bodies in _BODIES.get(operation.id, ()):
        for body in bodies:
            yield Value(
                dimension=BODY,
                name=str(*body.values()),
                check=check,
                needs=(run_call(operation) if is_run else USUAL_KEYS[operation.id],),
                outcome=outcome,
                statuses=(400,) if is_run else (400, 422),
                change=partial(with_body, body),
            )


def with_body(body: Mapping[str, Any], walk: Walk, draft: Draft) -> Draft:
    """Send a body, as ``json`` or ``raw``, with a key that may, to what exists."""
    operation = walk.operation
    if operation.id in RUN_OPERATIONS:
        key, resource = walk.tester.need(run_call(operation, is_async=draft.is_async))
        return replace(draft, call=Call(path_values=resource.path_values, **body), persona=key)
    if operation.id == "createWorkflow":
        body = {"json": marked(body["json"])}
    values = {"slug": walk.test_data.scratch_slug} if operation.path_parameters else {}
    key = walk.tester.need(USUAL_KEYS[operation.id])
    return replace(draft, call=Call(path_values=values, **body), persona=key)
