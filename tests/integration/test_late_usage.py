"""Charges that usage shows late."""

import json
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta

import pytest
from checking import knouds
from example_targets import PORTRAIT, PRO, SmallProfile
from raw_server import proxying

from knouds_harness.errors import ExitCode
from knouds_harness.runs.record import read_run
from knouds_harness.runs.unsettled import UNSETTLED_FILE, unsettled_format, unsettled_in

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
    cost_credits = record.load.results.cost_credits
    assert loaded.stdout.count("Usage is not settled yet") == 1
    assert f"at most {cost_credits:,.10g} credits, usage shows 0 credits so far" in loaded.stdout
    assert "usage is not settled yet" in early.stdout
    assert f"charged {cost_credits:,.10g} credits (usage)" in cleaned.stdout
    assert cleaned.returncode == ExitCode.KEPT
    assert "cleanup" not in record.note
