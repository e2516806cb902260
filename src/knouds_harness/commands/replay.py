"""``knouds-harness replay``: replay the findings of a run."""

import sys
from pathlib import Path

import click

from knouds_harness.option_declarations import click_options, options_from
from knouds_harness.suite.options import RunOptions


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("fingerprint", required=False)
@click.option("--target", metavar="NAME", help="Profile in targets/ [default: the run's own]")
@click.option(
    "--fault", multiple=True, metavar="ID", help="Break this promise of the sandbox, not those of the run"
)
@click.option("--healthy", is_flag=True, help="Start the sandbox without the run's faults")
@click.option(
    "--all", "every_finding", is_flag=True, help="Replay also findings that do not fail the run, except drift"
)
@click.option("--legal", metavar="SEED", help="Seed of the sandbox's choices [default: the run's own]")
@click.option(
    "--between", metavar="SEED", help="Seed of the intermediary in front of it [default: the run's own]"
)
@click_options(RunOptions, "yes_production")
def replay(
    run: Path,
    fingerprint: str | None,
    *,
    target: str | None,
    fault: tuple[str, ...],
    healthy: bool,
    legal: str | None,
    between: str | None,
    every_finding: bool,
    **asked: object,
) -> None:
    """Replay findings, and report whether they still occur.

    Sends the requests that a finding rests on again, or runs its test. RUN is a folder under reports/runs/;
    FINGERPRINT names one of its findings, by default all that fail the run.
    """
    from knouds_harness.command_output import CommandConsole
    from knouds_harness.suite.replay import replay as replay_findings
    from knouds_harness.suite.replayer import Conditions

    code = replay_findings(
        run,
        fingerprint,
        target_name=target,
        conditions=Conditions(
            faults=fault if fault or healthy else None,
            legal=legal,
            between=between,
            every_finding=every_finding,
            yes_production=options_from(RunOptions, asked).yes_production,
        ),
        console=CommandConsole(),
    )
    sys.exit(code)
