"""What exchanges show beyond the document, gathered from hand-made responses."""

import json
from dataclasses import replace

import pytest
from exchanges import exchange, refusal

from knouds_harness.body_bounds import KEPT_BYTES
from knouds_harness.contract.document import shipped_document
from knouds_harness.contract.operations import Source
from knouds_harness.judging.drift import FACT, Gatherer, drift_finding
from knouds_harness.runs.findings import Verdict, fails_run, verdict_for
from knouds_harness.runs.results import finding_format

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


def test_documented_response_has_nothing_new():
    assert new(whoami()) == []


def test_member_is_named_by_its_place():
    assert new(whoami(team={"name": "blue"})) == [("member", "getWhoami", "/user/team", "")]


def test_items_of_an_array_share_a_place():
    row = {"id": 1, "region": "eu"}

    found = new(exchange(200, {"rows": [row, row, {"id": 2}]}, operation_id="listUsage"))

    assert found == [("member", "listUsage", "/rows/*/region", "")]


def test_novelty_is_listed_once_with_first_exchange_and_count():
    first = replace(whoami(team="blue"), id="x00007")
    gatherer = gathered(whoami(), first, whoami(team="red"))

    (novelty,) = gatherer.novelties()

    assert (novelty.first.id, novelty.count) == ("x00007", 2)


def test_place_is_listed_once_for_all_statuses():
    answers = (refusal(401, "UNAUTHORIZED", docs="…"), refusal(429, "RATE_LIMIT_EXCEEDED", docs="…"))

    assert new(*answers) == [("member", "getWhoami", "/docs", "")]


@pytest.mark.parametrize("name", ["X-Request-Id", "Location", "Set-Cookie"])
def test_header_of_the_api_is_new(name):
    assert new(replace(whoami(), headers=((name, "x"),))) == [
        ("header", "getWhoami", f"header {name.lower()}", "")
    ]


@pytest.mark.parametrize(
    "name",
    [
        *("Date", "Server", "Content-Length", "Via", "Cache-Control", "ETag", "Vary", "CF-Ray", "Connection"),
        *("Strict-Transport-Security", "Access-Control-Allow-Origin", "Allow"),
        *("X-RateLimit-Limit", "Retry-After"),
    ],
)
def test_header_of_transport_or_rate_limits_is_not_new(name):
    assert new(replace(whoami(), headers=((name, "x"),))) == []


def test_code_outside_the_catalogue_is_new():
    assert new(refusal(401, "KEY_ASLEEP"), refusal(401, "UNAUTHORIZED")) == [
        ("code", "getWhoami", "/code", "KEY_ASLEEP")
    ]


def test_status_of_a_refusal_is_new():
    assert new(refusal(451, "UNAUTHORIZED")) == [("status", "getWhoami", "", "451")]


@pytest.mark.parametrize("status", [206, 302, 503])
def test_status_that_breaks_a_promise_is_not_drift(status):
    """Undocumented successes and server errors have their own checks."""
    assert new(exchange(status, {"error": "Refused", "code": "UNAUTHORIZED", "more": 1})) == []


def test_status_and_code_of_a_breach_are_not_drift():
    answer = refusal(451, "GONE_FISHING")
    gatherer = gathered(answer)
    template = drift_finding(gatherer.novelties()[0], DOCUMENT.facts[FACT])
    breach = replace(template, verdict=Verdict.BREACH)

    assert gatherer.novelties([breach]) == []
    assert len(gatherer.novelties([replace(breach, verdict=Verdict.ASSUMPTION)])) == 2


@pytest.mark.parametrize("tier", ["pro", "enterprise"])
def test_named_value_of_an_open_set_is_known(tier):
    assert new(whoami(tier=tier)) == []


def test_each_other_value_of_an_open_set_is_new():
    assert new(whoami(tier="platinum"), whoami(tier="gold")) == [
        ("value", "getWhoami", "/user/tier", "platinum"),
        ("value", "getWhoami", "/user/tier", "gold"),
    ]


def test_capability_that_no_operation_requires_is_new():
    known = refusal(403, "CAPABILITY_DENIED", required=["workflow:run", "workflow:portrait:run"])
    other = refusal(403, "CAPABILITY_DENIED", required=["workflow:paint"])

    found = [each for each in new(known, other) if each[0] == "value"]

    assert found == [("value", "getWhoami", "/required/*", "workflow:paint")]


def test_free_maps_are_not_searched():
    """They hold what the author of a workflow, or a model, wrote."""
    assert new(exchange(200, WORKFLOW, operation_id="getWorkflow")) == []
    run = {"success": True, "result": {"stills": []}, "cost": 1, "ms": 2}
    assert new(exchange(200, run, operation_id="runWorkflow")) == []


def test_open_body_is_not_drift():
    """Further members of a poll are open."""
    gatherer = gathered(exchange(200, {"status": "processing", "queue": 4}, operation_id="getExecution"))

    assert gatherer.novelties() == []


def test_member_that_we_sent_is_not_drift():
    written = {**WORKFLOW, "mood": "calm", "nodes": [{**NODE, "mark": 1}]}
    created = sent(exchange(201, written, operation_id="createWorkflow"), written)

    assert new(created, exchange(200, written, operation_id="getWorkflow")) == []
    assert new(created, exchange(200, [{"slug": "s", "mood": "calm"}], operation_id="listWorkflows")) == []


def test_member_added_by_the_server_stays_drift_when_sent_back():
    read = exchange(200, {**WORKFLOW, "mood": "calm"}, operation_id="getWorkflow")
    created = sent(exchange(201, {**WORKFLOW, "mood": "calm"}, operation_id="createWorkflow"), read.json())

    assert new(read, created) == [
        ("member", "getWorkflow", "/mood", ""),
        ("member", "createWorkflow", "/mood", ""),
    ]


def test_member_sent_to_workflows_is_still_new_elsewhere():
    created = sent(exchange(201, WORKFLOW, operation_id="createWorkflow"), {**WORKFLOW, "team": "blue"})

    assert new(created, whoami(team="blue")) == [("member", "getWhoami", "/user/team", "")]


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
    gatherer = gathered(answer)

    assert gatherer.novelties() == []


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


def test_text_that_is_not_unicode_can_be_written():
    gatherer = gathered(exchange(200, raw=b'{"user": {"\\ud800": 1, "tier": "\\udfff"}}'))

    assert len(gatherer.novelties()) == 2
    for novelty in gatherer.novelties():
        assert finding_format().dump_json(drift_finding(novelty, DOCUMENT.facts[FACT]))


def test_drift_cites_a_fact_and_fails_no_run():
    """Its verdict does not follow from the fact's source, and ``--strict`` changes nothing."""
    (novelty,) = gathered(whoami(team="blue")).novelties()
    fact = DOCUMENT.facts[FACT]

    finding = drift_finding(novelty, fact)

    assert (finding.verdict, finding.source) == (Verdict.ADDITIVE, Source.OVERVIEW)
    assert verdict_for(fact) is Verdict.BREACH
    assert not fails_run(finding.verdict, strict=True, is_waived=False)


def test_fingerprint_does_not_depend_on_the_exchange():
    marks = {
        drift_finding(each, DOCUMENT.facts[FACT]).fingerprint
        for each in (
            *gathered(refusal(401, "UNAUTHORIZED", docs=1)).novelties(),
            *gathered(refusal(429, "RATE_LIMIT_EXCEEDED", docs="x")).novelties(),
        )
    }
    others = {
        drift_finding(each, DOCUMENT.facts[FACT]).fingerprint
        for each in gathered(whoami(tier="gold"), whoami(tier="platinum")).novelties()
    }

    assert len(marks) == 1
    assert len(others) == 2
