"""The status of facts after a run, and the headline."""

from dataclasses import replace
from datetime import date

import pytest
from run_records import broken, exchange, finding, healthy

from knouds_harness.reporting.check.fact_status import (
    FactStatus,
    fact_rows,
    finding_groups,
    status_counts,
    waiver_rows,
)
from knouds_harness.reporting.check.headline import headline
from knouds_harness.runs.findings import Compared, RunOutcome, Verdict
from knouds_harness.runs.record import read_run
from knouds_harness.runs.run_file import RunCheck, UntestedFact


@pytest.fixture(scope="module")
def record(record_of):
    return record_of(broken)


def status_of(record, fact):
    return next(row.status for row in fact_rows(record) if row.fact.id == fact)


@pytest.mark.parametrize(
    ("fact", "status"),
    [
        ("run.cost-is-credits", FactStatus.BREACH),
        ("envelope.unknown-workflow-404-has-code", FactStatus.CONFLICT),
        ("health.shape", FactStatus.ASSUMPTION),
        ("envelope.plain-401-has-code", FactStatus.WAIVED),
        ("auth.missing-key-is-401", FactStatus.VERIFIED),
        ("whoami.user-object", FactStatus.VERIFIED),
        ("webhook.payload-shape", FactStatus.UNTESTED),
        ("capability.star-is-admitted", FactStatus.UNTESTED),
    ],
)
def test_findings_decide_before_claims_and_the_profile(record, fact, status):
    """Then come claims that held, then what the profile lacks."""
    assert status_of(record, fact) is status


def test_one_breach_outweighs_any_number_of_verified_operations(record):
    row = next(row for row in fact_rows(record) if row.fact.id == "envelope.unknown-workflow-404-has-code")

    assert row.status is FactStatus.CONFLICT
    assert [case.status for case in row.cases] == [FactStatus.VERIFIED] * 3 + [FactStatus.CONFLICT]


def test_fact_about_which_two_answers_contradict_each_other_comes_first(record):
    """One cause may break several facts: the usage row beside the cost tells it best."""
    names = list(record.setup.facts)[:2]
    cost = next(each for each in record.findings if each.where == "/cost")
    run, row = (Compared(exchange_id="x00001", where=where) for where in (cost.where, "/rows/0"))

    def order(compared):
        findings = (
            replace(cost, fact=names[0], compared=(run,)),
            replace(cost, fact=names[1], compared=(compared,)),
        )
        return [each.name for each in finding_groups(findings, record.setup.facts)]

    assert order(run) == names
    assert order(row) == names[::-1]


def test_fact_with_a_failed_claim_is_a_breach_without_its_finding(tmp_path):
    folder = broken(tmp_path)
    (folder / "findings.jsonl").unlink()

    assert status_of(read_run(folder), "run.cost-is-credits") is FactStatus.BREACH


def alone_about(record, fact):
    """Return the record as one of a run about this fact alone, without findings about others."""
    findings = tuple(each for each in record.findings if each.fact == fact)
    setup = replace(record.setup, selected=(fact,))
    return replace(record, outcome=RunOutcome.KEPT, findings=findings, setup=setup)


def test_waivers_say_whether_they_are_used_or_expired(record):
    """That of a fact that was not selected is not called unused."""
    alone = alone_about(record, "run.cost-is-credits")

    assert [row.state for row in waiver_rows(record)] == ["used", "expired"]
    assert [row.state for row in waiver_rows(alone)] == ["not selected", "expired"]


def test_expired_waiver_counts_the_findings_that_it_would_accept(record):
    target = record.setup.target
    expired = replace(target.waivers[0], expires=date(2026, 10, 1))
    findings = tuple(replace(each, waived_by=None) for each in record.findings)
    setup = replace(record.setup, target=replace(target, waivers=(expired,)))

    [row] = waiver_rows(replace(record, findings=findings, setup=setup))

    assert (row.state, {each.fact for each in row.findings}) == ("expired", {expired.fact})


def verdict_on(record):
    return headline(record, fact_rows(record))


def test_run_about_a_waived_fact_tested_something(record):
    waived = alone_about(record, "envelope.plain-401-has-code")

    assert verdict_on(waived).title == "No breach found"


@pytest.mark.parametrize(
    ("write", "outcome", "tone", "title"),
    [
        (broken, RunOutcome.BROKEN, "bad", "Contract broken"),
        (broken, RunOutcome.INTERRUPTED, "bad", "Interrupted, broken so far"),
        (broken, RunOutcome.STOPPED, "bad", "Stopped early, broken so far"),
        (broken, RunOutcome.FAILED, "bad", "The harness failed, broken so far"),
        (healthy, RunOutcome.KEPT, "warn", "No breach found"),
        (healthy, RunOutcome.SHORT, "bad", "Too little verified"),
        (healthy, RunOutcome.UNTESTED, "bad", "Nothing was tested"),
        (healthy, RunOutcome.INTERRUPTED, "warn", "Interrupted, no verdict"),
        (healthy, RunOutcome.FAILED, "warn", "The harness failed, no verdict"),
    ],
)
def test_headline_says_how_the_run_ended(record_of, write, outcome, tone, title):
    verdict = verdict_on(replace(record_of(write), outcome=outcome))

    assert (verdict.tone, verdict.title) == (tone, title)


def test_run_that_verified_nothing_is_not_green(record_of):
    assert verdict_on(replace(record_of(healthy), results=())).title == "Nothing was tested"


def about(record, facts):
    return replace(record, setup=replace(record.setup, selected=tuple(facts)))


@pytest.fixture(scope="module")
def sound(record_of):
    record = record_of(healthy)
    verified = [row.fact.id for row in fact_rows(record) if row.status is FactStatus.VERIFIED]
    return about(record, verified)


def test_run_that_verified_all_it_could_kept_the_contract(sound):
    verdict = verdict_on(sound)

    assert (verdict.tone, verdict.title) == ("good", "Contract kept")
    count = len(sound.setup.selected)
    assert verdict.detail == f"{count} of {count} selected facts verified, 0 not tested."


def missing(fact, cause):
    return UntestedFact(check="c.d", fact=fact, operation=None, missing="something", cause=cause)


@pytest.mark.parametrize(
    ("cause", "title"),
    [("profile", "Contract kept"), ("answers", "No breach found"), ("contradiction", "No breach found")],
)
def test_contract_is_kept_if_only_the_profile_lacks_something(sound, cause, title):
    """What is missing because of the target's responses could have been verified."""
    asked = about(sound, (*sound.setup.selected, "webhook.payload-shape"))
    record = replace(asked, untested=(missing("webhook.payload-shape", cause),))

    assert verdict_on(record).title == title


def test_contract_is_not_kept_if_a_fact_was_never_claimed(sound):
    """As the end of an execution that never ends: its tests pass without a claim."""
    seen = {each.fact for each in sound.results}
    fact = next(fact.id for fact in sound.setup.facts.values() if fact.id not in seen and not fact.conflict)
    check = RunCheck(id="executions.end", family="executions", sentence="It ends.", facts=(fact,))
    record = about(sound, (*sound.setup.selected, fact))
    record = replace(record, setup=replace(record.setup, checks={check.id: check}), untested=())

    assert verdict_on(record).title == "No breach found"


def test_contract_is_never_kept_with_a_quarter_of_the_facts(sound):
    facts = tuple(sound.setup.facts)
    few = tuple(each for each in sound.results if each.fact in facts[: len(facts) // 4])
    lacking = tuple(missing(fact, "profile") for fact in facts)
    record = replace(about(sound, facts), results=few, untested=lacking)

    assert verdict_on(record).title == "No breach found"


def test_headline_names_the_keys_whose_executions_never_end(sound):
    verdict = verdict_on(replace(sound, endless=("full",)))

    assert verdict.title == "No execution ended"
    assert "No execution of full ended by its deadline." in verdict.detail


def contradiction(number=1):
    shown = exchange(number, "getWhoami", status=401, body={})
    return replace(
        finding(shown, "auth.key-in-x-api-key"),
        verdict=Verdict.CONTRADICTION,
        expected=f"keys.pro-{number} (line 6): the key is active",
        observed="it is refused",
    )


def test_headline_says_that_the_target_contradicts_its_profile(sound):
    """The findings say where; facts keep the status that claims give them."""
    record = replace(sound, outcome=RunOutcome.BROKEN, findings=(contradiction(1), contradiction(2)))

    verdict = verdict_on(record)

    assert (verdict.tone, verdict.title) == ("bad", "The target contradicts its profile")
    assert "keys.pro-1" not in verdict.detail
    assert verdict.detail.endswith("2 contradictions of the profile.")
    assert status_counts(fact_rows(record))[FactStatus.BREACH] == 0


def test_breach_outweighs_contradictions(record):
    verdict = verdict_on(replace(record, findings=(*record.findings, contradiction())))

    assert verdict.title == "Contract broken"
    assert "1 contradiction of the profile" in verdict.detail
