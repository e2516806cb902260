"""Generated nonsense gets the documented code, and never a server error."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from knouds_harness.conformance.checks import envelopes, validation
from knouds_harness.conformance.generation import (
    garbled_query_values,
    invalid_calls,
    json_but_no_object,
    malformed_slugs,
    misshapen_documents,
    not_json,
    unusable_names,
)
from knouds_harness.conformance.needs import (
    FULL_KEY,
    OWN_POLLED_WORKFLOW,
    OWN_WORKFLOW,
    POLLED_MODEL,
    USABLE_MODEL,
    once,
)
from knouds_harness.conformance.probe import Call

run_operations = pytest.mark.parametrize("operation_id", ["runWorkflow", "runModel"])


def call_that_would_run(probe, operation_id):
    """A call that lacks nothing but a body."""
    if operation_id == "runWorkflow":
        return Call(path_values={"slug": probe.need(OWN_WORKFLOW).slug})
    return Call(path_values={"internalName": probe.need(USABLE_MODEL).name})


@pytest.mark.independent
@run_operations
@pytest.mark.proves(validation.inputs_missing)
@pytest.mark.parametrize("body", [{}, {"input": {}}, {"prompt": "a"}, {"Inputs": {}}], ids=json.dumps)
def test_inputs_missing(probe, operation_id, body):
    """A run without inputs is a 400 INVALID_INPUTS."""
    call = call_that_would_run(probe, operation_id).having(json=body)

    exchange = probe.send(operation_id, probe.need(FULL_KEY), call)

    probe.judge(validation.inputs_missing, exchange)


@pytest.mark.independent
@run_operations
@pytest.mark.proves(validation.inputs_not_object)
@given(inputs=json_but_no_object())
@example(inputs=[])
@example(inputs=None)
@example(inputs="")
@example(inputs=0)
@example(inputs=False)
@example(inputs=[{"prompt": "a"}])
def test_inputs_not_an_object(probe, operation_id, inputs):
    """Inputs that are no object, an array included, are a 400 INVALID_INPUTS."""
    call = call_that_would_run(probe, operation_id).having(json={"inputs": inputs})

    exchange = probe.send(operation_id, probe.need(FULL_KEY), call)

    assert not probe.judge(validation.inputs_not_object, exchange)


@pytest.mark.independent
@run_operations
@pytest.mark.proves(validation.inputs_missing, validation.inputs_not_object)
def test_asynchronous_run_needs_inputs(probe, operation_id):
    """Inputs of an asynchronous run are looked at before it is accepted."""
    if operation_id == "runWorkflow":
        path_values = {"slug": probe.need(OWN_POLLED_WORKFLOW).slug}
    else:
        path_values = {"internalName": probe.need(POLLED_MODEL).name}
    call = Call(path_values=path_values, query=(("async", "true"),))
    owner = probe.need(FULL_KEY)

    probe.judge(validation.inputs_missing, probe.send(operation_id, owner, call.having(json={})))
    for body in (b'{"inputs": null}', b'{"inputs": []}', b'{"inputs": ""}', b'{"inputs": false}'):
        exchange = probe.send(operation_id, owner, call.having(raw=body))
        probe.judge(validation.inputs_not_object, exchange)


@pytest.mark.independent
@run_operations
@pytest.mark.proves(validation.body_not_json)
@given(body=not_json())
@example(body=b'{"inputs": {}')
@example(body=b"inputs=%7B%7D")
@example(body=b"<inputs/>")
def test_body_not_json(probe, operation_id, body):
    """A run body that is no JSON is a 400 INVALID_BODY."""
    call = call_that_would_run(probe, operation_id).having(raw=body)

    exchange = probe.send(operation_id, probe.need(FULL_KEY), call)

    assert not probe.judge(validation.body_not_json, exchange)


@pytest.mark.independent
@run_operations
@pytest.mark.proves(validation.body_no_object)
@pytest.mark.parametrize("raw", [b"[]", b"null", b"0", b'"inputs"', b"true", b""])
def test_body_no_object(probe, operation_id, raw):
    """A run body that is JSON but no object, or empty, is a 400."""
    call = call_that_would_run(probe, operation_id).having(raw=raw)

    exchange = probe.send(operation_id, probe.need(FULL_KEY), call)

    probe.judge(validation.body_no_object, exchange)


@pytest.mark.independent
@run_operations
@pytest.mark.proves(validation.malformed_slug)
@given(slug=malformed_slugs())
@example(slug="Portrait")
@example(slug="portrait_hd")
@example(slug="portrait hd")
@example(slug="portrait\n")
def test_malformed_slug(probe, operation_id, slug):
    """A slug or model name with other characters is a 400 INVALID_SLUG."""
    (parameter,) = probe.document.operation_by_id[operation_id].path_parameters
    call = Call(path_values={parameter: slug}, json={"inputs": {}})

    exchange = probe.send(operation_id, probe.need(FULL_KEY), call)

    assert not probe.judge(validation.malformed_slug, exchange)


@pytest.mark.independent
@run_operations
@pytest.mark.proves(validation.malformed_slug)
@pytest.mark.parametrize(
    "spell", [str.upper, str.capitalize, "{} ".format], ids=["upper", "capital", "space"]
)
def test_known_name_spelt_otherwise(probe, operation_id, spell):
    """A slug or model name that exists has no other spelling: capitals and spaces are a 400 INVALID_SLUG."""
    call = call_that_would_run(probe, operation_id)
    path_values = {parameter: spell(name) for parameter, name in call.path_values.items()}
    if path_values == call.path_values:
        pytest.skip("a name without letters has no capitals")

    exchange = probe.send(
        operation_id, probe.need(FULL_KEY), call.having(path_values=path_values, json={"inputs": {}})
    )

    probe.judge(validation.malformed_slug, exchange)


@pytest.mark.independent
@pytest.mark.proves(validation.create_without_name)
@pytest.mark.parametrize("body", [{}, {"description": "no name"}, {"Name": "a"}], ids=json.dumps)
def test_create_without_name(probe, subjects, body):
    """Create without a name is refused."""
    exchange = probe.send("createWorkflow", probe.need(FULL_KEY), Call(json=body))
    subjects.note_created(exchange)

    probe.judge(validation.create_without_name, exchange)


@pytest.mark.independent
@pytest.mark.proves(validation.misshapen_create)
@given(name=unusable_names())
def test_create_with_unusable_name(probe, subjects, name):
    """A create whose name cannot be one is a 4xx."""
    exchange = probe.send("createWorkflow", probe.need(FULL_KEY), Call(json={"name": name}))
    subjects.note_created(exchange)

    assert not probe.judge(validation.misshapen_create, exchange)


@pytest.mark.independent
@pytest.mark.proves(validation.misshapen_create)
@given(document=misshapen_documents())
def test_misshapen_create(probe, subjects, document):
    """A create whose document is misshapen is a 4xx."""
    exchange = probe.send("createWorkflow", probe.need(FULL_KEY), Call(json=document))
    subjects.note_created(exchange)

    assert not probe.judge(validation.misshapen_create, exchange)


@pytest.mark.independent
@pytest.mark.proves(validation.misshapen_move)
@pytest.mark.parametrize(
    "body", [{}, {"folderId": 1}, {"folderId": []}, {"folderId": {}}, []], ids=json.dumps
)
def test_misshapen_move(probe, subjects, body):
    """A move without a usable folderId is a 4xx."""
    call = Call(path_values={"slug": subjects.scratch_slug}, json=body)

    exchange = probe.send("moveWorkflow", probe.need(FULL_KEY), call)

    probe.judge(validation.misshapen_move, exchange)


@pytest.mark.independent
@pytest.mark.proves(validation.garbled_usage_query)
@given(
    name=st.sampled_from(["limit", "offset", "status", "modelId", "workflowSlug"]),
    value=garbled_query_values(),
)
@example(name="limit", value="501")
@example(name="limit", value="-1")
@example(name="offset", value="-1")
@example(name="limit", value="0")
@example(name="limit", value="100000")
def test_garbled_usage_query(probe, name, value):
    """A garbled limit, offset or status never gets a 5xx or more than 500 rows."""
    exchange = probe.send("listUsage", probe.need(FULL_KEY), Call(query=((name, value),)))

    assert not probe.judge(validation.garbled_usage_query, exchange)


@pytest.mark.independent
@pytest.mark.parametrize(
    "operation_id",
    ["getWhoami", "listWorkflows", "getWorkflow", "getWorkflowSchema", "getExecution", "listUsage"],
)
@pytest.mark.proves(validation.bodiless)
def test_bodiless_read_needs_no_content_type(probe, subjects, document, operation_id):
    """A read without a body needs no Content-Type header."""
    call = subjects.call_on_existing(document.operation_by_id[operation_id])

    exchange = probe.send(operation_id, probe.need(FULL_KEY), call)

    probe.judge(validation.bodiless, exchange)


@pytest.mark.spends.with_args(once(POLLED_MODEL))
@pytest.mark.proves(validation.bodiless)
def test_bodiless_cancel_needs_no_content_type(probe, subjects):
    """A cancel without a body needs no Content-Type header."""
    owner = probe.need(FULL_KEY)
    submitted = subjects.run(probe.need(POLLED_MODEL), owner, is_async=True)
    call = Call(path_values={"id": subjects.execution_id_of(submitted)})

    cancelled = probe.send("cancelExecution", owner, call)

    poll = probe.send("getExecution", owner, call).json_or_none()
    if isinstance(poll, dict) and poll.get("status") not in ("completed", "failed"):
        # where the provider was faster, a 400 may be about that
        probe.judge(validation.bodiless, cancelled)


# Not the run operations: what a lenient server takes for a run would be paid.
@pytest.mark.independent
@pytest.mark.parametrize(
    "operation_id",
    ["createWorkflow", "updateWorkflow", "moveWorkflow", "getWorkflow", "getExecution", "listUsage"],
)
@pytest.mark.proves(envelopes.no_server_error, envelopes.envelope)
@given(data=st.data())
def test_invalid_request_is_no_server_error(probe, subjects, operation_id, data):
    """Whatever contradicts the schema of a request, the answer is no server error."""
    call = data.draw(invalid_calls(probe.document, operation_id))

    exchange = probe.send(operation_id, probe.need(FULL_KEY), call)
    subjects.note_created(exchange)

    assert not probe.judge(envelopes.no_server_error, exchange)
