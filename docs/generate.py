"""Write what the code knows of the reference pages: options, checks, sandbox, the schema of runs.

``nox -s docs`` runs it; a test compares the pages with what it would write.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import click

from knouds_harness.commands.cli import COMMANDS, command_named
from knouds_harness.contract.document import shipped_document
from knouds_harness.judging.checks import all_checks
from knouds_harness.judging.claim import Check
from knouds_harness.judging.engine import checks_of_every_answer
from knouds_harness.judging.rule.reasons import REASONS
from knouds_harness.load.options import LoadOptions
from knouds_harness.option_declarations import options_of
from knouds_harness.runs.run_file import run_file_format
from knouds_harness.suite.options import RunOptions
from knouds_sandbox.routing.preferences import OUTCOMES

FOLDER: Final = Path(__file__).parent
RUNNERS: Final = {"check": ("pytest", RunOptions), "load": ("Locust", LoadOptions)}
OF_LOCUST: Final = "processes"
INTRODUCTION: Final = """\
As `knouds-harness COMMAND --help` prints them. `--debug` before the command adds a traceback to an error:
`knouds-harness --debug check`."""
GUIDES: Final = {
    "check": "check.md",
    "load": "load.md",
    "report": "../reports/README.md",
    "compare": "compare.md",
    "replay": "verify-and-replay.md",
    "init": "targets.md",
    "doctor": "targets.md",
    "sandbox": "sandbox.md",
    "record": "record.md",
    "cleanup": "cleanup.md",
    "verify": "verify-and-replay.md",
}
TABLE_OF_OUTCOMES: Final = re.compile(
    r"(\| outcome \| status \| code \| source \|\n(?:\|---){4}\|\n)(?:\|.*\n)*"
)
WIDTH: Final = 100
MOST_FACTS: Final = 20
TABLE_OF_REASONS: Final = re.compile(r"(\| reason \| refusal \|\n\|.*\n)(?:\|.*\n)*")
TABLE_OF_CHECKS: Final = re.compile(r"(?<=## )(\w+)(\n(?:\n|[^|#\n].*\n)*\| check \|.*\n\|.*\n)((?:\|.*\n)+)")


def options_page() -> str:
    """Each command with its options."""
    return "\n".join(["# Options\n", f"{INTRODUCTION}\n", *(_command(name) for name in COMMANDS)])


def checks_page(text: str) -> str:
    """The page of checks, with the tables of reasons without a check and of each family."""
    text = TABLE_OF_REASONS.sub(lambda found: f"{found[1]}{_rows_of_reasons()}", text)
    return TABLE_OF_CHECKS.sub(lambda found: f"{found[1]}{found[2]}{_rows_of_checks(found[1])}", text)


def record_schema() -> str:
    """The schema of ``run.json``."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **run_file_format().json_schema(mode="serialization"),
        "title": "run.json of knouds-harness",
        "description": "What ran and how it ended. New members may come; these stay, or the version changes.",
    }
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def sandbox_page(text: str) -> str:
    """The page of the sandbox, with the table of its outcomes."""
    return TABLE_OF_OUTCOMES.sub(lambda found: found[1] + "".join(map(_row_of_outcome, OUTCOMES)), text)


def _row_of_outcome(name: str) -> str:
    status, code, _ = OUTCOMES[name]
    source = shipped_document().error_codes[code].source
    return f"| `{name}` | {status} | `{code}` | {source} |\n"


def pages() -> dict[Path, str]:
    """What each page has to be."""
    checks, sandbox = FOLDER / "checks.md", FOLDER / "sandbox.md"
    return {
        FOLDER / "options.md": options_page(),
        checks: checks_page(checks.read_text(encoding="utf-8")),
        FOLDER / "run.schema.json": record_schema(),
        sandbox: sandbox_page(sandbox.read_text(encoding="utf-8")),
    }


def _command(name: str) -> str:
    command = command_named(name)
    settings = {"terminal_width": WIDTH, **command.context_settings}
    context = click.Context(command, info_name=f"knouds-harness {name}", **settings)
    usage = command.get_usage(context).removeprefix("Usage: ")
    guide = f" ([guide]({GUIDES[name]}))" if name in GUIDES else ""
    lines = [f"## {name}\n", f"{COMMANDS[name]}{guide}\n"]
    if not usage.endswith("[OPTIONS]"):
        lines.append(f"```\n{usage}\n```\n")
    options = [each for each in command.params if isinstance(each, click.Option)]
    records = {str(each.name): each.get_help_record(context) for each in options}
    shown = {name: record for name, record in records.items() if record}
    if shown:
        rows = [_row_of_option(*record) for record in shown.values()]
        lines.append("\n".join(["| option | meaning |", "|---|---|", *rows]) + "\n")
    if name in RUNNERS:
        lines.append(_in_runner(name, {name: option.split()[0] for name, (option, _) in shown.items()}))
    return "\n".join(lines)


def _row_of_option(option: str, meaning: str) -> str:
    option, meaning = (part.replace("|", "\\|") for part in (option, " ".join(meaning.split())))
    return f"| `{option}` | {meaning} |"


def _in_runner(command: str, options: Mapping[str, str]) -> str:
    """What pytest or Locust, which a command runs, calls its options."""
    runner, declared = RUNNERS[command]
    flags = {each.name: each.runner_flag for each in options_of(declared).values()}
    missing = [f"`{option}`" for name, option in options.items() if name not in {*flags, OF_LOCUST}]
    renamed = [
        f"; `{option}` is `{flags[name]}` there"
        for name, option in options.items()
        if flags.get(name, option) != option
    ]
    return f"{runner}'s own command takes all but {', '.join(missing)}{''.join(renamed)}.\n"


def _rows_of_reasons() -> str:
    rows = (f"| {each.because} | {each.refusal} |\n" for each in REASONS if not each.id)
    return "".join(dict.fromkeys(rows))


def _rows_of_checks(family: str) -> str:
    checks = [check for check in all_checks().values() if check.family == family]
    of_every_answer = checks_of_every_answer()
    return "".join(
        f"| `{check.id}`{' *' if check in of_every_answer else ''} | {check.sentence} | {_facts(check)} |\n"
        for check in checks
    )


def _facts(check: Check[...]) -> str:
    if len(check.facts) > MOST_FACTS:  # schemas.body
        return f"the {len(check.facts)} facts that the schema of a success cites"
    return ", ".join(f"`{fact}`" for fact in check.facts)


if __name__ == "__main__":
    for page, text in pages().items():
        page.write_text(text, encoding="utf-8")
