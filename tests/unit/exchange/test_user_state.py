"""The user's secret: made once, for the user alone, and never followed elsewhere."""

import stat

import pytest

from knouds_harness.errors import UsageError
from knouds_harness.exchange.user_state import user_secret


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    return tmp_path / "knouds-harness/secret"


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


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_secret_that_others_may_read_is_refused(file, mode):
    file.parent.mkdir()
    file.write_bytes(b"s" * 32)
    file.chmod(mode)

    with pytest.raises(UsageError, match="mode 600"):
        user_secret()


@pytest.mark.parametrize("content", [b"", b"s" * 31, b"s" * 33])
def test_short_or_long_secret_is_refused(file, content):
    file.parent.mkdir()
    file.write_bytes(content)
    file.chmod(0o600)

    with pytest.raises(UsageError):
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


def test_home_that_cannot_be_written_is_named(monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", "/proc")

    with pytest.raises(UsageError, match="/proc/knouds-harness/secret: "):
        user_secret()
