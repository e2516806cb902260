"""Files are written by one module, which follows no link and takes no path for a name."""

import ast
import os
import re
import stat
from contextlib import suppress
from pathlib import Path
from unittest.mock import Mock

import pytest

from knouds_harness.files import append_to_file, create_file, new_file, new_text_file, replace_file

SOURCE = Path(__file__).parents[2] / "src"
OTHER_WRITERS = {
    "knouds_harness/files.py": "is the one module",
    "knouds_harness/exchange/user_state.py": "locks a file of the user's data folder, which stays",
    "knouds_harness/commands/cli.py": "opens the null device in place of standard streams that are closed",
}
WRITES = {
    "replace_file": lambda folder, name: replace_file(folder, name, b"new"),
    "create_file": lambda folder, name: create_file(folder, name, b"new"),
    "append_to_file": lambda folder, name: append_to_file(folder, name, b"new"),
    "new_file": lambda folder, name: new_file(folder, name).close(),
    "new_text_file": lambda folder, name: new_text_file(folder, name).close(),
}
OVERWRITES = sorted(WRITES.keys() - {"create_file"})


@pytest.fixture(params=["in the opened folder", "by path"])
def folder(request, tmp_path, monkeypatch):
    if request.param == "by path":  # as on Windows
        monkeypatch.setattr(os, "supports_dir_fd", set())
    folder = tmp_path / "folder"
    folder.mkdir()
    return folder


def test_file_is_replaced_whole(folder):
    replace_file(folder, "a.txt", b"old and long")
    replace_file(folder, "a.txt", b"new")

    assert (folder / "a.txt").read_bytes() == b"new"
    assert [each.name for each in folder.iterdir()] == ["a.txt"]


def test_file_is_created_once_and_appended_to(folder):
    create_file(folder, "a.txt", b"first\n", mode=0o600)
    append_to_file(folder, "b.txt", b"", mode=0o600)
    with pytest.raises(FileExistsError):
        create_file(folder, "a.txt", b"second")
    append_to_file(folder, "a.txt", b"third\n")

    assert (folder / "a.txt").read_bytes() == b"first\nthird\n"
    assert {each.name: stat.S_IMODE(each.stat().st_mode) for each in folder.iterdir()} == {
        "a.txt": 0o600,
        "b.txt": 0o600,
    }


def test_open_file_is_empty_and_gets_each_line_at_once(folder):
    replace_file(folder, "a.csv", b"old")
    with new_text_file(folder, "a.csv") as file:
        file.write("é\n")

        assert (folder / "a.csv").read_bytes() == "é\n".encode()


@pytest.mark.parametrize("write", OVERWRITES)
@pytest.mark.parametrize("is_there", [True, False], ids=["to a file", "to nothing"])
def test_link_is_refused(folder, write, is_there):
    elsewhere = folder.parent / "authorized_keys"
    if is_there:
        elsewhere.write_bytes(b"mine")
    (folder / "a.txt").symlink_to(elsewhere)

    with pytest.raises(OSError, match="it is a link"):
        WRITES[write](folder, "a.txt")

    assert elsewhere.exists() == is_there
    assert not is_there or elsewhere.read_bytes() == b"mine"
    assert [each.name for each in folder.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("write", OVERWRITES)
def test_hard_link_leaves_the_other_file_as_it_is(folder, write, tmp_path):
    """It cannot be told from a file of the folder but by its second name."""
    mine = tmp_path / "mine"
    mine.write_bytes(b"mine")
    os.link(mine, folder / "a.txt")

    with suppress(OSError):
        WRITES[write](folder, "a.txt")

    assert mine.read_bytes() == b"mine"


@pytest.mark.parametrize("write", OVERWRITES)
def test_link_that_is_put_there_meanwhile_is_not_followed(folder, write, monkeypatch):
    """After the look at what is there."""
    elsewhere = folder.parent / "authorized_keys"
    elsewhere.write_bytes(b"mine")
    regular = elsewhere.stat()
    (folder / "a.txt").symlink_to(elsewhere)
    monkeypatch.setattr(os, "stat", lambda *_, **__: regular)

    with suppress(OSError):
        WRITES[write](folder, "a.txt")

    assert elsewhere.read_bytes() == b"mine"


@pytest.mark.parametrize("write", OVERWRITES)
def test_pipe_is_refused(folder, write):
    os.mkfifo(folder / "a.txt")

    with pytest.raises(OSError, match="it is a folder, pipe, socket or device"):
        WRITES[write](folder, "a.txt")


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("../a.txt", "slash"),
        ("/tmp/a.txt", "slash"),  # noqa: S108 - is refused
        ("a\\b.txt", "slash"),
        ("a\0.txt", "control character"),
        ("a\n.txt", "control character"),
        ("", "empty"),
        ("..", "dot"),
        (".bashrc", "dot"),
        ("é" * 101, "longer than 200 bytes"),
    ],
)
def test_name_that_is_no_plain_name_is_refused(folder, name, why):
    for write in WRITES.values():
        with pytest.raises(OSError, match=why):
            write(folder, name)

    assert list(folder.iterdir()) == []
    assert list(folder.parent.iterdir()) == [folder]


def test_folder_may_be_a_link_that_the_user_names(folder):
    (folder.parent / "link").symlink_to(folder)

    replace_file(folder.parent / "link", "a.txt", b"new")

    assert (folder / "a.txt").read_bytes() == b"new"


def test_failed_write_leaves_nothing(folder, monkeypatch):
    replace_file(folder, "a.txt", b"old")
    monkeypatch.setattr(os, "replace", Mock(side_effect=OSError))

    with pytest.raises(OSError):  # noqa: PT011 - as above
        replace_file(folder, "a.txt", b"new")

    assert [each.read_bytes() for each in folder.iterdir()] == [b"old"]


_WRITER = re.compile(
    r"\.(write_text|write_bytes|touch|renames?|symlink(_to)?|hardlink_to|copyfile|copy2|copytree|mkfifo)\b"
    r"|\b(mkstemp|NamedTemporaryFile|FileHandler|ZipFile)\("
    r"|\bos\.(replace|link)\b|\bshutil\.(copy|move)\b|from (os|shutil) import .*\b(replace|link|copy|move)\b"
    r"|\bO_(WRONLY|RDWR|CREAT|APPEND|TRUNC|TMPFILE)\b"
    r"|\b(open|fdopen|FileIO)\(.*('(?=\w*[wax+])[rwaxbt+]+'|\bmode\b)"
)


def writes(source: str) -> list[str]:
    """Return the lines of a module, without comments and breaks, that may write a file with a name."""
    return [line for line in ast.unparse(ast.parse(source)).splitlines() if _WRITER.search(line)]


WAYS_TO_WRITE = """
open('a', 'w')
open('a', mode='xb')
path.open('ab', buffering=0)
path.open('r+')
path.open('w' if force else 'x')
open(path, mode)
os.fdopen(descriptor, 'wb')
io.open('a', 'a')
os.open(path, os.O_WRONLY | os.O_CREAT)
path.write_text(text)
write = path.write_bytes
os.replace(part, path)
part.rename(path)
shutil.copyfile(a, b)
from shutil import move
from os import replace
logging.FileHandler('a')
tempfile.NamedTemporaryFile()
FileIO(path, 'w')
"""
OTHER_CALLS = """
path.open('rb')
path.open(encoding='utf-8-sig', newline='')
os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
text.replace('a', 'b')
stream.write(text)
RecordingFolder.open(folder, contract_version=version)
"""


def test_rule_knows_ways_to_write_and_leaves_other_calls_alone():
    assert writes(WAYS_TO_WRITE) == WAYS_TO_WRITE.split("\n")[1:-1]
    assert writes(OTHER_CALLS) == []


def test_only_one_module_writes_files():
    found = {
        path.relative_to(SOURCE).as_posix(): writes(path.read_text(encoding="utf-8"))
        for path in SOURCE.rglob("*.py")
    }

    assert {name: lines for name, lines in found.items() if lines and name not in OTHER_WRITERS} == {}
    assert all(found[name] for name in OTHER_WRITERS)
