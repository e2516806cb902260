"""Unusual requests that no source refuses are no server error."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from knouds_harness.exchange.created_workflows import marked
from knouds_harness.exchange.evidence import Call
from knouds_harness.judging.checks import envelopes, validation
from knouds_harness.suite.generation.strategies import garbled_query_values, invalid_calls
from knouds_harness.targets.needs import MAY_READ
from knouds_harness.targets.needs.keys import ANY_KEY, AUTHOR, EXECUTION_READER, READER, WRITER

pytestmark = pytest.mark.independent

DESCRIBED = {
    **dict.fromkeys(("createWorkflow", "updateWorkflow", "moveWorkflow"), WRITER),
    "getWorkflow": READER,
    "getExecution": EXECUTION_READER,
    "listUsage": ANY_KEY,
}
"""Not the run operations: what a lenient server takes for a run would be paid."""
AS_TEXT = Call(json={"name": "as text"}, headers=(("content-type", "text/plain"),))


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


@pytest.mark.thorough
@pytest.mark.parametrize(("operation_id", "need"), DESCRIBED.items(), ids=DESCRIBED)
@pytest.mark.proves(envelopes.no_server_error)
@given(data=st.data())
def test_invalid_request_is_no_server_error(tester, test_data, operation_id, need, data):
    """Whatever contradicts the schema of a request, the answer is no server error."""
    call = data.draw(invalid_calls(tester.document, operation_id))

    exchange = tester.send(operation_id, tester.need(need), call)

    assert not tester.judge(envelopes.no_server_error, exchange)


@pytest.mark.parametrize(
    ("operation_id", "need", "call"),
    [
        pytest.param(name.partition("-")[0], need, call, id=name, marks=pytest.mark.records(name, *statuses))
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
@pytest.mark.proves(envelopes.no_server_error)
@pytest.mark.needs(MAY_READ)
def test_unusual_request_is_no_server_error(tester, test_data, operation_id, need, call):
    """An unusual request, for which no source names the answer, is no server error."""
    if operation_id == "updateWorkflow":
        call = call.having(path_values={"slug": test_data.scratch_slug})
    if call is AS_TEXT:
        call = call.having(json=marked(call.json))

    tester.judge(envelopes.no_server_error, tester.send(operation_id, tester.need(need), call))
