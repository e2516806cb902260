"""Checks of responses under load."""

import gzip
import json
from datetime import date

import pytest
from load_workload import Said, limited, polled, ran, throttled

from knouds_harness.contract.document import shipped_document
from knouds_harness.exchange.redaction import Redactor
from knouds_harness.load.client.response import Response
from knouds_harness.load.invariants.answer_checks import ContractBroken, Verifier
from knouds_harness.load.invariants.tallies import Tallies
from knouds_harness.targets.resources import Waiver
from knouds_harness.targets.secrets import Secret

DOCUMENT = shipped_document()
KEY = "knouds_live_full-4f1c"
ACCOUNT = {"id": "usr_1", "email": "ada@example.com", "role": "user", "tier": "pro", "approved": True}


def judged(name, *answers, **options):
    one, tallies = verifier(**options)
    verdicts = [one.judge(name, answer) for answer in answers]
    one.add_up()
    found = tallies.by_promise.items()
    return verdicts, {fact: (each.seen, each.broken, each.excused) for (fact, _), each in found}


def verifier(**options):
    tallies = Tallies()
    return Verifier(DOCUMENT, tallies, **options), tallies


def whoami(**changes):
    return Said({"user": {**ACCOUNT, **changes}}, path="/api/whoami")


def test_correct_responses_count_for_every_fact_they_show():
    """The same bytes again, and other values of the same members, count as much as the first."""
    verdicts, facts = judged("getWhoami", whoami(), whoami(), whoami(id="usr_2"))

    assert verdicts == [None, None, None]
    assert facts["whoami.user-object"] == (3, 0, 0)
    assert facts["ground.json-content-type"] == (3, 0, 0)


def test_judged_and_all_responses_are_counted():
    """The first twenty of a kind are judged; with a share of almost nothing, none of the others."""
    one, tallies = verifier(share=1e-9)
    for _ in range(50):
        one.judge("getWhoami", whoami())

    for _ in range(2):  # each once
        one.add_up()
        assert (tallies.verified, tallies.answers) == (20, 50)


def test_response_shows_only_the_facts_that_apply_to_it():
    _, facts = judged("getExecution", polled("processing"), polled("processing", "e-2"))

    assert facts["execution.status-closed"] == (2, 0, 0)
    assert "execution.completed-has-result" not in facts


@pytest.mark.parametrize(("base", "is_told"), [("", True), ("/staging", False)])
def test_capability_refusal_is_judged(base, is_told):
    """By the resource in its path; if the path is not recognised, no claim is made."""
    denied = {"error": "No", "code": "CAPABILITY_DENIED", "required": "workflow:read"}
    answer = Said(denied, path=f"{base}/api/workflows/portrait/run", status=403)

    _, facts = judged("runWorkflow", answer)

    assert (facts["capability.denied-names-required"][1] > 0) is is_told


@pytest.mark.parametrize(
    ("changes", "fact"),
    [({"role": "owner"}, "whoami.role-closed"), ({"approved": "yes"}, "whoami.approved-is-true")],
)
def test_wrong_success_is_reported_under_its_fact(changes, fact):
    verdicts, facts = judged("getWhoami", whoami(), whoami(), whoami(**changes), whoami(**changes))

    assert verdicts[:2] == [None, None]
    assert [each.fact for each in verdicts[2:]] == [fact, fact]
    assert verdicts[2].shown.startswith("expected ")
    assert facts[fact] == (4, 2, 0)


NESTED = b'{"user": {"id": "usr_1", "role": ' + b"[" * 300 + b"]" * 300 + b"}}"


def answered(content_encoding, body, *, extra=b""):
    answer = Response()
    answer.url = "http://127.0.0.1:8080/api/whoami"
    encoding = f"Content-Encoding: {content_encoding}\r\n".encode() if content_encoding else b""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n" + encoding + extra + b"\r\n\r\n"
    answer.fill(200, head, 0, body)
    return answer


@pytest.mark.parametrize(
    "answer",
    [
        answered("gzip", b'{"user": ' + json.dumps(ACCOUNT).encode() + b"}"),
        answered("gzip", gzip.compress(b"{}")[:-4]),
        answered("br", b"\x0b\x02\x80{}"),
        answered("deflate", b"{}"),
        answered("", b"<html>"),
        answered("", b""),
    ],
    ids=["no gzip", "cut gzip", "no br", "no deflate", "HTML", "nothing"],
)
def test_response_that_cannot_be_judged_is_wrong(answer):
    """Every time, also after correct responses; with an example, and without an exception."""
    one, tallies = verifier()
    right = [one.judge("getWhoami", whoami()) for _ in range(2)]
    verdicts = [one.judge("getWhoami", answer) for _ in range(3)]

    broken = [each for each in tallies.by_promise.values() if each.broken]
    assert right == [None, None]
    assert all(isinstance(each, ContractBroken) for each in verdicts)
    assert {each.broken for each in broken} == {3}
    assert all(each.example.startswith("getWhoami 200: expected ") for each in broken)


@pytest.mark.parametrize(
    "body", [NESTED, b'{"user": ' + json.dumps(ACCOUNT).encode() + b', "x": ' + NESTED + b"}"]
)
def test_response_beyond_our_own_bounds_may_be_right(body):
    one, _ = verifier()

    assert [one.judge("getWhoami", answered("", body)) for _ in range(3)] == [None] * 3


@pytest.mark.parametrize("digits", [19, 5_000])
@pytest.mark.parametrize("name", ["limit", "remaining", "reset"])
def test_rate_limit_header_with_too_many_digits_is_wrong(name, digits):
    answer = ran(99)
    answer.headers[f"x-ratelimit-{name}"] = "9" * digits

    (verdict,), facts = judged("runWorkflow", answer)

    assert verdict.fact == "rate.headers-are-integers"
    assert facts["rate.headers-are-integers"][1] == 1


@pytest.mark.parametrize("role", [KEY, KEY.upper(), "\x1b[2J\n::add-mask::x"])
def test_verdict_and_example_show_no_secret(role):
    """And nothing that a terminal or CI would obey."""
    one, tallies = verifier(redactor=Redactor([Secret(KEY, "key:full")]))

    verdict = one.judge("getWhoami", whoami(role=role))
    verdict = verdict and one.judge("getWhoami", whoami(role=role))

    (example,) = (each.example for each in tallies.by_promise.values() if each.broken)
    assert verdict is not None
    for text in (verdict.shown, example):
        assert KEY not in text.lower()
        assert all(line.isprintable() and not line.startswith("::") for line in text.splitlines())


def test_headers_are_judged_too():
    milliseconds = ran(99)
    milliseconds.headers.update(limited(99, reset_unix_s=1_764_063_060_000))

    verdicts, facts = judged("runWorkflow", ran(99), ran(98), milliseconds)

    assert verdicts[:2] == [None, None]
    assert verdicts[2].fact == "rate.headers-are-integers"
    assert facts["rate.headers-are-integers"] == (3, 1, 0)


def test_wrong_refusal_is_broken_and_not_a_failed_request():
    half = throttled(30)
    half.headers["retry-after"] = "15"

    verdicts, facts = judged("runWorkflow", throttled(), half)

    assert verdicts == [None, None]
    assert facts["rate.body-and-headers-agree"] == (2, 1, 0)


def test_assumption_that_does_not_hold_is_excused():
    answer = ran(99, path="/api/models/claude-sonnet/run")
    answer.content = answer.content.replace(b', "ms": 12', b"")

    (verdict,), facts = judged("runModel", answer)

    assert verdict is None
    assert facts["run.model-ms"] == (1, 0, 1)


@pytest.mark.parametrize(("expires", "is_excused"), [(date(2099, 1, 1), True), (date(2026, 1, 1), False)])
def test_waived_breach_is_excused_until_the_waiver_expires(expires, is_excused):
    waiver = Waiver(reason="known", expires=expires, fact="whoami.role-closed")

    (verdict,), facts = judged("getWhoami", whoami(role="owner"), waivers=(waiver,))

    assert (verdict is None) is is_excused
    assert facts["whoami.role-closed"] == ((1, 0, 1) if is_excused else (1, 1, 0))


def test_unknown_operation_is_not_judged():
    assert judged("something else", whoami(), Said(status=0)) == ([None, None], {})


def test_changing_members_do_not_pile_up():
    answers = [Said({"status": "ok", f"build-{number}": 1}, path="/api/health") for number in range(600)]

    verdicts, facts = judged("getHealth", *answers)

    assert set(verdicts) == {None}
    assert facts["ground.json-content-type"] == (600, 0, 0)
