"""The documents agree with the code, and the commands in them work."""

import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import click
import pytest
from checking import knouds, run_program
from clocks import wait_until
from example_targets import free_port

from knouds_harness.commands.cli import COMMANDS, cli
from knouds_harness.errors import ExitCode
from knouds_harness.judging.checks import families
from knouds_sandbox.serving import running_sandbox

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "reports" / "README.md",
    ROOT / "spec" / "README.md",
    ROOT / "benchmarks" / "README.md",
    ROOT / "docs" / "ci" / "README.md",
    *ROOT.glob("docs/*.md"),
]
GENERATED = runpy.run_path(str(ROOT / "docs" / "generate.py"))["pages"]()
GUIDES = [page for page in PAGES if page.name not in {"options.md", "checks.md"}]
TEXT = "\n".join(page.read_text(encoding="utf-8") for page in GUIDES)


def test_every_command_is_documented():
    assert [name for name in COMMANDS if f"knouds-harness {name}" not in TEXT] == []


@pytest.mark.parametrize(("page", "text"), GENERATED.items(), ids=lambda each: getattr(each, "name", ""))
def test_generated_page_is_up_to_date(page, text):
    """Options, exit codes, checks and keys; ``nox -s docs`` writes them."""
    assert page.read_text(encoding="utf-8") == text


def test_every_family_of_checks_is_in_the_guide_to_check():
    page = (ROOT / "docs" / "check.md").read_text(encoding="utf-8")

    assert [family for family in families() if f"`{family}`" not in page] == []


def test_tests_of_a_client_pass(tmp_path):
    """Those in the guide for authors of clients, in a repository of their own."""
    page = (ROOT / "docs" / "clients.md").read_text(encoding="utf-8")
    blocks = re.findall("```python\n(.*?)```", page, re.DOTALL)
    conftest = [block for block in blocks if block.startswith("# conftest.py")]
    (tmp_path / "conftest.py").write_text("".join(conftest), encoding="utf-8")
    tests = "".join(block for block in blocks if block not in conftest)
    (tmp_path / "test_client.py").write_text(tests, encoding="utf-8")

    ran = run_program(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=tmp_path)

    assert f"{tests.count('def test_')} passed" in ran.stdout, ran.stdout


def test_readme_explains_every_exit_code():
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())

    assert f"{ExitCode.explained()}." in readme


def test_relative_links_lead_to_files_and_headings():
    assert [
        broken for page in [*PAGES, *ROOT.glob("docs/decisions/*.md")] for broken in broken_links(page)
    ] == []


def broken_links(page: Path) -> Iterator[str]:
    links = re.findall(r"\]\(([^):]*?)(?:#([^)]*))?\)", page.read_text(encoding="utf-8"))
    for path, heading in links:
        target = page.parent / path if path else page
        if not target.exists() or (heading and heading not in headings(target)):
            yield f"{page.relative_to(ROOT)}: {path}#{heading}"


def headings(page: Path) -> set[str]:
    """Return the anchors that GitHub gives to the headings of a page."""
    titles = re.findall(r"^#+ (.*)", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_python_files_named_in_pages_exist():
    """A path may leave out the folders that its page names."""
    named = set(re.findall(r"\b(?:\w+/)+[a-z_]+\.py\b", TEXT))
    files = [
        f"/{path.relative_to(ROOT)}"
        for folder in ("src", "tests", "load", "benchmarks", "docs")
        for path in (ROOT / folder).rglob("*.py")
    ]

    assert named
    assert [path for path in sorted(named) if not any(file.endswith(f"/{path}") for file in files)] == []


def test_tests_named_by_a_word_in_pages_exist():
    """``pytest FILE -k WORD`` selects at least one test of the file."""
    selections = re.findall(r"pytest ((?:tests/[\w/]+\.py )+)-k (\w+|\"[^\"]*\")", TEXT)
    selected = {
        f"{files}-k {words}": [
            name
            for file in files.split()
            for name in re.findall(r"def (test_\w+)", (ROOT / file).read_text(encoding="utf-8"))
            if any(word in name for word in words.strip('"').split(" or "))
        ]
        for files, words in selections
    }

    assert selected
    assert [line for line, names in selected.items() if not names] == []


def shown_commands() -> dict[str, list[str]]:
    """Map each line of a page that runs the program to the words after its name."""
    commands: dict[str, list[str]] = {}
    for page in dict.fromkeys([*PAGES, *sorted(ROOT.glob("docs/**/*.md"))]):
        text = page.read_text(encoding="utf-8").replace(" \\\n", " ")
        blocks = "\n".join(re.findall(r"```(?:console|sh)\n(.*?)```", text, re.DOTALL))
        in_blocks = re.findall(r"^\$ (?:.*/)?knouds-harness (.*)", blocks, re.MULTILINE)
        inline = re.findall(r"`knouds-harness ([a-z][^`\n]*)`", text)
        commands |= {line: shlex.split(line, comments=True) for line in [*in_blocks, *inline]}
    return commands


SHOWN = shown_commands()
QUICK = [
    line
    for line, words in SHOWN.items()
    if {"facts", "--list-faults", "--plan-only", "--outcome"} & {*words}
    and not {"--target", "--run", "--checks", "--inputs"} & {*words}
]
PLAIN_TYPES = (type(click.INT), type(click.FLOAT), click.Choice)


@pytest.mark.parametrize("line", SHOWN)
def test_shown_command_is_valid(line):
    name, *words = [word for word in SHOWN[line] if word != "--debug"]
    command = cli.get_command(click.Context(cli), name)
    assert command is not None, name
    context = click.Context(command, info_name=name)

    values, _, _ = command.make_parser(context).parse_args(words)

    for parameter in command.params:
        value = values.get(str(parameter.name))
        if isinstance(parameter.type, PLAIN_TYPES) and isinstance(value, str) and not value.isupper():
            parameter.type(value, parameter, context)


@pytest.mark.parametrize("line", QUICK)
def test_shown_command_runs(line, tmp_path):
    process = knouds(*SHOWN[line], cwd=tmp_path)

    assert process.returncode == 0, process.stderr


PATH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


def console_of(page: str) -> list[tuple[str, str, str]]:
    """Return each command in a console of a page, and its output after a line break."""
    blocks = re.findall(r"```console\n(.*?)```", page, re.DOTALL)
    return [part.partition("\n") for block in blocks for part in re.split(r"(?m)^\$ ", block)[1:]]


@pytest.mark.nightly  # checks of a server; test_extending.py does some of it in CI
@pytest.mark.parametrize("name", ["tutorial.md", "extending.md"])
def test_commands_of_a_page_print_the_shown_output(tmp_path, name):
    """One after the other, sandboxes in a terminal of their own; dots stand for anything."""
    page = (ROOT / "docs" / name).read_text(encoding="utf-8").replace("8080", str(free_port()))
    for file, content in re.findall(r"```python\n# (\S+)\n(.*?)```", page, re.DOTALL):
        (tmp_path / file).write_text(content, encoding="utf-8")
    environ = {**os.environ, "PATH": PATH, "NO_COLOR": "1", "PYTHONUNBUFFERED": "1"}
    printed = tmp_path / "printed.txt"
    server = None
    try:
        for command, _, output in console_of(page):
            if command.startswith("export "):
                name, _, value = command.removeprefix("export ").partition("=")
                environ[name] = value
                continue
            if server and " sandbox " in command:
                server.terminate()
                server.wait()
            with printed.open("w") as file:
                process = subprocess.Popen(  # noqa: S602 - the page's own lines, with their wildcards
                    f"exec {command}", shell=True, cwd=tmp_path, env=environ, stdout=file
                )
            if " sandbox " in command:
                server = process
                wait_until(partial(is_shown, f"{output}…curl -H", printed))
            else:
                process.wait(timeout=240)
                assert is_shown(output, printed), printed.read_text(encoding="utf-8")
    finally:
        if server:
            server.kill()
            server.wait()


def is_shown(output: str, printed: Path) -> bool:
    """Return whether a page's output is the printed one, except for what dots stand for."""
    pattern = re.sub(r"(\\ )*…(\\\n)?", ".*", re.escape(output.strip()))
    return re.search(pattern, printed.read_text(encoding="utf-8"), re.DOTALL) is not None


SANDBOX_GUIDE = (Path(__file__).parents[2] / "docs" / "sandbox.md").read_text(encoding="utf-8")
CURL_LINES = re.findall(r"^\$ (curl .*)", SANDBOX_GUIDE.replace(" \\\n", " "), re.MULTILINE)


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_lines_have_the_shown_status():
    with running_sandbox(control_token="a-token", prefer=True) as sandbox:
        variables = {"TOKEN": "a-token", "KNOUDS_SANDBOX_KEY_FULL": sandbox.keys["full"]}
        statuses = []
        for line in CURL_LINES:
            command = f"{line} -s -o /dev/null -w '%{{http_code}}'"
            command = command.replace("http://127.0.0.1:8080", sandbox.base_url)
            process = run_program("/bin/sh", "-c", command, **variables)
            statuses.append((line.partition("8080")[2].split()[0], process.stdout))

    assert statuses == [
        ("/api/whoami", "200"),
        ("/api/models/suno-v5/run", "402"),
        ("/__sandbox__/reset", "200"),
        ("/__sandbox__/accounts", "201"),
        ("/__sandbox__/keys", "201"),
        ("/__sandbox__/state", "200"),
    ]
