"""Whatever a user's file holds, reading it ends soon: well, or with one message that names the file."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import click
import pytest
from click.testing import CliRunner
from damaged_files import BOMB, DAMAGES, PLACES, Damage, damaged
from har_files import entry, write_har
from hypothesis import given, settings
from hypothesis import strategies as st
from loaded_runs import loaded
from run_records import broken

from knouds_harness.commands.cli import cli
from knouds_harness.conformance.recorded.captured_traffic import read_captured
from knouds_harness.contract.difference import differences
from knouds_harness.contract.document import load_document, shipped_document
from knouds_harness.errors import ExitCode, HarnessError
from knouds_harness.exchange.recordings import read_recording
from knouds_harness.measures.objectives import load_objectives
from knouds_harness.reporting.comparison.sides import read_side
from knouds_harness.runs.record import read_run
from knouds_harness.targets.profile import load_target

ROOT: Final = Path(__file__).parents[2]
IS_LONG: Final = os.environ.get("HYPOTHESIS_PROFILE") == "nightly"
READING: Final = settings(max_examples=5_000 if IS_LONG else 30)
COMMANDS: Final = settings(max_examples=500 if IS_LONG else 8)
WITHIN_S: Final = 1.0
KEYS: Final = {"STAGING_KEY_FULL": "knouds_live_of-no-use-0123456789"}
RUN_FILES: Final = (
    "run.json",
    "findings.jsonl",
    "exchanges.har",
    "load.json",
    "seconds.csv",
    "surface.json",
    "times.hlog",
)


def read_in_time(read: Callable[[], object], name: str) -> None:
    """Read a file, which either goes well or is refused by its name with exit code 2."""
    began_s, refused = time.process_time(), None
    try:
        read()
    except HarnessError as error:
        refused = error
    assert time.process_time() - began_s < WITHIN_S
    assert refused is None or (refused.exit_code == ExitCode.USAGE and name in str(refused))


def har(folder: Path) -> Path:
    """Traffic of three operations."""
    url = "https://staging.example.com/api"
    headers = {"x-api-key": KEYS["STAGING_KEY_FULL"]}
    return write_har(
        folder / "traffic.har",
        entry(f"{url}/whoami", {"user": {"id": "u1", "email": "a@example.com"}}, sent_headers=headers),
        entry(
            f"{url}/usage?limit=5", {"rows": [], "page": 1, "pageSize": 5, "total": 0}, sent_headers=headers
        ),
        entry(
            f"{url}/workflows/x/run",
            {"success": True, "result": {}, "cost": 3, "ms": 9},
            method="POST",
            post={"mimeType": "application/json", "text": '{"inputs": {}}'},
        ),
    )


def valid(folder: Path, kind: str) -> Path:
    """A file that is read without complaint."""
    if kind == "har":
        return har(folder)
    named = {
        "profile": "targets/staging.example.toml",
        "objectives": "load/objectives.toml",
        "recording": "tests/recordings/getExecution-200-completed.json",
        "document": "spec/openapi.yaml",
    }[kind]
    return Path(shutil.copy(ROOT / named, folder))


READERS: Final[dict[str, Callable[[Path], object]]] = {
    "profile": lambda path: load_target(str(path), environ=KEYS),
    "objectives": lambda path: load_objectives(path, "mixed"),
    "recording": read_recording,
    "har": lambda path: read_captured(path, shipped_document(), base_url=None),
    "document": lambda path: differences(shipped_document(), load_document(path)),
}


@pytest.mark.parametrize("kind", READERS)
def test_damaged_file_is_refused_by_its_name(kind, tmp_path_factory):
    """Or read, where the damage does not matter."""
    path = valid(tmp_path_factory.mktemp(kind), kind)
    content = path.read_bytes()
    READERS[kind](path)

    @READING
    @given(damages=DAMAGES)
    def read(damages):
        path.write_bytes(damaged(content, damages))
        read_in_time(lambda: READERS[kind](path), path.name)

    read()


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize(
    "content", [BOMB.encode(), b"\0" * 999, b"\xff\xfe", b"", b"[" * 100_000, b"9" * 9_999]
)
def test_file_of_something_else_is_refused(kind, content, tmp_path):
    """As fast as any other."""
    path = valid(tmp_path, kind)
    path.write_bytes(content)

    read_in_time(lambda: READERS[kind](path), path.name)


@pytest.fixture(scope="module")
def run_folders(tmp_path_factory) -> list[Path]:
    """Of a check and of a load."""
    return [broken(tmp_path_factory.mktemp("check")), loaded(tmp_path_factory.mktemp("load"), seconds=6)]


FILES_OF_RUNS: Final = st.tuples(st.sampled_from([0, 1]), PLACES, DAMAGES)


@READING
@given(where=FILES_OF_RUNS)
def test_damaged_run_folder_is_refused_by_its_name(run_folders, tmp_path_factory, where):
    """Whichever of its files is damaged."""
    folder = with_damage(run_folders, tmp_path_factory, where)

    read_in_time(lambda: read_run(folder), folder.name)
    read_in_time(lambda: read_side([folder], baselines=folder.parent), folder.name)


COMMAND_LINES: Final = (
    ("report", "{damaged}"),
    ("compare", "{whole}", "{damaged}"),
    ("diff", "{damaged}", "{whole}"),
    ("history", "--runs-folder", "{runs}"),
    ("facts", "--run", "{damaged}"),
    ("replay", "{damaged}", "--target", "{nowhere}"),
)


@pytest.mark.parametrize("arguments", COMMAND_LINES, ids=lambda arguments: arguments[0])
def test_command_on_a_damaged_run_folder_ends_in_words(run_folders, tmp_path_factory, arguments):
    """Never with a traceback."""

    @COMMANDS
    @given(where=FILES_OF_RUNS)
    def run(where):
        folder = with_damage(run_folders, tmp_path_factory, where)
        words = {
            "damaged": folder,
            "whole": run_folders[where[0]],
            "runs": folder.parent,
            "nowhere": folder / "none.toml",
        }
        invoke([each.format(**words) for each in arguments])

    run()


@pytest.mark.parametrize("command", ["verify", "record --from"])
def test_command_on_a_damaged_har_ends_in_words(command, tmp_path_factory):
    """Never with a traceback."""
    folder = tmp_path_factory.mktemp("har")
    path = har(folder)
    content = path.read_bytes()

    @COMMANDS
    @given(damages=DAMAGES)
    def run(damages):
        path.write_bytes(damaged(content, damages))
        place = (
            ["--runs-folder", str(folder / "runs")]
            if command == "verify"
            else ["--folder", str(folder / "kept")]
        )
        invoke([*command.split(), str(path), *place])
        shutil.rmtree(folder / "kept", ignore_errors=True)

    run()


def invoke(arguments: list[str]) -> None:
    """Run a command in this process, as ``main`` would."""
    ended = CliRunner().invoke(cli, arguments)
    if ended.exception is not None and not isinstance(
        ended.exception, SystemExit | HarnessError | click.ClickException
    ):
        raise ended.exception
    assert "Traceback" not in ended.output


def with_damage(
    run_folders: list[Path], tmp_path_factory: pytest.TempPathFactory, where: tuple[int, int, list[Damage]]
) -> Path:
    """A copy of a run folder of which one file is damaged."""
    which, place, damages = where
    source = run_folders[which]
    folder = tmp_path_factory.getbasetemp() / "damaged" / source.name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    names = [name for name in RUN_FILES if (source / name).is_file()]
    for name in names:
        shutil.copy(source / name, folder)
    path = folder / names[place * len(names) // 1_000_000]
    path.write_bytes(damaged(path.read_bytes(), damages))
    return folder
