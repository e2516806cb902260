"""What exchanges show beyond the document, gathered from hand-made responses."""

import json
from dataclasses import replace

import pytest
from exchanges import exchange, refusal

from knouds_harness.body_bounds import KEPT_BYTES
from knouds_harness.contract.document import shipped_document
from knouds_harness.judging.drift import FACT, Gatherer, drift_finding
from knouds_harness.runs.findings import Verdict
from knouds_harness.runs.run_file import finding_format

DOCUMENT = shipped_document()
USER = {"id": "usr_ada", "email": "a@example.com", "role": "user", "tier": "pro", "approved": True}
NODE = {"id": "a", "type": "generator", "position": {"x": 1}, "data": {"seed": 4}}
WORKFLOW = {"slug": "s", "name": "S", "nodes": [NODE], "edges": [], "createdBy": "usr_ada"}
DELIVERY = {"event": "execution.completed", "executionId": "e", "status": "completed", "result": {"a": 1}}


def gathered(*exchanges):
    gatherer = Gatherer(DOCUMENT)
    for each in exchanges:
        gatherer.add(each)
    return gatherer


def new(*exchanges):
    """Return what the document does not have, as kind, operation, place and value."""
    return [(each.kind, each.operation, each.where, each.value) for each in gathered(*exchanges).novelties()]


def whoami(**members):
    return exchange(200, {"user": {**USER, **members}})


def sent(answer, body):
    """Give the request of an exchange a body."""
    request = replace(answer.request, method="POST", path="/api/workflows", body=json.dumps(body).encode())
    return replace(answer, request=request)


def delivered(payload, **headers):
    answer = exchange(204, None, operation_id=None, raw=b"")
    request = replace(answer.request, body=json.dumps(payload).encode(), headers=tuple(headers.items()))
    return replace(answer, request=request)


ROW = {"id": 1, "region": "eu"}
CALM = {**WORKFLOW, "mood": "calm", "nodes": [{**NODE, "mark": 1}]}
ASKED = exchange(200, CALM, operation_id="getWorkflow")
CREATED = sent(exchange(201, CALM, operation_id="createWorkflow"), CALM)
RUN = {"success": True, "result": {"stills": []}, "cost": 1, "ms": 2}
NEW = {
    "nothing": ([whoami()], []),
    "a member, by its place": ([whoami(team={"name": "blue"})], [("member", "getWhoami", "/user/team", "")]),
    "one place for all items": (
        [exchange(200, {"rows": [ROW, ROW, {"id": 2}]}, operation_id="listUsage")],
        [("member", "listUsage", "/rows/*/region", "")],
    ),
    "one place for all statuses": (
        [refusal(401, "UNAUTHORIZED", docs="…"), refusal(429, "RATE_LIMIT_EXCEEDED", docs="…")],
        [("member", "getWhoami", "/docs", "")],
    ),
    "a code outside the catalogue": (
        [refusal(401, "KEY_ASLEEP"), refusal(401, "UNAUTHORIZED")],
        [("code", "getWhoami", "/code", "KEY_ASLEEP")],
    ),
    "a status of a refusal": ([refusal(451, "UNAUTHORIZED")], [("status", "getWhoami", "", "451")]),
    "named values of an open set": ([whoami(tier="pro"), whoami(tier="enterprise")], []),
    "each other value of it": (
        [whoami(tier="platinum"), whoami(tier="gold")],
        [("value", "getWhoami", "/user/tier", each) for each in ("platinum", "gold")],
    ),
    "a capability that no operation requires": (
        [
            refusal(403, "CAPABILITY_DENIED", required=["workflow:run", "workflow:portrait:run"]),
            refusal(403, "CAPABILITY_DENIED", required=["workflow:paint"]),
        ],
        [("status", "getWhoami", "", "403"), ("value", "getWhoami", "/required/*", "workflow:paint")],
    ),
    "what the author of a workflow or a model wrote": (
        [exchange(200, WORKFLOW, operation_id="getWorkflow"), exchange(200, RUN, operation_id="runWorkflow")],
        [],
    ),
    "members of an open body": (
        [exchange(200, {"status": "processing", "queue": 4}, operation_id="getExecution")],
        [],
    ),
    "members that we sent": (
        [CREATED, ASKED, exchange(200, [{"slug": "s", "mood": "calm"}], operation_id="listWorkflows")],
        [],
    ),
    "members that we sent back": (
        [exchange(200, {**WORKFLOW, "mood": "calm"}, operation_id="getWorkflow"), CREATED],
        [("member", each, "/mood", "") for each in ("getWorkflow", "createWorkflow")],
    ),
    "members that we sent to others": (
        [CREATED, whoami(mood="calm")],
        [("member", "getWhoami", "/user/mood", "")],
    ),
}


@pytest.mark.parametrize("case", NEW.values(), ids=NEW)
def test_what_the_document_does_not_have_is_named_once(case):
    exchanges, found = case

    assert new(*exchanges) == found


def test_novelty_is_listed_once_with_first_exchange_and_count():
    first = replace(whoami(team="blue"), id="x00007")

    (novelty,) = gathered(whoami(), first, whoami(team="red")).novelties()

    assert (novelty.first.id, novelty.count) == ("x00007", 2)


def test_header_of_transport_or_rate_limits_is_not_new():
    known = (
        *("Date", "Server", "Content-Length", "Via", "Cache-Control", "ETag", "Vary", "CF-Ray", "Connection"),
        *("Strict-Transport-Security", "Access-Control-Allow-Origin", "Allow"),
        *("X-RateLimit-Limit", "Retry-After"),
    )
    others = ("X-Request-Id", "Location", "Set-Cookie")

    found = new(replace(whoami(), headers=tuple((name, "x") for name in (*known, *others))))

    assert found == [("header", "getWhoami", f"header {name.lower()}", "") for name in others]


@pytest.mark.parametrize("status", [206, 302, 503])
def test_status_that_breaks_a_promise_is_not_drift(status):
    """Undocumented successes and server errors have their own checks."""
    assert new(exchange(status, {"error": "Refused", "code": "UNAUTHORIZED", "more": 1})) == []


def test_status_and_code_of_a_breach_are_not_drift():
    gatherer = gathered(refusal(451, "GONE_FISHING"))
    template = drift_finding(gatherer.novelties()[0], DOCUMENT.facts[FACT])
    breach = replace(template, verdict=Verdict.BREACH)

    assert gatherer.novelties([breach]) == []
    assert len(gatherer.novelties([replace(breach, verdict=Verdict.ASSUMPTION)])) == 2


def test_deliveries_of_all_events_are_gathered_together():
    gatherer = Gatherer(DOCUMENT)
    for event in ("execution.completed", "execution.failed", "execution.paused"):
        gatherer.add_delivery(
            delivered({**DELIVERY, "event": event, "region": "eu"}, **{"X-Attempt": "1", "User-Agent": "k"})
        )

    found = {(each.kind, each.operation, each.where, each.value) for each in gatherer.novelties()}

    assert found == {
        ("member", None, "delivery /region", ""),
        ("header", None, "delivery header x-attempt", ""),
        ("value", None, "delivery /event", "execution.paused"),
    }


@pytest.mark.parametrize(
    "answer",
    [
        exchange(None),
        exchange(200, raw=b"{"),
        exchange(200, raw=b""),
        exchange(200, ["x"]),
        exchange(200, "x"),
        exchange(200, {"user": [1, {"id": 2}]}),
        exchange(404, {"what": 1}, operation_id=None),
        exchange(200, raw=b'{"a":' * 5000),
    ],
)
def test_malformed_response_is_tolerated(answer):
    assert new(answer) == []


def test_long_body_is_kept_in_part():
    """Each place keeps its first response, and a server could fill each with megabytes."""
    (novelty,) = gathered(whoami(team="x" * 1_000_000)).novelties()

    assert len(novelty.first.body) == KEPT_BYTES


def test_flood_of_names_is_bounded():
    """A server that invents names, or puts ids into codes, cannot fill the record."""
    members = gathered(whoami(**{f"member{number}": 1 for number in range(5000)}))
    codes = gathered(*(refusal(401, f"NO_{number}") for number in range(500)))
    headers = gathered(replace(whoami(), headers=tuple((f"x-{number}", "1") for number in range(500))))
    events = Gatherer(DOCUMENT)
    for number in range(500):
        events.add_delivery(delivered({"event": f"e{number}"}))

    for gatherer in (members, codes, headers, events):
        assert 90 < len(gatherer.novelties()) <= 100


def findings_of(*exchanges):
    return [drift_finding(each, DOCUMENT.facts[FACT]) for each in gathered(*exchanges).novelties()]


def test_text_that_is_not_unicode_can_be_written():
    findings = findings_of(exchange(200, raw=b'{"user": {"\\ud800": 1, "tier": "\\udfff"}}'))

    assert len(findings) == 2
    assert all(map(finding_format().dump_json, findings))


def test_fingerprint_does_not_depend_on_the_exchange():
    [one] = findings_of(refusal(401, "UNAUTHORIZED", docs=1))
    [same] = findings_of(refusal(429, "RATE_LIMIT_EXCEEDED", docs="x"))
    [gold, platinum] = findings_of(whoami(tier="gold"), whoami(tier="platinum"))

    assert one.fingerprint == same.fingerprint
    assert gold.fingerprint != platinum.fingerprint
