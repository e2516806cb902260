"""Load as an ordinary user, who may write only into their own folders."""

import os
import pwd
import shutil
import sys
from pathlib import Path

import pytest
from checking import run_program
from example_targets import write_profile

from knouds_harness.errors import ExitCode

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() == 0 and not shutil.which("setpriv"), reason="root needs setpriv"),
]


def devices():
    return {path.name for path in Path("/dev").iterdir() if path.is_file() or path.suffix}


@pytest.fixture
def desk(sandbox):
    folder = Path("/tmp") / f"ordinary-user-{os.getpid()}"  # noqa: S108 - where others may enter, unlike pytest's
    folder.mkdir(mode=0o755)
    write_profile(folder, sandbox)
    (folder / "objectives.toml").write_text("[reads]\n")
    if os.geteuid() == 0:
        owner = pwd.getpwnam("nobody")
        for path in (folder, *folder.iterdir()):
            os.chown(path, owner.pw_uid, owner.pw_gid)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.nightly
@pytest.mark.parametrize(
    "asked", [("--rate", "20", "--duration", "2s"), ("--find-capacity", "--duration", "2s", "--up-to", "12")]
)
def test_load_needs_no_special_rights(desk, asked):
    """It ends with its own verdict and a complete record, and writes nothing to /dev."""
    before = devices()

    done = _run(
        *(sys.executable, "-m", "knouds_harness", "load", "reads", "--target", str(desk / "by-hand.toml")),
        *("--runs-folder", str(desk / "runs"), "--quiet", *asked),
        cwd=desk,
    )

    assert done.returncode in {ExitCode.KEPT, ExitCode.BREACH, ExitCode.INVALID_MEASUREMENT}, done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert len(list((desk / "runs").glob("*-load-*/report.html"))) == 1
    assert devices() == before


def _run(*command, cwd):
    """Run as ``nobody`` with read access to all (root may own the interpreter); if not root, as we are."""
    if os.geteuid() == 0:
        owner = pwd.getpwnam("nobody")
        who = ("--reuid", str(owner.pw_uid), "--regid", str(owner.pw_gid), "--clear-groups")
        reads = ("--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search")
        command = ("setpriv", *who, *reads, *command)
    return run_program(*command, cwd=cwd, HOME=str(cwd), PYTHONDONTWRITEBYTECODE="1")
