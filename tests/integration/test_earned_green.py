"""Green is earned: a run that could not test something says so, in every output."""

import json
from functools import partial
from xml.etree import ElementTree as ET

import checking
import pytest
from example_targets import CLIP, IMAGE, PORTRAIT, PRO, SmallProfile
from hostile_traffic import whole
from raw_server import replacing

from knouds_harness.errors import ExitCode
from knouds_sandbox.providers import Latency
from knouds_sandbox.serving import running_sandbox

WRONG_KEY = "knouds_live_of-nobody-0123456789abcdef"


class Never(Latency):
    """Providers that never end an asynchronous job."""

    def job_s(self, *_, is_async):
        return 3600.0 if is_async else 0.0


@pytest.fixture
def knouds(tmp_path):
    return partial(checking.knouds, cwd=tmp_path)


@pytest.fixture
def folder(tmp_path):
    def folder():
        (found,) = (tmp_path / "reports/runs").iterdir()
        return found

    return folder


@pytest.fixture
def profile_of(tmp_path, sandbox):
    def profile_of(key=None):
        small = SmallProfile(folder=tmp_path, sandbox=sandbox, limits='allow = ["read"]')
        small.key("pro", ["workflow:read", "execution:read"], user="pia", tier="pro", secret=key)
        return small.resource(PORTRAIT).written()

    return profile_of


def summary_of(folder):
    return json.loads((folder / "summary.json").read_text(encoding="utf-8"))


def test_wrong_key_is_red_and_the_first_line_says_why(knouds, profile_of, folder):
    """At once, at the end, and in every report; what needs the key is untested for that reason."""
    process = knouds("check", "--family", "authentication", "--target", profile_of(WRONG_KEY))

    says = "keys.pro: the key is active, but the target refuses it (401 UNAUTHORIZED): the key is wrong"
    lines = process.stdout.splitlines()
    assert process.returncode == ExitCode.BREACH
    assert lines[0].startswith("checking small (")
    assert lines[1].startswith(f"  target contradicts the profile: {says}")
    assert any(line.startswith("The target contradicts its profile") for line in lines)
    where = says.partition(",")[0]
    assert where in (folder() / "report.md").read_text(encoding="utf-8")
    assert where in (folder() / "report.html").read_text(encoding="utf-8")
    summary = summary_of(folder())
    assert summary["verdict"].startswith("The target contradicts its profile")
    assert [each["verdict"] for each in summary["findings"] if each["fails_run"]] == ["contradiction"]
    assert any("keys.pro as the profile has it" in missing for missing in summary["untested"])
    suites = ET.parse(folder() / "junit.xml").getroot()  # noqa: S314 - our own
    assert [suite.get("failures") for suite in suites if suite.get("name") == "profile"] == ["1"]


def test_selection_that_cannot_be_tested_is_not_a_success(knouds, profile_of, folder):
    process = knouds("check", "--family", "webhooks", "--target", profile_of())

    assert process.returncode == ExitCode.USAGE
    assert "Nothing was tested  All 17 tests were skipped." in process.stdout
    assert "0 passed, 17 skipped" in process.stdout
    assert '"run" in limits.allow' in process.stdout
    assert summary_of(folder())["outcome"] == "untested"


@pytest.fixture
def underpriced(tmp_path):
    """A profile whose only workflow costs eight times what it says: its credits pay for one run."""
    with running_sandbox() as sandbox:  # of its own: in a window that others have filled, a check waits

        def underpriced(more=""):
            limits = 'credits = 8\nfill_rate_windows = false\nallow = ["read", "run"]'
            small = SmallProfile(folder=tmp_path, sandbox=sandbox, limits=limits)
            small.key("pro", PRO, user="pia", tier="pro")
            return small.resource(PORTRAIT.replace("= 8", "= 1") + more).written()

        yield underpriced


def test_check_that_runs_out_of_credits_is_cut_short(knouds, underpriced, folder):
    """The headline says so first, the run is red, and no baseline is made of it unasked."""
    check = ("check", "--quick", "--family", "usage", "--target", underpriced())

    plan = knouds(*check, "--plan-only")
    process = knouds(*check)
    kept = [knouds("compare", folder(), "--keep", "night", *more) for more in ([], ["--allow-short"])]

    assert "tests   1 stay untested, as limits.credits does not pay" in plan.stdout  # and no more
    assert process.returncode == ExitCode.BREACH
    assert "\nCut short  " in process.stdout
    assert "found no credits left of the 8 that limits.credits allows" in process.stdout
    assert summary_of(folder())["verdict"].startswith("Cut short: ")
    assert [each.returncode for each in kept] == [ExitCode.USAGE, ExitCode.KEPT]
    assert "the check was cut short, so it cannot be a baseline" in kept[0].stderr


@pytest.mark.parametrize(
    ("options", "more"), [(["--allow-short"], ""), ([], '[expect]\nfacts = ["usage.row-shape"]\n')]
)
def test_cut_that_the_user_accepts_is_told_and_no_failure(knouds, underpriced, options, more):
    process = knouds("check", "--quick", "--family", "usage", "--target", underpriced(more), *options)

    assert process.returncode == ExitCode.KEPT
    assert "\nCut short  " in process.stdout


def test_family_that_was_asked_for_and_not_tested_is_cut_short(knouds, profile_of):
    """Although another family was."""
    asked = ("--quick", "--family", "webhooks", "--family", "usage", "--target", profile_of())

    process, accepted = knouds("check", *asked), knouds("check", *asked, "--allow-short")

    assert (process.returncode, accepted.returncode) == (ExitCode.BREACH, ExitCode.KEPT)
    assert "\nCut short  " in process.stdout
    assert "Cut short: not one test passed of webhooks." in process.stdout


def test_run_that_verifies_too_little_is_red(knouds, profile_of, folder):
    least = ("--family", "authentication", "--min-verified", "100%")

    process = knouds("check", *least, "--target", profile_of())

    assert process.returncode == ExitCode.BREACH
    assert "--min-verified 100% asks for" in process.stdout
    assert summary_of(folder())["outcome"] == "short"


@pytest.fixture
def endless(tmp_path):
    """A profile of a server whose executions never end; its account may do everything."""
    with running_sandbox(latency=Never()) as sandbox:
        small = SmallProfile(folder=tmp_path, sandbox=sandbox)
        small.key("full", (*PRO, "model:run"), user="ada", tier="enterprise")
        yield small.resource(IMAGE + "deadline_s = 0.5\n")


def selecting(facts):
    return [option for fact in facts for option in ("--fact", fact)]


def test_executions_that_never_end_prove_nothing(endless, knouds, folder):
    facts = ("execution.ends-in-time", "execution.edges", "execution.poll-shape", "whoami.user-object")

    process = knouds("check", "--target", endless.written(), *selecting(facts))

    summary = summary_of(folder())
    assert process.returncode == ExitCode.BREACH
    assert "\nNo execution" in process.stdout
    assert "No execution of full ended by its deadline." in process.stdout
    assert summary["endless"] == ["full"]
    assert summary["outcome"] == "short"
    assert summary["counts"]["facts"]["verified"] == 1
    assert any("an execution of full that ends by its deadline" in each for each in summary["untested"])


def refusing_runs(status, code):
    """Turn each success of a run into a refusal."""
    head = f"HTTP/1.1 {status} Refused\r\nContent-Type: application/json\r\n".encode()
    refusal = whole(lambda _: json.dumps({"error": "Not today.", "code": code}).encode(), head=head)
    return lambda path, sent: refusal if sent < 300 and path.partition("?")[0].endswith("/run") else None


REFUSALS = {"INSUFFICIENT_CREDITS": 402, "INVALID_INPUTS": 400, "NOT_FOUND": 404, "CONFLICT": 409}


@pytest.mark.parametrize("code", checking.sampled(list(REFUSALS), every=4))
def test_refused_runs_never_pass(sandbox, knouds, folder, tmp_path, code):
    """With any refusal, no test of runs passes, the run is red, and the reason is shown."""
    with replacing(sandbox.base_url, refusing_runs(REFUSALS[code], code)) as proxy:
        small = SmallProfile(folder=tmp_path, sandbox=sandbox).key("pro", PRO, user="pia", tier="pro")
        small.key("full", (*PRO, "model:run"), user="ada", tier="enterprise")
        profile = small.resource(PORTRAIT).resource(CLIP).resource(IMAGE).written(base_url=proxy.base_url)
        facts = ("run.success-shape", "run.charge-equals-usage", "run.charged-per-generator")
        process = knouds("check", "--quick", "--target", profile, *selecting([*facts, "whoami.user-object"]))

    told = f"was answered {REFUSALS[code]} {code}"
    counts = summary_of(folder())["counts"]["facts"]
    assert process.returncode == ExitCode.BREACH
    assert "No run of ada succeeded: run" in process.stdout
    assert f"a run that succeeds: runWorkflow {told}" in process.stdout
    assert "  runs                0 passed" in process.stdout
    assert (counts["verified"], counts["untested"]) == (1, 3)


def test_nothing_is_green_without_a_working_key(sandbox, knouds, tmp_path):
    """In check, doctor and record; unless only tests without a key are selected."""
    small = SmallProfile(folder=tmp_path, sandbox=sandbox, limits="")
    key = {"user": "ada", "tier": "enterprise", "more": 'state = "revoked"\n'}
    profile = small.key("revoked", ["workflow:read"], **key).written()
    commands = {
        "check": ("--family", "schemas", "--quick"),
        "doctor": (),
        "record": ("--outcome", "get*", "--folder", "kept"),
    }
    ended = {each: knouds(each, "--target", profile, *more) for each, more in commands.items()}
    public = knouds("check", "--fact", "health.is-public-json", "--target", profile)
    recorded = knouds("record", "--outcome", "getHealth-*", "--folder", "kept-too", "--target", profile)

    assert {each: process.returncode for each, process in ended.items()} == dict.fromkeys(
        commands, ExitCode.USAGE
    )
    assert all("No key" in process.stdout and "works" in process.stdout for process in ended.values())
    assert public.returncode == recorded.returncode == ExitCode.KEPT
