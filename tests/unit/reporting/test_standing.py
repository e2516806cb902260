"""How facts stand after a run."""

from dataclasses import replace

import pytest
from run_records import broken, exchange, finding, healthy, start

from knouds_harness.reporting.headline import headline
from knouds_harness.reporting.standing import (
    Standing,
    fact_rows,
    standing_counts,
    untested_rows,
    waiver_rows,
)
from knouds_harness.runs.record import read_run
from knouds_harness.runs.verdicts import Outcome


@pytest.fixture
def record(tmp_path):
    return read_run(broken(tmp_path))


def standing_of(record, fact):
    return next(row.standing for row in fact_rows(record) if row.fact.id == fact)


@pytest.mark.parametrize(
    ("fact", "standing"),
    [
        ("run.cost-is-credits", Standing.BREACH),
        ("envelope.unknown-workflow-404-has-code", Standing.CONFLICT),
        ("health.shape", Standing.ASSUMPTION),
        ("envelope.plain-401-has-code", Standing.WAIVED),
        ("auth.missing-key-is-401", Standing.VERIFIED),
        ("whoami.user-object", Standing.VERIFIED),
        ("webhook.payload-shape", Standing.UNTESTED),
        ("capability.star-is-admitted", Standing.UNEXERCISED),
    ],
)
def test_each_standing(record, fact, standing):
    """Findings decide, then claims that held, then what the profile lacks."""
    assert standing_of(record, fact) is standing


def test_every_fact_has_one_standing(record):
    """The counts add up to the facts of the document."""
    assert sum(standing_counts(fact_rows(record)).values()) == len(record.setup.facts)


def test_one_breach_outweighs_any_number_of_verified_operations(tmp_path):
    """A fact that holds on four operations and not on the fifth is in breach."""
    with start(tmp_path) as writer:
        shown = exchange(1, "getWhoami", status=200, body={})
        for operation in ("listUsage", "listWorkflows", "getHealth"):
            writer.add_result(
                check="c",
                fact="ground.json-content-type",
                operation=operation,
                passed=True,
                exchange_id=None,
            )
        writer.add_finding(finding(shown, "ground.json-content-type"))
        writer.finish("broken", 1)

    row = next(row for row in fact_rows(read_run(writer.folder)) if row.fact.id == "ground.json-content-type")
    assert row.standing is Standing.BREACH
    assert [case.standing for case in row.cases] == [Standing.VERIFIED] * 3 + [Standing.BREACH]


def test_failed_claim_without_its_finding_is_no_verified_fact(tmp_path):
    """Where the findings are lost the counts still say that something was wrong."""
    folder = broken(tmp_path)
    (folder / "findings.jsonl").unlink()

    assert standing_of(read_run(folder), "run.cost-is-credits") is Standing.BREACH


def test_what_is_missing_is_listed_with_the_facts_that_wait_for_it(record):
    """One line for each thing to add to a profile."""
    waiting = untested_rows(record)

    assert list(waiting) == ["a webhook receiver"]
    assert "webhook.payload-shape" in waiting["a webhook receiver"]


def test_waivers_say_whether_they_are_used_or_expired(record):
    """An expired waiver says so, and so does one that nothing needs."""
    assert [row.state for row in waiver_rows(record)] == ["used", "expired"]


@pytest.mark.parametrize(
    ("outcome", "tone", "title"),
    [
        (Outcome.BROKEN, "bad", "Contract broken"),
        (Outcome.INTERRUPTED, "bad", "Interrupted: broken so far"),
        (Outcome.STOPPED, "bad", "Stopped early: broken so far"),
        (Outcome.FAILED, "bad", "The harness failed: broken so far"),
    ],
)
def test_headline_of_a_run_with_breaches(record, outcome, tone, title):
    """A breach is said whether or not the run came to its end."""
    verdict = headline(replace(record, outcome=outcome), fact_rows(record))

    assert (verdict.tone, verdict.title) == (tone, title)


@pytest.mark.parametrize(
    ("outcome", "tone", "title"),
    [
        (Outcome.KEPT, "good", "Contract kept"),
        (Outcome.INTERRUPTED, "warn", "Interrupted: no verdict"),
        (Outcome.FAILED, "warn", "The harness failed: no verdict"),
    ],
)
def test_headline_of_a_run_without_findings(tmp_path, outcome, tone, title):
    """Only a run that came to its end says that the contract was kept."""
    record = replace(read_run(healthy(tmp_path)), outcome=outcome)

    verdict = headline(record, fact_rows(record))

    assert (verdict.tone, verdict.title) == (tone, title)


def test_run_that_verified_nothing_is_not_green(tmp_path):
    """No findings among no tests is no proof."""
    record = replace(read_run(healthy(tmp_path)), results=())

    assert headline(record, fact_rows(record)).title == "Nothing was tested"
