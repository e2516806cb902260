"""Generated nonsense gets the documented code, and never a server error."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from knouds_harness.exchange.evidence import Call
from knouds_harness.exchange.workflow_names import marked
from knouds_harness.judging.checks import validation
from knouds_harness.judging.checks.envelopes import form
from knouds_harness.suite.generation.strategies import (
    garbled_query_values,
    invalid_calls,
    json_but_no_object,
    malformed_slugs,
    misshapen_documents,
    not_json,
    unusable_names,
)
from knouds_harness.suite.untested import Untested
from knouds_harness.targets.needs.keys import (
    ANY_KEY,
    AUTHOR,
    EXECUTION_READER,
    MODEL_RUNNER,
    READER,
    WORKFLOW_RUNNER,
    WRITER,
)
from knouds_harness.targets.needs.need import MAY_READ, KeyAndResource
from knouds_harness.targets.needs.runs import (
    ASYNC_MODEL_CALL,
    ASYNC_RUN,
    ASYNC_WORKFLOW_CALL,
    CANCELLED_RUN,
    MODEL_CALL,
    WORKFLOW_CALL,
    once,
)
from knouds_harness.targets.needs.workflows import OWN_WORKFLOW
from knouds_harness.targets.personas import Persona
from knouds_harness.targets.resources import Workflow

CUT_SHORT = b'{"inputs": {}'
AS_TEXT = Call(json={"name": "as text"}, headers=(("content-type", "text/plain"),))
TAGS_NO_LIST = {"name": "misshapen", "tags": 7}


def of_both_kinds(workflow, model, *, records=None, is_named=False):
    """Parametrize ``operation_id`` and what it needs over runs of workflows and of models."""
    return pytest.mark.parametrize(
        ("operation_id", "need"),
        [
            pytest.param(
                operation_id,
                need,
                id=operation_id,
                marks=[
                    pytest.mark.needs(need),
                    *(
                        [pytest.mark.records(f"{operation_id}-{records}", 400, is_named=is_named)]
                        if records
                        else []
                    ),
                ],
            )
            for operation_id, need in (("runWorkflow", workflow), ("runModel", model))
        ],
    )


run_operations = of_both_kinds(WORKFLOW_CALL, MODEL_CALL)


def runs_recorded_as(outcome, *, is_named=False):
    """Parametrize as ``run_operations`` does, and have this outcome of both recorded."""
    return of_both_kinds(WORKFLOW_CALL, MODEL_CALL, records=outcome, is_named=is_named)


def call_that_would_run(found):
    """A call that lacks nothing but a body."""
    resource = found.resource
    if isinstance(resource, Workflow):
        return Call(path_values={"slug": resource.slug})
    return Call(path_values={"internalName": resource.name})


@pytest.mark.independent
@runs_recorded_as("no-inputs")
@pytest.mark.proves(validation.inputs_missing, form.code_fits_status)
@pytest.mark.parametrize("body", [{}, {"input": {}}, {"prompt": "a"}, {"Inputs": {}}], ids=json.dumps)
def test_run_without_inputs_is_refused(tester, operation_id, need, body):
    """A run without inputs is a 400 INVALID_INPUTS."""
    call = call_that_would_run(tester.need(need)).having(json=body)

    tester.send(operation_id, tester.need(need).key, call)


@pytest.mark.independent
@runs_recorded_as("inputs-array", is_named=True)
@pytest.mark.proves(validation.inputs_not_object)
@given(inputs=json_but_no_object())
@example(inputs=[])
@example(inputs=None)
@example(inputs="")
@example(inputs=0)
@example(inputs=False)
@example(inputs=[{"prompt": "a"}])
def test_inputs_that_are_no_object_are_refused(tester, operation_id, need, inputs):
    """Inputs that are not an object, an array included, are a 400 INVALID_INPUTS."""
    call = call_that_would_run(tester.need(need)).having(json={"inputs": inputs})

    exchange = tester.send(operation_id, tester.need(need).key, call)

    if inputs == []:
        tester.keep(f"{operation_id}-inputs-array", exchange)
    assert not tester.findings_about(exchange)


@pytest.mark.independent
@of_both_kinds(ASYNC_WORKFLOW_CALL, ASYNC_MODEL_CALL)
@pytest.mark.proves(validation.inputs_missing, validation.inputs_not_object)
def test_asynchronous_run_needs_inputs(tester, operation_id, need):
    """Inputs of an asynchronous run are looked at before it is accepted."""
    call = call_that_would_run(tester.need(need)).having(query=(("async", "true"),))
    owner = tester.need(need).key

    tester.send(operation_id, owner, call.having(json={}))
    for inputs in (None, [], [{"prompt": "a"}], "", "a", 0, 1.5, False, True):
        tester.send(operation_id, owner, call.having(json={"inputs": inputs}))


@pytest.mark.independent
@runs_recorded_as("not-json", is_named=True)
@pytest.mark.proves(validation.body_not_json)
@given(body=not_json())
@example(body=CUT_SHORT)
@example(body=b"inputs=%7B%7D")
@example(body=b"<inputs/>")
def test_body_that_is_no_json_is_refused(tester, operation_id, need, body):
    """A run body that is not JSON is a 400 INVALID_BODY."""
    call = call_that_would_run(tester.need(need)).having(raw=body)

    exchange = tester.send(operation_id, tester.need(need).key, call)

    if body == CUT_SHORT:
        tester.keep(f"{operation_id}-not-json", exchange)
    assert not tester.findings_about(exchange)


NEARLY_JSON = {
    "comma after the last": '{"inputs": [],}',
    "text after the end": '{"inputs": []} true',
    "a second value": '{"inputs": []}{}',
    "comment": '/* c */ {"inputs": []}',
    "comment at the end": '{"inputs": []} // c',
    "single quotes": "{'inputs': []}",
    "name without quotes": "{inputs: []}",
    "NaN": '{"inputs": [NaN]}',
    "Infinity": '{"inputs": [-Infinity]}',
    "zero in front": '{"inputs": [01]}',
    "plus sign": '{"inputs": [+1]}',
    "no digit in front": '{"inputs": [.5]}',
    "hexadecimal": '{"inputs": [0x10]}',
    "unknown escape": '{"inputs": ["\\x41"]}',
    "line break in a text": '{"inputs": ["a\nb"]}',
    "capitals": '{"inputs": [True, None]}',
    "no end": '{"inputs": [',
}
"""Not JSON; a parser that takes one finds inputs that are an array, so that nothing is run."""


@pytest.mark.independent
@of_both_kinds(ASYNC_WORKFLOW_CALL, ASYNC_MODEL_CALL)
@pytest.mark.proves(validation.body_not_json)
@pytest.mark.parametrize("query", [(), (("async", "true"),)], ids=["sync", "async"])
def test_body_that_is_nearly_json_is_refused(tester, operation_id, need, query):
    """What a lenient parser takes for JSON is a 400 INVALID_BODY, in either form of the run."""
    call = call_that_would_run(tester.need(need)).having(query=query)

    for body in NEARLY_JSON.values():
        tester.send(operation_id, tester.need(need).key, call.having(raw=body.encode()))


@pytest.mark.independent
@run_operations
@pytest.mark.proves(validation.body_no_object)
@pytest.mark.parametrize("raw", [b"[]", b"null", b"0", b'"inputs"', b"true", b""])
def test_body_that_is_no_object_is_refused(tester, operation_id, need, raw):
    """A run body that is JSON but not an object, or is empty, is a 400."""
    call = call_that_would_run(tester.need(need)).having(raw=raw)

    tester.send(operation_id, tester.need(need).key, call)


@pytest.mark.independent
@of_both_kinds(WORKFLOW_RUNNER, MODEL_RUNNER, records="bad-name", is_named=True)
@pytest.mark.proves(validation.malformed_slug)
@given(slug=malformed_slugs())
@example(slug="Portrait")
@example(slug="portrait_hd")
@example(slug="portrait hd")
@example(slug="portrait\n")
def test_malformed_slug_is_refused(tester, operation_id, need, slug):
    """A slug or model name with other characters is a 400 INVALID_SLUG."""
    (parameter,) = tester.document.operation_by_id[operation_id].path_parameters
    call = Call(path_values={parameter: slug}, json={"inputs": {}}, is_deliberate=True)

    exchange = tester.send(operation_id, tester.need(need), call)

    if slug == "portrait hd":
        tester.keep(f"{operation_id}-bad-name", exchange)
    assert not tester.findings_about(exchange)


@pytest.mark.independent
@run_operations
@pytest.mark.proves(validation.malformed_slug)
@pytest.mark.parametrize(
    "spell", [str.upper, str.capitalize, "{} ".format], ids=["upper", "capital", "space"]
)
def test_existing_name_has_no_other_spelling(tester, operation_id, need, spell):
    """A slug or model name that exists has no other spelling: capitals and spaces are a 400 INVALID_SLUG."""
    call = call_that_would_run(tester.need(need))
    path_values = {parameter: spell(name) for parameter, name in call.path_values.items()}
    if path_values == call.path_values:
        raise Untested("a workflow or model whose name has letters", "profile")

    tester.send(
        operation_id,
        tester.need(need).key,
        call.having(path_values=path_values, json={"inputs": {}}, is_deliberate=True),
    )


@pytest.mark.independent
@pytest.mark.proves(validation.create_without_name)
@pytest.mark.records("createWorkflow-no-name", 400, 422)
@pytest.mark.parametrize("body", [{"description": "no name"}, {}, {"Name": "a"}], ids=json.dumps)
def test_create_without_a_name_is_refused(tester, subjects, body):
    """Create without a name is refused."""
    tester.send("createWorkflow", tester.need(WRITER), Call(json=marked(body)))


@pytest.mark.independent
@pytest.mark.proves(validation.misshapen_create)
@given(name=unusable_names())
def test_create_with_an_unusable_name_is_refused(tester, subjects, name):
    """A create whose name cannot be one is a 4xx."""
    exchange = tester.send("createWorkflow", tester.need(WRITER), Call(json=marked({"name": name})))

    assert not tester.judge(validation.misshapen_create, exchange)


@pytest.mark.independent
@pytest.mark.proves(validation.misshapen_create)
@pytest.mark.records("createWorkflow-misshapen", 400, 422, is_named=True)
@given(document=misshapen_documents())
@example(document=TAGS_NO_LIST)
def test_create_of_a_misshapen_document_is_refused(tester, subjects, document):
    """A create whose document is misshapen is a 4xx."""
    exchange = tester.send("createWorkflow", tester.need(WRITER), Call(json=marked(document)))

    if document == TAGS_NO_LIST:
        tester.keep("createWorkflow-misshapen", exchange)
    assert not tester.judge(validation.misshapen_create, exchange)


@pytest.mark.independent
@pytest.mark.proves(validation.misshapen_move)
@pytest.mark.records("moveWorkflow-no-folder", 400, 422)
@pytest.mark.parametrize(
    "body", [{}, {"folderId": 1}, {"folderId": []}, {"folderId": {}}, []], ids=json.dumps
)
def test_move_without_a_usable_folder_is_refused(tester, subjects, body):
    """A move without a usable folderId is a 4xx."""
    call = Call(path_values={"slug": subjects.scratch_slug}, json=body)

    tester.send("moveWorkflow", tester.need(AUTHOR), call)


@pytest.mark.independent
@pytest.mark.proves(validation.garbled_usage_query)
@pytest.mark.records("listUsage-garbled-limit", is_named=True)
@given(
    name=st.sampled_from(["limit", "offset", "status", "modelId", "workflowSlug"]),
    value=garbled_query_values(),
)
@example(name="limit", value="many")
@example(name="limit", value="501")
@example(name="limit", value="-1")
@example(name="offset", value="-1")
@example(name="limit", value="0")
@example(name="limit", value="100000")
def test_garbled_usage_query_never_fails_the_server(tester, name, value):
    """A garbled limit, offset or status never gets a 5xx or more than 500 rows."""
    is_recorded = value == "many"
    exchange = tester.send("listUsage", tester.need(ANY_KEY), Call(query=((name, value),)))

    if is_recorded:
        tester.keep("listUsage-garbled-limit", exchange)
    assert not tester.judge(validation.garbled_usage_query, exchange)


@pytest.mark.independent
@pytest.mark.parametrize(
    ("operation_id", "need"),
    [
        pytest.param(operation_id, need, id=operation_id, marks=[pytest.mark.needs(need), *marks])
        for operation_id, need, *marks in (
            ("getWhoami", ANY_KEY, pytest.mark.records("getWhoami-user")),
            ("listWorkflows", READER, pytest.mark.records("listWorkflows-summaries")),
            ("getWorkflow", OWN_WORKFLOW, pytest.mark.records("getWorkflow-document")),
            ("getWorkflowSchema", OWN_WORKFLOW, pytest.mark.records("getWorkflowSchema-fields")),
            ("getExecution", ASYNC_RUN),
            ("listUsage", ANY_KEY, pytest.mark.records("listUsage-rows")),
        )
    ],
)
@pytest.mark.proves(validation.bodiless)
def test_bodiless_read_needs_no_content_type(tester, subjects, document, operation_id, need):
    """A read without a body needs no Content-Type header."""
    found = tester.need(need)
    key = found if isinstance(found, Persona) else found.key
    call = subjects.call_on_existing(document.operation_by_id[operation_id])
    if isinstance(found, KeyAndResource) and "slug" in call.path_values:
        call = call.having(path_values={"slug": found.resource.slug})

    tester.send(operation_id, key, call)


@pytest.mark.spends.with_args(once(CANCELLED_RUN))
@pytest.mark.proves(validation.bodiless)
@pytest.mark.needs(CANCELLED_RUN)
def test_bodiless_cancel_needs_no_content_type(tester, subjects):
    """A cancel without a body needs no Content-Type header."""
    owner, resource = tester.need(CANCELLED_RUN)
    submitted = subjects.run(resource, owner, is_async=True)
    call = Call(path_values={"id": subjects.execution_id_of(submitted)})

    cancelled = tester.send("cancelExecution", owner, call)

    poll = tester.send("getExecution", owner, call).json_or_none()
    if isinstance(poll, dict) and poll.get("status") not in ("completed", "failed"):
        # where the provider was faster, a 400 may be about that
        tester.judge(validation.bodiless, cancelled)


# Not the run operations: what a lenient server takes for a run would be paid.
@pytest.mark.independent
@pytest.mark.thorough
@pytest.mark.parametrize(
    ("operation_id", "need"),
    [
        pytest.param(operation_id, need, id=operation_id, marks=pytest.mark.needs(need))
        for operation_id, need in (
            ("createWorkflow", WRITER),
            ("updateWorkflow", WRITER),
            ("moveWorkflow", WRITER),
            ("getWorkflow", READER),
            ("getExecution", EXECUTION_READER),
            ("listUsage", ANY_KEY),
        )
    ],
)
@pytest.mark.proves(form.no_server_error)
@given(data=st.data())
def test_invalid_request_is_no_server_error(tester, subjects, operation_id, need, data):
    """Whatever contradicts the schema of a request, the answer is no server error."""
    call = data.draw(invalid_calls(tester.document, operation_id))

    exchange = tester.send(operation_id, tester.need(need), call)

    assert not tester.judge(form.no_server_error, exchange)


@pytest.mark.independent
@pytest.mark.parametrize(
    ("operation_id", "need", "call"),
    [
        pytest.param(
            name.partition("-")[0],
            need,
            call,
            id=name,
            marks=[pytest.mark.needs(MAY_READ, need), pytest.mark.records(name, *statuses)],
        )
        for name, statuses, need, call in (
            ("createWorkflow-not-json", (400, 422), WRITER, Call(raw=b'{"name": ')),
            ("createWorkflow-content-type", (400, 415, 422, 201, 200), WRITER, AS_TEXT),
            ("updateWorkflow-not-json", (400, 422), AUTHOR, Call(raw=b'{"name": ')),
            ("updateWorkflow-misshapen", (400, 422), AUTHOR, Call(json={"name": 7})),
            ("getWorkflow-bad-slug", (404, 400), READER, Call(path_values={"slug": "No_Such_Slug"})),
            ("getExecution-bad-id", (404, 400), EXECUTION_READER, Call(path_values={"id": "no-uuid"})),
            ("listUsage-beyond-the-end", (200,), ANY_KEY, Call(query=(("offset", "100000"),))),
        )
    ],
)
@pytest.mark.proves(form.no_server_error)
def test_unusual_request_is_no_server_error(tester, subjects, operation_id, need, call):
    """An unusual request, for which no source names the answer, is no server error."""
    if operation_id == "updateWorkflow":
        call = call.having(path_values={"slug": subjects.scratch_slug})
    if call is AS_TEXT:
        call = call.having(json=marked(call.json))

    tester.judge(form.no_server_error, tester.send(operation_id, tester.need(need), call))
