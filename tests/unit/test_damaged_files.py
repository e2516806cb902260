"""Reading any damaged file ends soon, either well or with one message that names the file."""

import os
import re
import shutil
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

import pytest
from click.testing import CliRunner
from exchanges import entry, write_har
from hypothesis import given, settings
from hypothesis import strategies as st
from load_records import load_run, lognormal_seconds
from loaded_runs import loaded
from run_records import broken, healthy

from knouds_harness.commands.cli import cli
from knouds_harness.errors import ExitCode, HarnessError
from knouds_harness.exchange.recording import read_recording
from knouds_harness.measures.objectives import load_objectives
from knouds_harness.reporting.comparison.load_comparison import read_tolerances
from knouds_harness.reporting.comparison.sides import keep, read_side, set_baseline
from knouds_harness.runs.record import read_run
from knouds_harness.suite.discovery.run_plan import proofs_by_fact
from knouds_harness.suite.recorded.captured_traffic import read_captured
from knouds_harness.targets.profile import load_target

NUMBERS: Final = ("-1", "0", "1.5", "NaN", "Infinity", "-1e400", "1e308", "9" * 30, "9" * 5_000)
TEXTS: Final = ('""', '"x"', r'"\ud800"', r'"\u0000"', r'"\u001b[2J"', f'"{"a" * 5_000}"')
SPECIAL_TEXTS: Final = ('"2026-02-30T99:00:00Z"', '"9999-12-31T23:59:59+14:00"', '"http://[::1"', '"../../x"')
STRUCTURES: Final = ("[]", "{}", "[[]]", '{"a": 1}', '["a", 1]')
DEEP: Final = ("[" * 300 + "]" * 300, '{"a":' * 300 + "1" + "}" * 300, "[" * 100_000)
ODD_VALUES: Final = ("null", "true", *NUMBERS, *TEXTS, *SPECIAL_TEXTS, *STRUCTURES, *DEEP)


class Damage(NamedTuple):
    """One change of a file, at a place in millionths of its size, maybe with an odd value."""

    kind: str
    place: int
    odd: int


PLACES: Final = st.integers(0, 999_999)
DAMAGES: Final = st.lists(
    st.builds(
        Damage,
        kind=st.sampled_from(["value", "value", "value", "rename", "rename", "byte", "cut", "line"]),
        place=PLACES,
        odd=st.integers(0, len(ODD_VALUES) - 1),
    ),
    min_size=1,
    max_size=3,
)
_VALUE: Final = re.compile(rb'("(?:[^"\\\n]|\\.)*"|-?\d[\d.eE+:TZ-]*|true|false|null)(?=\s*(?:[,\]}\n]|$))')
_MEMBER: Final = re.compile(rb'("?[\w.-]+"?)(?=\s*[:=])')


def damaged(content: bytes, damages: list[Damage]) -> bytes:
    """Damage a text of values: JSON, JSON lines, TOML, YAML or CSV."""
    for each in damages:
        content = _HOW[each.kind](content, each)
    return content


def at_place(content: bytes, damage: Damage) -> int:
    return damage.place * len(content) // 1_000_000


def _replaced(pattern: re.Pattern[bytes], change: Callable[[bytes, Damage], bytes]) -> Callable[..., bytes]:
    def replace(content: bytes, damage: Damage) -> bytes:
        found = pattern.search(content, at_place(content, damage)) or pattern.search(content)
        if found is None:
            return content
        return content[: found.start(1)] + change(found[1], damage) + content[found.end(1) :]

    return replace


def _byte(content: bytes, damage: Damage) -> bytes:
    at = at_place(content, damage)
    return content[:at] + bytes([damage.place % 256]) + content[at + 1 :]


def _line(content: bytes, damage: Damage) -> bytes:
    """Remove a line, or repeat it somewhere else."""
    lines = content.splitlines(keepends=True) or [b""]
    at = damage.place * len(lines) // 1_000_000
    if damage.place % 2:
        return b"".join(lines[:at] + lines[at + 1 :])
    return b"".join([*lines[:at], lines[damage.place % len(lines)], *lines[at:]])


_HOW: Final[dict[str, Callable[[bytes, Damage], bytes]]] = {
    "value": _replaced(_VALUE, lambda _, damage: ODD_VALUES[damage.odd].encode()),
    "rename": _replaced(_MEMBER, lambda name, damage: name[: damage.place % 9]),
    "byte": _byte,
    "cut": lambda content, damage: content[: at_place(content, damage)],
    "line": _line,
}

ROOT: Final = Path(__file__).parents[2]
IS_LONG: Final = os.environ.get("HYPOTHESIS_PROFILE") == "nightly"
READING: Final = settings(max_examples=5_000 if IS_LONG else 30)
COMMANDS: Final = settings(max_examples=5_000 if IS_LONG else 8)
WITHIN_S: Final = 1.0
WAIVERS: Final = """
[[waivers]]
fact = "envelope.plain-401-has-code"
reason = "The plain 401 has no code."
expires = 2027-06-30
[[waivers]]
check = "workflows.list-is-complete"
operation = "listWorkflows"
status = 200
code = ""
reason = "Archived workflows are listed too."
expires = 2027-03-31
[[waivers]]
fingerprint = "0123456789ab"
reason = "Known."
expires = 2027-03-31
"""
TOLERANCES: Final = """
[kept."*"]
p99_ms = 200
error_rate = 0.01
fact = "async.submit-under-500-ms"
tolerance = { p99_ms = "10%", error_rate = "1%" }
"""
KEYS: Final = {"STAGING_KEY_FULL": "knouds_live_of-no-use-0123456789"}
RUN_FILES: Final = (
    "run.json",
    "findings.jsonl",
    "exchanges.har",
    "load.json",
    "seconds.csv",
    "times.hlog",
    "baseline.json",
)


def read_in_time(read: Callable[[], object], name: str) -> None:
    """Read a file; it must go well, or be refused by name, with a remedy and exit code 2."""
    refused, took_s = ending_of(read)
    if IS_LONG and took_s >= WITHIN_S:  # mostly garbage collection
        _, took_s = ending_of(read)
    assert not IS_LONG or took_s < WITHIN_S
    assert refused is None or says_what_to_do(refused, name)


def ending_of(read: Callable[[], object]) -> tuple[HarnessError | None, float]:
    """Return the error with which a file was refused, if any, and the processor time that it took."""
    began_s, refused = time.process_time(), None
    try:
        read()
    except HarnessError as error:
        refused = error
    return refused, time.process_time() - began_s


def says_what_to_do(error: HarnessError, *names: str) -> bool:
    """Return whether an error names the file, and has a remedy on a line of its own."""
    text = str(error)
    return error.exit_code == ExitCode.USAGE and any(name in text for name in names) and "\n  " in text


def har(folder: Path) -> Path:
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
    """Write a file that is read without an error."""
    if kind == "har":
        return har(folder)
    if kind == "summary":
        side = read_side([loaded(folder, seconds=6)], baselines=folder)
        return keep("summary", side, baselines=folder)
    named = {
        "profile": "targets/staging.example.toml",
        "objectives": "load/objectives.toml",
        "recording": "tests/recordings/getExecution-200-completed.json",
    }[kind]
    path = Path(shutil.copy(ROOT / named, folder))
    with path.open("a", encoding="utf-8") as file:
        file.write({"profile": WAIVERS, "objectives": TOLERANCES}.get(kind, ""))
    return path


READERS: Final[dict[str, Callable[[Path], object]]] = {
    "profile": lambda path: load_target(str(path), environ=KEYS),
    "objectives": lambda path: (load_objectives(path, "mixed"), read_tolerances(path, "kept", [])),
    "summary": lambda path: read_side([path], baselines=path.parent),
    "recording": read_recording,
    "har": lambda path: read_captured(path, base_url=None),
}


@pytest.mark.parametrize("kind", READERS)
def test_damaged_file_is_read_or_refused_by_name(kind, tmp_path_factory):
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
    "content",
    [b"\0" * 999, b"\xff\xfe", b"", b"[" * 100_000, b"9" * 9_999],
    ids=["zeros", "utf-16", "empty", "levels", "digits"],
)
def test_file_of_something_else_is_refused(kind, content, tmp_path):
    path = valid(tmp_path, kind)
    path.write_bytes(content)

    read_in_time(lambda: READERS[kind](path), path.name)


NO_FILES: Final[dict[str, Callable[[Path], object]]] = {
    "pipe": os.mkfifo,
    "folder": os.mkdir,
    "link to nothing": lambda path: path.symlink_to("nothing"),
    "link to itself": lambda path: path.symlink_to(path.name),
    "endless device": lambda path: path.symlink_to("/dev/zero"),
    "socket": lambda path: os.mknod(path, stat.S_IFSOCK | 0o600),
}


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize("make", NO_FILES.values(), ids=list(NO_FILES))
def test_path_that_is_not_a_file_is_refused_by_name(kind, make, tmp_path):
    """Also a pipe without a writer, which a reader would wait for."""
    path = valid(tmp_path, kind)
    path.unlink()
    make(path)

    with pytest.raises(HarnessError) as refused:
        READERS[kind](path)

    assert says_what_to_do(refused.value, path.name)


@pytest.fixture(scope="module")
def run_folders(tmp_path_factory) -> list[Path]:
    """Folders of a check with a baseline, and of loads."""
    folder = tmp_path_factory.mktemp("runs")
    checked, before = broken(folder / "check"), healthy(folder / "before").rename(folder / "earlier")
    set_baseline(checked, read_side([before], baselines=folder))
    load = load_run(folder / "load", {"whoami": lognormal_seconds(0, seconds=6)})
    return [checked, loaded(folder / "loaded", seconds=6), load]


FILES_OF_RUNS: Final = st.tuples(st.sampled_from([0, 1, 2]), PLACES, DAMAGES)


@pytest.mark.parametrize(
    ("what", "name"),
    [("pipe", name) for name in RUN_FILES] + [("folder", "run.json"), ("endless device", "seconds.csv")],
)
def test_run_folder_with_a_part_that_is_not_a_file_is_handled(run_folders, tmp_path, name, what):
    """Without waiting for it: it is named as unreadable."""
    source = next(folder for folder in run_folders if (folder / name).is_file())
    folder = Path(shutil.copytree(source, tmp_path / source.name))
    (folder / name).unlink()
    NO_FILES[what](folder / name)

    read_in_time(lambda: read_run(folder), folder.name)
    invoke(["report", str(folder)], folder.name)


COMMAND_LINES: Final = (
    ("report", "{damaged}"),
    ("compare", "{whole}", "{damaged}"),
    ("facts", "--run", "{damaged}"),
    ("replay", "{damaged}", "--target", "{nowhere}"),
    ("verify", "{damaged}/exchanges.har", "--runs-folder", "{runs}"),
)


@pytest.mark.parametrize("arguments", COMMAND_LINES, ids=lambda arguments: arguments[0])
def test_command_on_a_damaged_run_folder_ends_with_a_message(run_folders, tmp_path_factory, arguments):
    proofs_by_fact()  # collects the suite once, outside of given, as its tests use given too

    @COMMANDS
    @given(where=FILES_OF_RUNS)
    def run(where):
        folder = with_damage(run_folders, tmp_path_factory, where)
        words = {"damaged": folder, "whole": run_folders[where[0]], "nowhere": folder / "none.toml"}
        invoke([each.format(**words, runs=folder / "runs") for each in arguments], folder.name, "none.toml")

    run()


def invoke(arguments: list[str], *names: str) -> None:
    """Run a command in this process, as ``main`` would; an error must name one of these files."""
    began_s = time.process_time()
    ended = CliRunner().invoke(cli, arguments)
    if isinstance(ended.exception, HarnessError):
        assert says_what_to_do(ended.exception, *names)
    elif isinstance(ended.exception, SystemExit):
        assert ended.exit_code in set(ExitCode)
    elif ended.exception is not None:
        raise ended.exception
    assert "Traceback" not in ended.output
    assert not IS_LONG or time.process_time() - began_s < WITHIN_S


def with_damage(
    run_folders: list[Path], tmp_path_factory: pytest.TempPathFactory, where: tuple[int, int, list[Damage]]
) -> Path:
    """Copy a run folder, and damage one file of the copy."""
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
