"""``--plan-only`` of ``check`` and ``record``: what would be sent, and nothing is."""

import socket

import pytest
from click.testing import CliRunner
from example_targets import write_profile

from knouds_harness.commands.cli import cli
from knouds_harness.errors import ExitCode
from knouds_sandbox.serving import running_sandbox


@pytest.fixture
def listener():
    """Somebody who would notice."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


@pytest.fixture
def profile(tmp_path, listener):
    """Of the listener, which may spend 50 credits."""
    with running_sandbox() as sandbox:
        path = write_profile(
            tmp_path,
            sandbox,
            base_url=f"http://127.0.0.1:{listener.getsockname()[1]}",
            limits='allow = ["read", "run"]\ncredits = 50',
        )
    return str(path)


@pytest.mark.parametrize("command", ["check", "record"])
def test_plan_is_printed_and_nothing_is_sent(command, profile, listener, tmp_path):
    """What is sent how often, with which keys, to which resources, and what it costs."""
    more = ["--folder", str(tmp_path / "recordings")] if command == "record" else []

    ended = CliRunner().invoke(cli, [command, "--target", profile, "--plan-only", *more])

    assert ended.exit_code == ExitCode.KEPT, ended.output
    assert "getWhoami 1" in ended.output
    assert "read (getWhoami" in ended.output
    assert "write (" not in ended.output
    assert "keys    of full, none" in ended.output
    assert "gpt-image-2" in ended.output
    assert "costs   likely up to" in ended.output
    assert "costs   at most 50 credits" in ended.output
    assert "the server is asked what" in ended.output
    assert not (tmp_path / "recordings").exists()
    with pytest.raises(BlockingIOError):
        listener.accept()


def test_plan_is_of_what_is_asked_for(profile):
    options = ["check", "--target", profile, "--plan-only", "--family", "usage", "--credits", "7"]

    ended = CliRunner().invoke(cli, options)

    assert "usage " in ended.output
    assert "authentication" not in ended.output
    assert "costs   at most 7 credits" in ended.output
