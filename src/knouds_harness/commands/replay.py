"""``knouds-harness replay``: replay the findings of a run, to say which still stand."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from knouds_harness.errors import ExitCode, UnknownName, UsageError
from knouds_harness.locations import SANDBOX
from knouds_harness.option_declarations import click_options, options_from
from knouds_harness.printable import counted, printable
from knouds_harness.suite.options import ReplayOptions

if TYPE_CHECKING:
    from knouds_harness.command_output import CommandConsole
    from knouds_harness.runs.findings import Finding
    from knouds_harness.runs.record import RunRecord
    from knouds_harness.suite.replayer import Replayer


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("fingerprint", required=False)
@click_options(ReplayOptions)
def replay(run: Path, fingerprint: str | None, **asked: object) -> None:
    """Replay findings, and report whether they still occur.

    Sends the requests that a finding rests on again, or runs its test. RUN is a folder under reports/runs/;
    FINGERPRINT names one of its findings, by default all that fail the run.
    """
    from knouds_harness.command_output import CommandConsole

    sys.exit(replay_findings(run, fingerprint, options_from(ReplayOptions, asked), console=CommandConsole()))


def replay_findings(
    folder: Path, mark: str | None, options: ReplayOptions, *, console: CommandConsole
) -> ExitCode:
    """Replay the finding with the fingerprint ``mark``, or all that fail the run, and print a line for each.

    The exit code is about those that fail the run, or the one that was named.
    """
    from knouds_harness.command_output import CommandConsole
    from knouds_harness.runs.record import read_run
    from knouds_harness.runs.writer import FINDINGS_FILE
    from knouds_harness.suite.replay_judgement import ReplayStatus
    from knouds_harness.suite.replayer import Replayer

    record = read_run(folder)
    findings = _chosen(record, mark, every_finding=options.every_finding)
    if options.target is None and record.kind == "verify":
        raise UsageError(f"{folder}: is a run of recorded traffic\n  Name a target with --target.")
    counts: Counter[ReplayStatus] = Counter()
    deciding: set[ReplayStatus] = set()
    left: tuple[str, ...] = ()
    if findings:
        replayer = Replayer(
            record=record,
            target_name=options.target or _target_name(record),
            options=options,
            show=CommandConsole(stderr=True).say,
        )
        if (may_cost := replayer.left_credits) and replayer.target_name != SANDBOX:
            replayer.show(f"May cost up to {may_cost:,.10g} credits, as the run: paid runs are paid again.")
        try:
            with closing(replayer):
                for replayed in replayer.replay_all(findings):
                    counts[replayed.status] += 1
                    if mark is not None or record.fails(replayed.finding):
                        deciding.add(replayed.status)
                    found, words = replayed.finding, replayed.reason
                    line = f"{replayed.status:<12}  {found.fingerprint}  {found.fact}  {found.who}: {words}"
                    console.say(printable(line, keep=""))
        finally:  # also after Ctrl-C
            left = replayer.left
            for line in _lines_of_what_was_sent(replayer):
                console.say(line)
    verb = "stands" if counts[ReplayStatus.STANDS] == 1 else "stand"
    unseen = f"{counts[ReplayStatus.UNSEEN]} not seen, " if counts[ReplayStatus.UNSEEN] else ""
    console.say(
        f"{counted(len(findings), 'finding')}: {counts[ReplayStatus.STANDS]} still {verb}, "
        f"{counts[ReplayStatus.GONE]} gone, {unseen}{counts[ReplayStatus.OPEN]} cannot be told."
    )
    if mark is None and (others := len(_chosen(record, None, every_finding=True)) - len(findings)):
        console.say(f"Not sent again: {others} that do not fail the run (--all sends them too).")
    damaged = [gap for gap in record.gaps if gap.startswith(FINDINGS_FILE)]
    for gap in damaged:
        console.say(gap)
    if ReplayStatus.STANDS in deciding or left:
        return ExitCode.BREACH
    is_open = damaged or not deciding.isdisjoint({ReplayStatus.OPEN, ReplayStatus.UNSEEN})
    return ExitCode.USAGE if is_open else ExitCode.KEPT


def _lines_of_what_was_sent(replayer: Replayer) -> Iterator[str]:
    from knouds_harness.runs.findings import LEFT_BEHIND

    if replayer.charged_credits:
        yield f"charged {counted(replayer.charged_credits, 'credit')}"
    for run in replayer.runs:
        yield f"What its tests sent: {run}"
    if replayer.left:
        tries_again = f"knouds-harness cleanup {replayer.record.folder} tries again"
        yield f"{LEFT_BEHIND} ({tries_again}): {'; '.join(replayer.left)}"


def _target_name(record: RunRecord) -> str:
    """Return the name of the run's target in ``targets/``, if that is on the address of the run."""
    from knouds_harness.targets.builtin import recorded_target

    recorded = record.setup.target
    if recorded.name != SANDBOX:
        recorded_target(recorded.name, recorded.base_url)
    return recorded.name


def _chosen(record: RunRecord, mark: str | None, *, every_finding: bool) -> Sequence[Finding]:
    from knouds_harness.runs.findings import Verdict

    if mark is None:
        return [
            finding
            for finding in record.findings
            if record.fails(finding) or (every_finding and finding.verdict is not Verdict.ADDITIVE)
        ]
    found = [finding for finding in record.findings if finding.fingerprint == mark]
    if not found:
        raise UnknownName("finding", mark, [finding.fingerprint for finding in record.findings])
    return found
