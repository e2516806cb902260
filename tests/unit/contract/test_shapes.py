"""Judging shapes: how a mismatch is described, which fact it breaks, and what is allowed."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knouds_harness.contract.document import shipped_document
from knouds_harness.contract.operations import Source
from knouds_harness.contract.shapes import Mismatch, ShapeJudge, as_json

DOCUMENT = shipped_document()
JUDGE = ShapeJudge(DOCUMENT)
OPERATION = DOCUMENT.operation_by_id
ADA = {"id": "usr_ada", "email": "ada@example.com", "role": "user", "tier": "pro", "approved": True}
SUBMIT = OPERATION["runWorkflow"].responses[200].examples["submitted"]
FINISHED = OPERATION["runWorkflow"].responses[200].examples["finished"]
HARBOUR = OPERATION["getWorkflow"].responses[200].examples["harbour"]
USAGE = OPERATION["listUsage"].responses[200].examples["ada"]
SUMMARY = OPERATION["listWorkflows"].responses[200].examples["ada"][0]
WRONG_ROWS = """
from pathlib import Path

from knouds_harness.contract.document import shipped_document
from knouds_harness.contract.shapes import ShapeJudge

document = shipped_document()
wrong = {"rows": [{"id": "x"} for _ in range(20_000)], "page": 1, "pageSize": 50, "total": 1}
assert ShapeJudge(document).body_mismatches(document.operation_by_id["listUsage"], 200, wrong)
print(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])
"""
EXECUTION = {"executionId": SUBMIT["executionId"]}
RETRY = {"error": "Slow down.", "code": "RATE_LIMIT_EXCEEDED", "tier": "pro", "limit": 100, "retryAfter": 9}


def without(body, member):
    return {name: value for name, value in body.items() if name != member}


def row(**changed):
    return {**USAGE, "rows": [USAGE["rows"][1] | changed]}


def json_values():
    return st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
        max_leaves=8,
    )


def test_mismatch_has_place_values_and_fact():
    found = JUDGE.body_mismatches(OPERATION["getWhoami"], 200, {"user": ADA | {"role": "owner"}})

    assert found == [
        Mismatch(
            fact="whoami.role-closed",
            source=Source.DOCS,
            where="/user/role",
            expected='one of ["user", "admin"]',
            observed='"owner"',
        )
    ]


# operation, status, body -> the one fact, and where; tests/mutants does the same to each member
BREACHES = [
    ("getWhoami", 200, [], "whoami.user-object", ""),
    ("getWhoami", 200, {"user": without(ADA, "role")}, "whoami.user-object", "/user/role"),
    ("getWhoami", 401, {"error": "Unauthorized"}, "envelope.plain-401-has-code", "/code"),
    ("getWhoami", 401, {"error": "Unauthorized", "code": 4}, "envelope.error-has-code", "/code"),
    ("runWorkflow", 404, {"error": "Not found"}, "envelope.unknown-workflow-404-has-code", "/code"),
    ("runModel", 404, {"error": "Not found"}, "envelope.error-has-code", "/code"),
    ("runModel", 429, RETRY | {"retryAfter": 9000}, "rate.refusal-fields", "/retryAfter"),
    ("listWorkflows", 200, [without(SUMMARY, "hidden")], "workflows.summary-fields", "/*/hidden"),
    ("runWorkflow", 200, without(FINISHED, "ms"), "run.ms-is-number", "/ms"),
    ("runWorkflow", 200, without(SUBMIT, "_async"), "async.submit-shape", "/_async"),
    ("getExecution", 200, EXECUTION | {"status": "completed"}, "execution.completed-has-result", "/result"),
    ("listUsage", 200, USAGE | {"rows": USAGE["rows"] * 167}, "usage.limit-at-most-500", "/rows"),
    ("listUsage", 200, row(source="api-slim"), "usage.slim-has-no-workflow", "/rows/*/workflowSlug"),
    ("listUsageModels", 200, {"models": ["a", "a"]}, "usage.models-are-distinct", "/models"),
]


@pytest.mark.parametrize(
    ("operation_id", "status", "body", "fact", "where"),
    BREACHES,
    ids=[f"{operation}-{status}-{fact}{where}" for operation, status, _, fact, where in BREACHES],
)
def test_mismatch_breaks_only_the_nearest_fact(operation_id, status, body, fact, where):
    found = JUDGE.body_mismatches(OPERATION[operation_id], status, body)

    assert [(mismatch.fact, mismatch.where) for mismatch in found] == [(fact, where)]


@pytest.mark.parametrize("place", [0, 999, 1_000, 4_321])
def test_mismatch_is_found_anywhere_in_a_long_list(place):
    rows = [*USAGE["rows"] * 5_000][:5_000]
    rows[place] = rows[place] | {"creditsCost": "12"}

    found = JUDGE.body_mismatches(OPERATION["listUsage"], 200, USAGE | {"rows": rows})

    assert {mismatch.where for mismatch in found} == {"/rows", "/rows/*/creditsCost"}


@pytest.mark.parametrize(("row", "place"), [(0, 0), (0, 99), (50, 99)])
def test_mismatch_is_found_in_lists_within_a_long_list(row, place):
    rows = [each | {"modelIds": ["gpt-image-2"] * 100} for each in (USAGE["rows"] * 100)[:100]]
    rows[row]["modelIds"][place] = 7

    found = JUDGE.body_mismatches(OPERATION["listUsage"], 200, USAGE | {"rows": rows})

    assert [mismatch.where for mismatch in found] == ["/rows/*/modelIds/*"]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process its own peak")
def test_memory_for_wrong_items_is_bounded():
    """The validator lists all errors of its input: for these rows that took over 700 MB."""
    process = subprocess.run([sys.executable, "-c", WRONG_ROWS], capture_output=True, check=True)

    assert int(process.stdout) < 300_000


@given(operation=st.sampled_from(DOCUMENT.operations), body=json_values(), data=st.data())
def test_any_body_is_judged(operation, body, data):
    """Broken facts are among those that apply, and those are facts of the response."""
    status = data.draw(st.sampled_from(sorted(operation.responses)))

    broken = {mismatch.fact for mismatch in JUDGE.body_mismatches(operation, status, body)}

    assert broken <= JUDGE.body_facts(operation, status, body) <= set(operation.responses[status].facts)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "null"),
        (True, "true"),
        ("queued", '"queued"'),
        ({"größe": [1.5]}, '{"größe": [1.5]}'),
        ("a" * 500, f'"{"a" * 79}…'),
    ],
)
def test_value_is_shown_as_json_and_shortened(value, shown):
    assert as_json(value) == shown


# -- headers

WINDOW = [("X-RateLimit-Limit", "1000"), ("x-ratelimit-remaining", "3"), ("X-RATELIMIT-RESET", "1780305360")]


@pytest.mark.parametrize(
    "missing", ["X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset", "Retry-After"]
)
def test_refusal_carries_all_four_headers(missing):
    headers = [
        (name, value) for name, value in [*WINDOW, ("Retry-After", "48")] if name.lower() != missing.lower()
    ]

    [mismatch] = JUDGE.header_mismatches(OPERATION["runWorkflow"], 429, headers)

    assert (mismatch.fact, mismatch.where) == ("rate.refusal-headers", f"header {missing}")


def test_refusal_with_a_garbled_header_breaks_the_form_of_headers():
    headers = [("X-RateLimit-Limit", "1000 requests"), *WINDOW[1:], ("Retry-After", "48")]

    [mismatch] = JUDGE.header_mismatches(OPERATION["runWorkflow"], 429, headers)

    assert mismatch.fact == "rate.headers-are-integers"


# -- deliveries

ENDED = {
    "event": "execution.completed",
    "executionId": SUBMIT["executionId"],
    "requestId": "req_1",
    "userId": "usr_ada",
    "workflowSlug": None,
    "modelIds": ["suno-v5"],
    "status": "completed",
}


@pytest.mark.parametrize(
    ("payload", "fact", "where"),
    [
        (without(ENDED, "modelIds"), "webhook.payload-shape", "/modelIds"),
        (without(ENDED, "event"), "webhook.payload-shape", "/event"),
        (ENDED | {"status": "failed"}, "webhook.event-fits-ending", "/status"),
        (ENDED | {"event": "execution.failed"}, "webhook.event-fits-ending", "/status"),
        (ENDED | {"event": "execution.cancelled"}, "webhook.event-fits-ending", "/status"),
        (ENDED | {"error": {"code": "X"}}, "webhook.payload-shape", "/error/message"),
    ],
)
def test_wrong_delivery_breaks_its_fact(payload, fact, where):
    assert [(mismatch.fact, mismatch.where) for mismatch in JUDGE.webhook_mismatches(payload)] == [
        (fact, where)
    ]
