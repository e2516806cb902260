"""A user's own tests, in a folder of their own: their findings are in the record like ours."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from checking import knouds, only_record, run_program
from example_targets import write_profile

from knouds_harness.contract.operations import Source
from knouds_harness.errors import CreditsShort
from knouds_harness.exchange.har import read_har
from knouds_harness.judging.user_checks import USER
from knouds_harness.runs.findings import Finding, RunOutcome, Verdict
from knouds_harness.runs.record import RunRecord
from knouds_harness.testing import Request, open_client
from knouds_sandbox.serving import running_sandbox

CHECKOUT = Path(__file__).parents[2]

WAIVER = """
[[waivers]]
fact = "user.test_own.test_waived"
reason = "known"
expires = 2999-01-01
"""
ERROR_NOTE = "Your own code failed: tests that ended in an error, not in an assert about a response:"
TESTS = '''
import pytest


@pytest.fixture
def answer(tester, personas):
    return tester.send("getWhoami", personas[0])


@pytest.mark.parametrize("status", [200, 418])
def test_status(answer, status):
    """The answer has the status."""
    assert answer.status == status, f"it is {answer.status}"


def test_tier(answer, personas):
    """The tier is that of the profile."""
    assert answer.json()["user"]["tier"] == personas[0].tier


@pytest.mark.xfail
def test_accepted(answer):
    assert answer.status == 418


def test_left_out(answer):
    pytest.skip("not today")


def test_two(tester, personas):
    """Two answers are alike."""
    other = next(each for each in personas if each.user != personas[0].user)
    answers = [tester.send("getWhoami", persona) for persona in (personas[0], other)]
    assert answers[0].body == answers[1].body


def test_waived(answer):
    assert answer.status == 418


def test_error(answer):
    answer.json()["nothing"]


def test_page(tester, personas):
    """The sandbox declares text, which checks of the harness see."""
    tester.send("listUsage", personas[0])


def test_of_something_else():
    assert 1 + 1 == 2
'''


def run_pytest(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the installed pytest, in a folder without configuration."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    command = (sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments)
    return run_program(*command, cwd=folder, env=environ)


@pytest.fixture(scope="module")
def of_own_tests(tmp_path_factory):
    """The output of pytest on the tests above, and their record."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")  # no configuration of a parent folder
    (folder / "test_own.py").write_text(TESTS, encoding="utf-8")
    (folder / "targets").mkdir()
    (folder / "conftest.py").write_text('pytest_plugins = ["knouds_harness.testing"]\n', encoding="utf-8")
    with running_sandbox(faults=["usage-as-text"]) as sandbox:
        profile = write_profile(folder / "targets", sandbox)
        profile.write_text(profile.read_text(encoding="utf-8") + WAIVER, encoding="utf-8")
        process = run_pytest(folder, "-rA", "--target", profile.stem)
    return process, only_record(folder / "reports" / "runs")


def finding_of(record: RunRecord, test: str) -> Finding:
    (finding,) = [each for each in record.findings if each.fact == f"user.test_own.{test}"]
    return finding


def test_failed_assert_is_a_finding(of_own_tests):
    process, record = of_own_tests

    finding = finding_of(record, "test_status")
    assert finding.check == finding.fact == "user.test_own.test_status"
    assert (finding.family, finding.source, finding.verdict) == (USER, Source.USER, Verdict.BREACH)
    assert finding.expected == "that the answer has the status"
    assert finding.observed == "it is 200; assert 200 == 418"
    assert (finding.operation, finding.persona, finding.where) == ("getWhoami", "full", "418")
    assert finding.curl.startswith("curl ")
    assert record.exchange_by_id[finding.exchange_id or ""].status == 200
    assert len(finding.fingerprint) == 12
    assert record.outcome is RunOutcome.BROKEN
    assert process.returncode == 1
    assert "4 failed, 3 passed, 2 skipped, 1 xfailed" in process.stdout


def test_finding_of_a_test_has_all_its_requests(of_own_tests):
    _, record = of_own_tests

    finding = finding_of(record, "test_two")

    assert len(finding.steps) == 2
    assert finding.script.count("/api/whoami") == 2


def test_run_is_about_the_own_tests(of_own_tests):
    _, record = of_own_tests
    passed = {result.fact for result in record.results if result.passed and not result.failed}

    assert all(fact.startswith("user.test_own.") for fact in record.setup.selected or ("all",))
    assert "user.test_own.test_tier" in passed
    assert record.setup.facts["user.test_own.test_tier"].says == "The tier is that of the profile."
    assert {
        each.check.rpartition("_")[2]: (each.passed, each.failed, each.skipped) for each in record.tests
    } == {
        "status": (1, 1, 0),
        "tier": (1, 0, 0),
        "accepted": (0, 0, 1),
        "out": (0, 0, 1),
        "two": (0, 1, 0),
        "waived": (0, 0, 1),
        "error": (0, 1, 0),
        "page": (0, 1, 0),
    }
    assert all(each.duration_s > 0 for each in record.tests if not each.skipped)


def test_waived_finding_is_skipped(of_own_tests):
    """It is in the record with the waiver's reason, and fails neither the test nor the run."""
    process, record = of_own_tests

    finding = finding_of(record, "test_waived")
    assert finding.waived_by == "known, until 2999-01-01"
    assert "waived by the profile" in process.stdout


def test_error_is_not_a_finding(of_own_tests):
    """Only a failed assert is: other errors may be the test's own, so the record just notes them."""
    _, record = of_own_tests

    assert record.note == f"{ERROR_NOTE}\n  test_own.py::test_error"


def test_finding_of_our_checks_fails_the_test(of_own_tests):
    process, record = of_own_tests

    assert [each.fact for each in record.findings if each.family != USER] == ["ground.json-content-type"]
    assert "FAILED test_own.py::test_page" in process.stdout


def test_suite_runs_in_a_checkout_without_development_plugins():
    process = run_pytest(
        CHECKOUT,
        *("-p", "no:socket", "tests/conformance/test_usage.py", "--target", "sandbox", "--collect-only"),
    )

    assert process.returncode == 0, process.stderr


CHECKS = '''
from knouds_harness.testing import Claim, check, fact

KEPT = fact("kept", "Every answer has a status.")
LOST = fact("lost", "Nothing can be said.")


@check(KEPT)
def has_status(exchange):
    """There is a status."""
    yield Claim(fact=KEPT.id, holds=exchange.status is not None, expected="one", observed="none")


@check(LOST)
def fails(exchange):
    """It ends in an error."""
    yield Claim(fact=LOST.id, holds=exchange.nothing, expected="", observed="")
'''


def test_own_checks_count_and_their_errors_fail_the_run(tmp_path):
    """A fact that holds is verified, in JUnit too; an error is shown with its line."""
    (tmp_path / "own.py").write_text(CHECKS, encoding="utf-8")

    options = ("--checks", "own.py", "--family", "isolation", "--quick", "--min-verified", "100%")
    process = knouds("check", *options, cwd=tmp_path)

    record = only_record(tmp_path / "reports" / "runs")
    verified = {result.fact for result in record.results if result.passed and not result.failed}
    assert verified & {"user.kept", "user.lost"} == {"user.kept"}
    assert {"user.kept", "user.lost"} <= set(record.setup.selected or ())
    assert record.outcome is RunOutcome.FAILED
    assert "  user.fails: " in record.note
    assert "own.py:17: AttributeError: " in record.note
    assert 'classname="user.kept"' in (record.folder / "junit.xml").read_text(encoding="utf-8")
    assert process.returncode == 1


def test_client_in_a_script_keeps_to_the_budget(tmp_path):
    """A run that may cost more than is left is not sent, and evidence holds no key."""
    run = Request(method="POST", path="/api/models/claude-sonnet/run", body=b"{}", persona="full")
    whoami = Request(method="GET", path="/api/whoami", persona="full")

    with open_client(credits=1, evidence=tmp_path / "evidence.har") as client:
        assert client.send(whoami).status == 200
        with pytest.raises(CreditsShort):
            client.send(run)
        key = client.persona("full").secret.reveal()

    (kept,) = read_har(tmp_path / "evidence.har")
    assert kept.request.path == "/api/whoami"
    assert key not in (tmp_path / "evidence.har").read_text(encoding="utf-8")
