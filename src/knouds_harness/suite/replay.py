"""Replay the findings of a run, to say which still stand."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from knouds_harness.command_output import CommandConsole
from knouds_harness.errors import ExitCode, UnknownName, UsageError
from knouds_harness.locations import SANDBOX
from knouds_harness.printable import counted, printable
from knouds_harness.runs.findings import LEFT_BEHIND, Finding, Verdict
from knouds_harness.runs.record import RunRecord, read_run
from knouds_harness.runs.writer import FINDINGS_FILE
from knouds_harness.suite.replay_judgement import ReplayStatus
from knouds_harness.suite.replayer import Conditions, Replayed, Replayer
from knouds_harness.targets.builtin import recorded_target


def replay(
    folder: Path,
    mark: str | None,
    *,
    target_name: str | None,
    conditions: Conditions,
    console: CommandConsole,
) -> ExitCode:
    """Replay the findings of a run, and print a line for each.

    ``mark`` is the fingerprint of the one finding to replay; None for all that fail the run (with
    ``conditions.every_finding``, all but drift). Without a ``target_name``, the run's own target is used.

    Returns:
        An exit code, by the findings that fail the run, or the one that was named: 1 if any still stands, 2
        if this cannot be told for one of them, or some cannot be read, otherwise 0; also 1 if something is
        left on the target.
    """
    record = read_run(folder)
    findings = _chosen(record, mark, every_finding=conditions.every_finding)
    if target_name is None and record.kind == "verify":
        raise UsageError(f"{folder}: is a run of recorded traffic\n  Name a target with --target.")
    counts: Counter[ReplayStatus] = Counter()
    deciding: set[ReplayStatus] = set()
    left: tuple[str, ...] = ()
    if findings:
        replayer = Replayer(
            record=record,
            target_name=target_name or _target_name(record),
            conditions=conditions,
            show=CommandConsole(stderr=True).say,
        )
        try:
            with replayer.resources:
                for replayed in replayer.replay_all(findings):
                    counts[replayed.status] += 1
                    if mark is not None or record.fails(replayed.finding):
                        deciding.add(replayed.status)
                    console.say(_line(replayed))
        finally:  # also after Ctrl-C
            left = replayer.left
            for run in replayer.runs:
                console.say(f"What its tests sent: {run}")
            if left:
                tries_again = f"knouds-harness cleanup {folder} tries again"
                console.say(f"{LEFT_BEHIND} ({tries_again}): {'; '.join(left)}")
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


def _target_name(record: RunRecord) -> str:
    """Return the name of the run's target in ``targets/``, if that is on the address of the run."""
    recorded = record.setup.target
    if recorded.name != SANDBOX:
        recorded_target(recorded.name, recorded.base_url)
    return recorded.name


def _chosen(record: RunRecord, mark: str | None, *, every_finding: bool) -> Sequence[Finding]:
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


def _line(replayed: Replayed) -> str:
    finding = replayed.finding
    line = f"{replayed.status:<12}  {finding.fingerprint}  {finding.fact}  {finding.who}: {replayed.reason}"
    return printable(line, keep="")
