"""Answers under load against the contract."""

from __future__ import annotations

from datetime import date

import pytest
from load_answers import Said, limited, polled, ran, throttled

from knouds_harness.contract.document import shipped_document
from knouds_harness.load.verifying import Verifier
from knouds_harness.target.waivers import Waiver

DOCUMENT = shipped_document()
ACCOUNT = {"id": "usr_1", "email": "ada@example.com", "role": "user", "tier": "pro", "approved": True}


def judged(name, *answers, **options):
    """What each is called, and how the facts fared: seen, broken, excused."""
    one = Verifier(DOCUMENT, **options)
    verdicts = [one.judge(name, answer) for answer in answers]
    tallies = one.take().by_promise
    return verdicts, {fact: (each.seen, each.broken, each.excused) for (fact, _), each in tallies.items()}


def whoami(**changes):
    """An answer of whoami."""
    return Said({"user": {**ACCOUNT, **changes}}, path="/api/whoami")


def test_right_answers_count_for_every_fact_they_show():
    """The same bytes again, and the same members with other values, as much as the first."""
    verdicts, facts = judged("getWhoami", whoami(), whoami(), whoami(id="usr_2"))

    assert verdicts == [None, None, None]
    assert facts["whoami.user-object"] == (3, 0, 0)
    assert facts["ground.json-content-type"] == (3, 0, 0)


def test_answer_shows_only_the_facts_that_apply_to_it():
    """A poll in flight says nothing of results."""
    _, facts = judged("getExecution", polled("processing"), polled("processing", "e-2"))

    assert facts["execution.status-closed"] == (2, 0, 0)
    assert "execution.completed-has-result" not in facts


@pytest.mark.parametrize(
    ("changes", "fact"),
    [({"role": "owner"}, "whoami.role-closed"), ({"approved": "yes"}, "whoami.approved-is-true")],
)
def test_wrong_success_is_named_by_its_fact(changes, fact):
    """Also after right ones of the same form, and each time."""
    verdicts, facts = judged("getWhoami", whoami(), whoami(), whoami(**changes), whoami(**changes))

    assert verdicts[:2] == [None, None]
    assert [each.code for each in verdicts[2:]] == [fact, fact]
    assert str(verdicts[2]).startswith(f"{fact}: expected ")
    assert facts[fact] == (4, 2, 0)


@pytest.mark.parametrize(
    ("answer", "fact"),
    [
        (Said(b"{", path="/api/whoami"), "ground.responses-are-json-objects"),
        (Said([ACCOUNT], path="/api/whoami"), "ground.responses-are-json-objects"),
        (
            Said({"user": ACCOUNT}, path="/api/whoami", headers={"content-type": "text/html"}),
            "ground.json-content-type",
        ),
        (Said({"user": ACCOUNT}, path="/api/whoami", status=203), "ground.status-is-documented"),
    ],
    ids=["cut short", "an array", "another type", "another status"],
)
def test_success_that_is_none_is_wrong(answer, fact):
    """Whatever a parser makes of it."""
    (verdict,), facts = judged("getWhoami", answer)

    assert verdict.code
    assert facts[fact][1] == 1


def test_headers_are_judged_too():
    """Of a run, on a limited tier."""
    milliseconds = ran(99)
    milliseconds.headers.update(limited(99, reset_unix_s=1_764_063_060_000))

    verdicts, facts = judged("runWorkflow", ran(99), ran(98), milliseconds)

    assert verdicts[:2] == [None, None]
    assert verdicts[2].code == "rate.headers-are-integers"
    assert facts["rate.headers-are-integers"] == (3, 1, 0)


def test_refusal_is_judged_and_stays_what_it_is():
    """A 429 is throttled, broken or not."""
    half = throttled(30)
    half.headers["retry-after"] = "15"

    verdicts, facts = judged("runWorkflow", throttled(), half)

    assert verdicts == [None, None]
    assert facts["rate.body-and-headers-agree"] == (2, 1, 0)


def test_assumption_that_does_not_hold_is_excused():
    """That model runs report ms is assumed."""
    answer = ran(99, path="/api/models/claude-sonnet/run")
    answer.content = answer.content.replace(b', "ms": 12', b"")

    (verdict,), facts = judged("runModel", answer)

    assert verdict is None
    assert facts["run.model-ms"] == (1, 0, 1)


@pytest.mark.parametrize(("expires", "is_excused"), [(date(2099, 1, 1), True), (date(2026, 1, 1), False)])
def test_waived_breach_is_excused_until_the_waiver_expires(expires, is_excused):
    """As in a check."""
    waiver = Waiver(reason="known", expires=expires, fact="whoami.role-closed")

    (verdict,), facts = judged("getWhoami", whoami(role="owner"), waivers=(waiver,))

    assert (verdict is None) is is_excused
    assert facts["whoami.role-closed"] == ((1, 0, 1) if is_excused else (1, 1, 0))


def test_what_is_no_operation_is_left_alone():
    """A Locust file may send whatever it likes."""
    assert judged("something else", whoami(), Said(status=0)) == ([None, None], {})


def test_many_forms_are_counted_and_forgotten():
    """Members that differ from answer to answer do not pile up."""
    answers = [Said({"status": "ok", f"build-{number}": 1}, path="/api/health") for number in range(600)]

    _, facts = judged("getHealth", *answers)

    assert facts["ground.json-content-type"] == (600, 0, 0)
