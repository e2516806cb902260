"""The cost of a check, what ``--plan-only`` says of it, and charges that a server hides or shows late."""

import json
import re
import sqlite3
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from checking import check, knouds, sampled
from click.testing import CliRunner
from example_targets import PORTRAIT, PRO, SmallProfile, write_profile
from raw_server import proxying

from knouds_harness.commands.cli import cli
from knouds_harness.errors import ExitCode
from knouds_harness.reporting.check.fact_status import FactStatus, fact_rows
from knouds_harness.runs.record import read_run
from knouds_harness.runs.unsettled import UNSETTLED_FILE, unsettled_format, unsettled_in
from knouds_harness.suite.discovery.run_plan import provable_facts
from knouds_harness.targets.profile import load_target
from knouds_sandbox.serving import running_sandbox

LIMITS = (
    "credits = 1_000\nfill_rate_windows = false\nconcurrency = 4\ntimeout_s = 10\n"
    'allow = ["read", "write", "run", "cancel"]'
)
FAULTS = (
    *(f"auth-{which}-accepted" for which in ("missing-key", "empty-key", "malformed-key", "unknown-key")),
    *("auth-revoked-accepted", "auth-legacy-accepted", "auth-unapproved-accepted"),
    *("auth-bearer-accepted", "auth-query-key-accepted"),
    "capability-wildcard-crosses-resources",
    *("run-inputs-missing-accepted", "run-inputs-array-accepted", "run-malformed-body-accepted"),
    *("run-foreign-workflow-accepted", "run-slug-case-ignored", "model-tier-ignored"),
    *("run-without-credits-accepted", "run-exhausted-grant-accepted"),
)
LIMITS_OF_ONE_KEY = [
    ('credits = 50\nallow = ["read"]', 0),
    ('credits = 50\nallow = ["read", "write"]', 0),
    ('credits = 50\nfill_rate_windows = false\nallow = ["read", "write", "run", "cancel"]', 192),
]


def charged_in(database: Path) -> int:
    """Sum the charges of all runs in the database of an ended sandbox, seeded ones included."""
    with closing(sqlite3.connect(database)) as state:
        return int(state.execute("SELECT sum(credits) FROM runs WHERE NOT is_granted").fetchone()[0])


@pytest.mark.slow
@pytest.mark.parametrize("most_credits", sampled([30, 300], every=2))
def test_server_without_any_refusal_is_not_overspent(tmp_path, most_credits):
    """By a full check, or with few credits by a quick one of what may cost some."""
    families = ("authentication", "capabilities", "executions", "runs", "validation")
    options = ("--quick", *(f"--family={each}" for each in families)) if most_credits < 100 else ()
    unused, used = tmp_path / "unused.db", tmp_path / "used.db"
    with running_sandbox(database=unused):
        pass
    with running_sandbox(faults=FAULTS, database=used) as sandbox:
        profile = str(write_profile(tmp_path, sandbox, limits=LIMITS))
        limit = ("--credits", str(most_credits))
        record = check(tmp_path, "--target", profile, *limit, *options)

    assert charged_in(used) - charged_in(unused) <= record.counts.cost_credits <= most_credits


@pytest.fixture
def profile(tmp_path, listener):
    with running_sandbox() as sandbox:
        path = write_profile(
            tmp_path,
            sandbox,
            base_url=f"http://127.0.0.1:{listener.getsockname()[1]}",
            limits='allow = ["read", "run"]\ncredits = 50',
        )
    return str(path)


@pytest.mark.parametrize("command", ["check", "record"])
def test_plan_is_printed_and_nothing_is_sent(command, profile, listener, tmp_path):
    """What is sent how often, with which keys, to which resources, and the cost."""
    more = ["--folder", str(tmp_path / "recordings")] if command == "record" else []

    ended = CliRunner().invoke(cli, [command, "--target", profile, "--plan-only", *more])

    assert ended.exit_code == ExitCode.KEPT, ended.output
    assert re.search(r"getWhoami \d", ended.output)
    assert "read (getWhoami" in ended.output
    assert "write (" not in ended.output
    assert "keys    those that a test needs, of full, none" in ended.output
    assert "gpt-image-2" in ended.output
    assert "costs   likely " in ended.output
    assert "costs   at most 50 credits" in ended.output
    assert "asks the server what" in ended.output
    assert not (tmp_path / "recordings").exists()
    with pytest.raises(BlockingIOError):
        listener.accept()


def test_night_that_could_not_be_noted_sends_nothing(profile, listener, tmp_path):
    nights = tmp_path / "not-a-folder" / "nights.json"
    nights.parent.write_text("")

    ended = CliRunner().invoke(cli, ["check", "--target", profile, "--rotate", str(nights)])

    assert ended.exit_code == ExitCode.USAGE, ended.output
    assert str(nights) in ended.stderr
    with pytest.raises(BlockingIOError):
        listener.accept()


def test_plan_follows_the_selection(profile):
    options = ["check", "--target", profile, "--plan-only", "--family", "usage", "--credits", "7"]

    ended = CliRunner().invoke(cli, options)

    assert "usage " in ended.output
    assert "authentication" not in ended.output
    assert "costs   at most 7 credits" in ended.output


def diagnosed(profile: str, *, ends: ExitCode = ExitCode.KEPT) -> dict[str, Any]:
    """Return what ``doctor`` says about a profile."""
    ended = CliRunner().invoke(cli, ["doctor", "--target", profile, "--format", "json"])
    assert ended.exit_code == ends, ended.output
    return dict(json.loads(ended.output))


def test_doctor_counts_on_no_key_that_is_refused(tmp_path):
    with running_sandbox() as sandbox:
        small = SmallProfile(folder=tmp_path, sandbox=sandbox, limits="")
        alone = diagnosed(small.key("pro", PRO, user="pia", tier="pro").written())
        small.key("revoked", ["workflow:read", "model:run"], user="ada", tier="enterprise")
        refused = diagnosed(small.written(), ends=ExitCode.BREACH)

    assert len(refused["contradictions"]) == 1
    assert refused["testable"] == alone["testable"]


@pytest.mark.parametrize(("limits", "most_credits"), sampled(LIMITS_OF_ONE_KEY, every=3))
def test_doctor_predicts_the_check(tmp_path, limits, most_credits):
    """All facts that it counts are verified, or untested for lack of credits, and there is a verdict."""
    with running_sandbox() as sandbox:
        small = SmallProfile(folder=tmp_path, sandbox=sandbox, limits=limits)
        profile = small.key("pro", PRO, user="pia", tier="pro").resource(PORTRAIT).written()
        foretold = diagnosed(profile)
        plan = CliRunner().invoke(cli, ["check", "--target", profile, "--plan-only"]).output
        record = check(tmp_path, "--quick", "--target", profile)

    verified = {row.fact.id for row in fact_rows(record) if row.status is FactStatus.VERIFIED}
    provable = provable_facts(load_target(profile))
    unpaid = {each.fact for each in record.untested if each.missing.startswith("more credits than")}
    assert record.exit_code == ExitCode.KEPT
    assert provable - verified <= unpaid
    assert sum(foretold["testable"].values()) == len(provable)
    assert foretold["most_credits"] == most_credits
    assert (" stay untested, as limits.credits" in plan) == (foretold["unpaid"] > 0)
    assert f" {foretold['unpaid']} stay" in plan or not foretold["unpaid"]
    assert record.counts.cost_credits <= record.setup.target.limits.credits


def test_nights_on_few_credits_verify_together_what_none_can_pay_for(tmp_path):
    """What tests share is divided, and no test that was to be paid for finds no credits."""
    options = ("--quick", "--family=executions", "--family=webhooks", "--credits=50")
    rotate = f"--rotate={tmp_path / 'nights.json'}"
    nights = [check(tmp_path / str(number), *options, rotate) for number in range(2)]

    shown = [{row.fact.id for row in fact_rows(each) if row.status is FactStatus.VERIFIED} for each in nights]
    asked = set(nights[0].setup.selected or ())
    together = asked.intersection(*[set().union(*shown)])
    assert [each.exit_code for each in nights] == [ExitCode.KEPT] * 2
    assert all(0 < each.counts.cost_credits <= 50 for each in nights)
    assert len(asked.intersection(shown[0])) < len(together) == len(asked), asked - together
    assert f"With earlier nights {len(asked)} of {len(asked)} facts verified" in nights[-1].note


def test_night_that_ends_early_notes_what_it_paid(tmp_path):
    """And not what it was to pay, so that the next one goes on."""
    options = ("--quick", "--family=executions", "--credits=50", "--rotate=../nights.json")
    nights = tmp_path / "nights.json"

    check(tmp_path / "early", *options, "--fault=execution-cancel-refused", "--fail-fast")
    paid = json.loads(nights.read_bytes())["paid"]
    nights.unlink()
    check(tmp_path / "whole", *options)

    assert paid.keys() < json.loads(nights.read_bytes())["paid"].keys()


# -- charges that usage shows late

SETTLE_S = 3600.0
OVERCHARGED = 1_000


class LateUsage:
    """An account whose pages of usage are altered until it is settled, and commands on it."""

    def __init__(self, folder, alter, alter_later=lambda page: page):
        self.folder, self.alter, self.later = folder, alter, alter_later

    def answer(self, relayed, asked):
        answered = asked()
        if relayed.target.startswith("/api/usage?"):
            content = json.dumps(self.alter(json.loads(answered.content)))
            answered = replace(answered, content=content.encode())
        return answered.in_bytes()

    def run(self, *words):
        return knouds(*words, "--target", self.profile, cwd=self.folder)

    def cleanup_when_settled(self, run):
        """Run ``cleanup`` as if the run had ended long ago."""
        self.alter = self.later
        noted = unsettled_in(run)
        assert noted
        long_ago = replace(noted, settles_at=noted.settles_at - timedelta(seconds=2 * SETTLE_S)).signed()
        (run / UNSETTLED_FILE).write_bytes(unsettled_format().dump_json(long_ago))
        return self.run("cleanup", run)

    @contextmanager
    def of(self, sandbox, key, user):
        limits = f'credits = 100\nsettle_s = {SETTLE_S}\nallow = ["read", "run"]'
        small = SmallProfile(folder=self.folder, sandbox=sandbox, limits=limits)
        small.key(key, PRO, user=user, tier="pro").resource(PORTRAIT.replace("pia", user))
        with proxying(sandbox.base_url, self.answer) as server:
            self.profile = small.written(base_url=server.base_url)
            yield


def overcharged(page):
    rows = [each | {"creditsCost": each["creditsCost"] and OVERCHARGED} for each in page["rows"]]
    return page | {"rows": rows}


@pytest.mark.slow
def test_overcharges_that_show_late_are_told(tmp_path, sandbox):
    """The report says that usage is not settled, and ``cleanup`` what came."""
    late = LateUsage(tmp_path, lambda page: page, overcharged)
    with late.of(sandbox, "pro", "pia"):
        checked = late.run("check", "--fact", "run.cost-is-credits")
        (folder,) = (tmp_path / "reports/runs").iterdir()
        counted = read_run(folder).counts.cost_credits
        cleaned = late.cleanup_when_settled(folder)

    runs = counted / 8
    shown = f"charged {runs * OVERCHARGED:,.0f} credits (usage), not {counted:g} as counted when it ended"
    assert "Usage is not settled yet" in checked.stdout
    assert "at most" not in checked.stdout
    assert f"{shown}; the limit was 100" in cleaned.stdout
    assert cleaned.returncode == ExitCode.GUARD
    assert not (folder / UNSETTLED_FILE).exists()
    assert read_run(folder).counts.cost_credits == runs * OVERCHARGED


@pytest.mark.slow
def test_load_whose_charges_show_late_says_so(tmp_path, sandbox):
    """Usage shows none at the end: the report says that it is not settled, ``cleanup`` what came then."""
    late = LateUsage(tmp_path, lambda page: page | {"rows": [], "total": 0})
    with late.of(sandbox, "otto", "otto"):
        loaded = late.run("load", "sync_runs", "--rate", "5", "--users", "2", "--duration", "1s", "--yes")
        (folder,) = (tmp_path / "reports/runs").iterdir()
        early = late.run("cleanup", folder)
        cleaned = late.cleanup_when_settled(folder)

    record = read_run(folder)
    assert record.load is not None
    cost_credits = record.load.cost_credits
    assert loaded.stdout.count("Usage is not settled yet") == 1
    assert f"at most {cost_credits:,.10g} credits, usage shows 0 credits so far" in loaded.stdout
    assert "usage is not settled yet" in early.stdout
    assert f"charged {cost_credits:,.10g} credits (usage)" in cleaned.stdout
    assert cleaned.returncode == ExitCode.KEPT
    assert "cleanup" not in record.note
