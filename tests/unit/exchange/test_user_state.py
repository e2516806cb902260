"""The user's secret is made once, for the user alone; runs on one account of a target wait for each other."""

import stat
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from example_targets import make_target

from knouds_harness.errors import UsageError
from knouds_harness.exchange.user_state import alone_on, user_secret
from knouds_harness.locations import builtin_targets_path


@pytest.fixture(autouse=True)
def file(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    return tmp_path / "knouds-harness" / "secret"


def test_secret_is_made_once_for_its_owner_alone(file):
    secret = user_secret()

    assert secret == user_secret() == file.read_bytes()
    assert len(secret) == 32
    assert [stat.S_IMODE(each.stat().st_mode) for each in (file, file.parent)] == [0o600, 0o700]
    assert list(file.parent.iterdir()) == [file]


def test_secret_is_in_the_home_folder_without_an_absolute_data_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", "data")
    monkeypatch.setenv("HOME", str(tmp_path))

    user_secret()

    assert (tmp_path / ".local/share/knouds-harness/secret").is_file()


@pytest.mark.parametrize(
    ("length", "mode"), [(32, 0o640), (32, 0o604), (32, 0o620), (0, 0o600), (31, 0o600), (33, 0o600)]
)
def test_secret_that_others_may_read_or_of_another_length_is_refused(file, length, mode):
    file.parent.mkdir()
    file.write_bytes(b"s" * length)
    file.chmod(mode)

    with pytest.raises(UsageError, match="mode 600"):
        user_secret()


@pytest.mark.parametrize("to", ["known", "missing"])
def test_link_is_not_followed(file, tmp_path, to):
    file.parent.mkdir()
    (tmp_path / "known").write_bytes(b"s" * 32)
    (tmp_path / "known").chmod(0o600)
    file.symlink_to(tmp_path / to)

    with pytest.raises(UsageError):
        user_secret()
    assert not (tmp_path / "missing").exists()


def test_home_that_cannot_be_written_is_named_and_locks_nothing(monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", "/proc")

    with pytest.raises(UsageError, match="/proc/knouds-harness/secret: "):
        user_secret()
    with alone_on(make_target(), pytest.fail):
        pass


HOLDS = """
import sys
sys.path.insert(0, {support!r})
from example_targets import make_target
from knouds_harness.exchange.user_state import alone_on
with alone_on(make_target(), print):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def other_run():
    """Hold the target of ``make_target`` in another process."""
    script = HOLDS.format(support=str(Path(make_target.__code__.co_filename).parent))
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def test_second_run_says_that_it_waits_and_goes_on_after_the_first():
    said = []

    with other_run() as process:

        def tell(line):
            said.append(line)
            process.kill()

        with alone_on(make_target(), tell):
            assert process.wait() < 0

    uses = 'uses account "ada" of https://staging.example.com; waiting'
    assert said == [f"another knouds-harness run (process {process.pid}) {uses}"]


def test_runs_on_different_accounts_do_not_wait():
    """Nor does a run within a run wait for itself."""
    target = make_target()
    other_server = replace(target, base_url="https://other.example.com")
    personas = {name: replace(each, user="pia") for name, each in target.personas.items()}
    other_account = replace(target, personas=personas)

    with other_run(), ExitStack() as runs:
        for each in (other_server, other_account, other_server):
            runs.enter_context(alone_on(each, pytest.fail))


def test_built_in_sandbox_is_never_locked(file):
    target = replace(make_target(), source=builtin_targets_path() / "sandbox.toml")

    with alone_on(target, pytest.fail):
        assert not file.parent.exists()
