"""The command line: arguments, messages and exit codes. The work is elsewhere."""

from __future__ import annotations

import sys
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import click
from rich.console import Console

from knouds_harness.compare_command import compare
from knouds_harness.conformance.doctor import examine
from knouds_harness.conformance.replaying import replay as replay_findings
from knouds_harness.conformance.running import run_suite
from knouds_harness.conformance.verification import verify as verify_traffic
from knouds_harness.contract.difference import Kind, differences
from knouds_harness.contract.document import load_document, shipped_document
from knouds_harness.coverage import coverage, print_coverage
from knouds_harness.errors import ExitCode, HarnessError, RunRecordError, UsageError
from knouds_harness.exchange.recording_folder import RecordingFolder
from knouds_harness.folder_options import baselines_folder_option, runs_folder_option
from knouds_harness.history_command import history
from knouds_harness.load_command import load
from knouds_harness.locations import objectives_path, recordings_path
from knouds_harness.record_command import record
from knouds_harness.reporting.comparison.baseline import set_baseline
from knouds_harness.reporting.comparison.sides import read_side
from knouds_harness.reporting.render import render_all, render_readable
from knouds_harness.reporting.standing import fact_rows
from knouds_harness.reporting.terminal import print_summary
from knouds_harness.runs.record import read_run
from knouds_harness.runs.surface_difference import run_differences
from knouds_harness.sandbox.command import sandbox_command
from knouds_harness.selftest_command import selftest_command

_EPILOG = """Exit codes: 0 kept; 1 breach, missed objective or regression; 2 usage or profile error;
3 target unreachable; 4 stopped by a guard; 5 measurement not valid; 130 interrupted."""


@click.group(
    epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(package_name="knouds-harness")
@click.option("--debug", is_flag=True, help="Show a traceback with every error.")
def cli(*, debug: bool) -> None:
    """Prove that a server keeps the contract of the Knouds REST API.

    Begin with `knouds-harness demo`: it checks a sandbox that it starts itself, and needs no account.
    """
    del debug  # main() looks at it


_CHECK_OPTIONS = (
    click.option("--family", multiple=True, metavar="NAME", help="Only this family (repeatable)."),
    click.option("--operation", multiple=True, metavar="ID", help="Only this operation (repeatable)."),
    click.option("--fact", multiple=True, metavar="ID", help="Only what claims this (repeatable)."),
    click.option("--seed", type=int, metavar="N", help="Repeat the run that printed this seed."),
    click.option(
        "--examples", type=click.IntRange(1), metavar="N", help="Inputs per property [default: 20]."
    ),
    click.option("--quick", is_flag=True, help="Every fact, with fewer inputs and samples."),
    click.option("--credits", type=click.FloatRange(0), metavar="N", help="Spend no more than this."),
    click.option("--strict", is_flag=True, help="Assumptions that do not hold fail the run too."),
    click.option("--fail-fast", is_flag=True, help="Stop at the first broken test."),
    click.option("--fault", multiple=True, metavar="ID", help="Break a promise of the built-in sandbox."),
    click.option("--variant", metavar="ID", help="Have the sandbox answer otherwise what is left open."),
    click.option("--yes-production", is_flag=True, help="Agree to a profile that says production = true."),
    click.option("--runs-folder", type=click.Path(path_type=Path), metavar="DIR", help="For run records."),
)


# Pytest has a --strict of its own, and another word for failing fast.
_PYTEST_NAMES = {"fail_fast": "-x", "strict": "--strict-assumptions"}


def _check_options(command: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(_CHECK_OPTIONS):
        command = option(command)
    return command


@cli.command()
@click.option("--target", default="sandbox", show_default=True, metavar="NAME", help="Profile in targets/.")
@_check_options
def check(**options: object) -> None:
    """Check that a target keeps the contract.

    Every request goes through the profile's guards: host, kind of action, rate, credits. The run record
    is written as the run goes; interrupting it loses nothing.

    \b
      knouds-harness check                                   the built-in sandbox
      knouds-harness check --target staging --credits 50     a profile of your own
      knouds-harness check --quick                           every promise, fewer samples of each
      knouds-harness check --family capabilities --seed 42   one family, repeatable
      knouds-harness check --fault auth-revoked-accepted     see a check fail
    """
    sys.exit(_check(options))


@cli.command()
def demo() -> None:
    """Check the built-in sandbox, and say where the report is."""
    click.echo("Starting a sandbox and checking it: no account, no network, well under a minute.")
    sys.exit(_check({"target": "sandbox"}))


def _check(options: dict[str, object]) -> int:
    console = Console()
    result = run_suite(_as_pytest_options(options), console=console)
    if result.folder is not None:
        paths = render_all(result.folder)
        print_summary(read_run(result.folder), paths, console=console)
    return result.exit_code


def _as_pytest_options(options: dict[str, object]) -> list[str]:
    arguments: list[str] = []
    for name, value in options.items():
        option = _PYTEST_NAMES.get(name, f"--{name.replace('_', '-')}")
        if value is True:
            arguments.append(option)
        elif isinstance(value, tuple):
            arguments += [part for each in value for part in (option, str(each))]
        elif value is not None and value is not False:
            arguments += [option, str(value.absolute() if isinstance(value, Path) else value)]
    return arguments


@cli.command()
@click.option("--target", default="sandbox", show_default=True, metavar="NAME", help="Profile in targets/.")
@click.option("--yes-production", is_flag=True, help="Agree to a profile that says production = true.")
def doctor(target: str, *, yes_production: bool) -> None:
    """Say whether a target can be tested, what stays untested for want of what, and what it costs."""
    sys.exit(examine(target, yes_production=yes_production, console=Console()))


@cli.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--base-url", metavar="URL", help="Where the API is, if the file holds several servers.")
@click.option("--strict", is_flag=True, help="Assumptions that do not hold fail the run too.")
@runs_folder_option("For the run record.")
def verify(file: Path, *, base_url: str | None, strict: bool, runs_folder: Path) -> None:
    """Judge recorded traffic against the contract, without sending anything.

    FILE is a HAR file: a browser's, a proxy's, or the exchanges.har of a run.
    """
    result = verify_traffic(file, base_url=base_url, strict=strict, runs_folder=runs_folder)
    paths = render_all(result.folder)
    print_summary(read_run(result.folder), paths, console=Console())
    sys.exit(result.exit_code)


@cli.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("fingerprint", required=False)
@click.option("--target", metavar="NAME", help="Profile in targets/ [default: the run's own].")
@click.option("--fault", multiple=True, metavar="ID", help="Break a promise of the built-in sandbox.")
@click.option("--yes-production", is_flag=True, help="Agree to a profile that says production = true.")
def replay(
    run: Path, fingerprint: str | None, *, target: str | None, fault: tuple[str, ...], yes_production: bool
) -> None:
    """Send the exchange of each finding again, and say whether it still stands.

    RUN is a folder under reports/runs/; FINGERPRINT names one of its findings.
    """
    code = replay_findings(
        run,
        fingerprint,
        target_name=target,
        faults=fault,
        yes_production=yes_production,
        console=Console(),
    )
    sys.exit(code)


@cli.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--baseline", type=click.Path(path_type=Path), metavar="RUN", help="Show changes against it.")
@baselines_folder_option()
def report(run: Path, *, baseline: Path | None, baselines_folder: Path) -> None:
    """Render the reports of a run record again.

    RUN is a folder under reports/runs/; the baseline of a load run is another, or a summary that was kept.
    """
    if baseline is not None:
        side = read_side([baseline], baselines=baselines_folder)
        set_baseline(run, side, objectives=objectives_path())
    try:
        paths = render_all(run)
    except RunRecordError as problem:
        readable = render_readable(run, problem)
        if readable is None:
            raise
        raise RunRecordError(f"{problem}\n  What else could be read is in {readable.html}.") from problem
    print_summary(read_run(run), paths, console=Console())


@cli.command()
@click.option(
    "--run", type=click.Path(path_type=Path), metavar="DIR", help="Show how each stood in this run."
)
@click.option("--gaps", is_flag=True, help="Only documented facts that lack a check or a fault.")
def facts(run: Path | None, *, gaps: bool) -> None:
    """List every fact: its source, the checks that prove it, the faults that make them fail, recordings."""
    standings = {row.fact.id: row.standing for row in fact_rows(read_run(run))} if run else None
    recordings = RecordingFolder.open(recordings_path()).names_by_fact()
    rows = coverage(shipped_document().facts.values(), standings, recordings)
    print_coverage(rows, gaps_only=gaps, console=Console())


@cli.command()
@click.argument("old", type=click.Path(path_type=Path))
@click.argument("new", type=click.Path(path_type=Path))
def diff(old: Path, new: Path) -> None:
    """Compare two OpenAPI documents, or what two runs saw; fail if clients of OLD break on NEW.

    OLD and NEW are two documents, or two folders under reports/runs/.
    """
    if old.is_dir() != new.is_dir():
        folder, other = (old, new) if old.is_dir() else (new, old)
        raise UsageError(
            f"{folder} is a folder and {other} is not: give two documents, or the folders of two runs"
        )
    are_runs = old.is_dir()
    if are_runs:
        found = run_differences(old, new, shipped_document())
    else:
        found = differences(load_document(old), load_document(new))
    for difference in sorted(found, key=lambda difference: list(Kind).index(difference.kind)):
        click.echo(f"{difference.kind:<8}  {difference.place}: {difference.says}")
    counts = Counter(difference.kind for difference in found)
    unknown = f", {counts[Kind.UNKNOWN]} cannot be told" if are_runs else ""
    click.echo(f"{counts[Kind.BREAKING]} breaking, {counts[Kind.ADDITIVE]} additive{unknown}.")
    sys.exit(ExitCode.BREACH if counts[Kind.BREAKING] else ExitCode.KEPT)


cli.add_command(sandbox_command, "sandbox")
cli.add_command(load)
cli.add_command(selftest_command)
cli.add_command(compare)
cli.add_command(history)
cli.add_command(record)


def main() -> None:
    """Run the command line; every error that a user can meet ends in one message and its exit code."""
    try:
        cli.main(prog_name="knouds-harness", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.exceptions.Exit as ended:
        sys.exit(ended.exit_code)
    except (KeyboardInterrupt, click.Abort):
        sys.exit(ExitCode.INTERRUPTED)
    except HarnessError as error:
        if "--debug" in sys.argv:
            traceback.print_exc()
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
