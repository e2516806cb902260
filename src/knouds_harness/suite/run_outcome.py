"""How a run ends: its outcome, its exit code, and lines that say why."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from knouds_harness.errors import ExitCode
from knouds_harness.printable import counted
from knouds_harness.runs.findings import CUT_SHORT, OWN_CODE_FAILED
from knouds_harness.suite.minimum_verified import VerifiedFacts, shortfall
from knouds_harness.suite.preceding_requests import ENDS_IN_TIME
from knouds_harness.targets.needs.keys import active_keys, without_working_keys

if TYPE_CHECKING:
    from knouds_harness.suite.session import ConformanceRun

_MOST_MISSING: Final = 5


def decided(run: ConformanceRun, *, was_interrupted: bool) -> tuple[str, ExitCode, list[str]]:
    """Return the outcome, the exit code, and lines that say why."""
    if was_interrupted:
        return "interrupted", ExitCode.INTERRUPTED, []
    cut, own_errors = _cut_short(run), _user_errors(run)
    unproven = [*([] if _accepts_cut(run) else cut), *_unproven(run), *_shortfall(run)]
    if run.recorder.is_broken:
        expired = [
            f"waiver expired on {waiver.expires}: {waiver}. Fix what it waives, or renew it."
            for waiver in run.recorder.expired_waivers
        ]
        return "broken", ExitCode.BREACH, [*expired, *unproven, *own_errors]
    if errors := len(run.harness_errors):
        words = f"{counted(errors, 'test')} ended in an error of the harness itself"
        return "failed", ExitCode.BREACH, [words]
    if own_errors:
        return "failed", ExitCode.BREACH, own_errors
    is_skipped, lacks_keys = run.recorder.writer.is_all_skipped, not active_keys(run.target)
    if is_skipped or (lacks_keys and not run.asked <= run.recorder.writer.verified_facts):
        admitted = (key.tier for key in run.target.personas.values() if key.state == "active")
        words = without_working_keys(admitted) if lacks_keys else "Every test was skipped"
        counts = Counter(each.missing for each in run.recorder.writer.untested)
        missing = [f"  {each}" for each, _ in counts.most_common(_MOST_MISSING)]
        return "untested", ExitCode.USAGE, [f"{words}. What is missing:", *missing]
    return ("short", ExitCode.BREACH, unproven) if unproven else ("kept", ExitCode.KEPT, cut)


def _accepts_cut(run: ConformanceRun) -> bool:
    """Whether the user says what has to be verified, or that less will do."""
    expect = run.profile.expect
    return run.options.allow_short or bool(expect.facts or expect.families)


def _cut_short(run: ConformanceRun) -> list[str]:
    """Say which tests ran out of credits that doctor had foretold, and which asked family has none."""
    lines = []
    if run.cut:
        tests, limits = counted(len(run.cut), "test"), run.profile.limits
        lines.append(
            f"{CUT_SHORT}: {tests} found no credits left of the {limits.credits:,.10g} that "
            f"{limits.credits_by} allows, which was to pay for them."
        )
    passed = {each.check.partition(".")[0] for each in run.recorder.writer.tests if each.passed}
    families = () if run.options.rotate else run.options.families  # else it may be another night's turn
    if missing := [each for each in families if each not in passed]:
        lines.append(f"{CUT_SHORT}: not one test passed of {', '.join(missing)}.")
    return lines


def _user_errors(run: ConformanceRun) -> list[str]:
    lines = []
    if run.user_errors:
        lines += [f"{OWN_CODE_FAILED}: tests that ended in an error, not in an assert about a response:"]
        lines += [f"  {each}" for each in run.user_errors]
    if run.recorder.user_errors:
        lines += [f"{OWN_CODE_FAILED}: checks of --checks that ended in an error:"]
        lines += [f"  {check}: {error}" for check, error in run.recorder.user_errors.items()]
    return lines


def _unproven(run: ConformanceRun) -> list[str]:
    """Say whose runs all failed, and whose executions never ended, unless the profile accepts it."""
    lines = [
        f"No run of {user} succeeded: {told}. If that is expected, say so in the profile."
        for user, told in run.test_data.unsuccessful.items()
    ]
    is_accepted = any(
        waiver.fact == ENDS_IN_TIME and not waiver.is_expired(run.recorder.today)
        for waiver in run.recorder.waivers
    )
    if run.tester.endless.personas and not is_accepted:
        lines.append(
            "In the profile, raise deadline_s of what was run, or accept that no execution ends: "
            f'[[waivers]] with fact = "{ENDS_IN_TIME}".'
        )
    return lines


def _shortfall(run: ConformanceRun) -> list[str]:
    writer = run.recorder.writer
    seen = VerifiedFacts(asked=run.asked, verified=writer.verified_facts, untested=writer.untested)
    return shortfall(seen, least=run.least, text=run.options.min_verified or "", expected=run.expected)
