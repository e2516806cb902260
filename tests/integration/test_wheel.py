"""The installed harness: from a wheel, in an empty folder, without a checkout."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from checking import run_program

from knouds_sandbox.serving import running_sandbox

CHECKOUT = Path(__file__).parents[2]
PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))
BUILDS = PROJECT["tool"]["hatch"]["build"]["targets"]


@pytest.fixture(scope="module")
def distributions(tmp_path_factory):
    """Wheel and source distribution, built from the checkout and again from that source distribution."""
    folder = tmp_path_factory.mktemp("distributions")
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "1767225600"}
    source = CHECKOUT
    for name in ("first", "second"):
        command = [sys.executable, "-m", "hatchling", "build", "--directory", str(folder / name)]
        subprocess.run(command, cwd=source, env=environment, check=True, capture_output=True)
        [archive] = (folder / name).glob("*.tar.gz")
        shutil.unpack_archive(archive, folder / f"{name}-source", filter="data")
        [source] = (folder / f"{name}-source").iterdir()
    return folder


@pytest.fixture(scope="module")
def installed(distributions):
    """A folder with what a wheel installs; it comes first on the path of a process."""
    [wheel] = (distributions / "first").glob("*.whl")
    shutil.unpack_archive(wheel, distributions / "site", "zip")
    return distributions / "site"


def test_wheel_and_source_distribution_are_reproducible(distributions):
    """Built again from the source distribution they are equal to the byte, and valid for PyPI."""
    first, second = (
        {path.name: path.read_bytes() for path in (distributions / folder).iterdir()}
        for folder in ("first", "second")
    )
    twine = (sys.executable, "-m", "twine", "check", "--strict")
    checked = run_program(*twine, *(distributions / "first").iterdir())

    assert {Path(name).suffix for name in first} == {".whl", ".gz"}
    assert first == second
    assert checked.returncode == 0, checked.stdout + checked.stderr


def files_of(folder, *, under=""):
    """Return the files of a checkout below a folder (or that file), as paths that begin with ``under``."""
    paths = [folder] if folder.is_file() else [path for path in folder.rglob("*") if path.is_file()]
    kept = [path for path in paths if "__pycache__" not in path.parts]  # others may be writing there
    return {str(Path(under) / path.relative_to(folder)) for path in kept}


def test_wheel_holds_only_the_package_and_its_data(distributions):
    shipped = BUILDS["wheel"]["force-include"]
    expected = files_of(CHECKOUT / "src")
    for source, place in shipped.items():
        expected |= files_of(CHECKOUT / source, under=place)
    [wheel] = (distributions / "first").glob("*.whl")

    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}

    assert names == expected


def test_source_distribution_holds_only_sources_of_the_wheel(distributions):
    expected = {"pyproject.toml", "README.md", "LICENSE", ".gitignore", "PKG-INFO"}
    for each in BUILDS["sdist"]["only-include"]:
        expected |= files_of(CHECKOUT / each, under=each)
    [folder] = (distributions / "first-source").iterdir()

    assert files_of(folder) == expected


def run_installed(installed, cwd, *arguments, **variables):
    return run_program(
        sys.executable, *arguments, cwd=cwd, PYTHONPATH=str(installed), NO_COLOR="1", **variables
    )


def test_check_runs_from_the_wheel(installed, tmp_path):
    process = run_installed(
        installed, tmp_path, "-m", "knouds_harness", "check", "--family", "authentication", "--seed", "1"
    )

    assert "Contract kept" in process.stdout
    assert process.returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["reports"]


EXTRAS = ("pytest", "_pytest", "hypothesis", "schemathesis", "locust", "gevent", "greenlet", "hdrh")


def without(*modules):
    """Return the beginning of a program for which these modules are not installed."""
    return f"""
import sys
sys.modules.update(dict.fromkeys({modules}))  # importing one raises ModuleNotFoundError
from importlib import util
real = util.find_spec
util.find_spec = lambda name, *more: None if name in {modules} else real(name, *more)
"""


LIGHT = without(*EXTRAS)
MAIN = "from knouds_harness.commands.cli import main; main()"


def test_base_imports_nothing_of_the_extras(installed, tmp_path):
    """The public interface, the sandbox, and a HAR file of its traffic that ``verify`` judges."""
    program = f"""{LIGHT}
from pathlib import Path
from knouds_harness.testing import Request, load_recordings, open_client
with open_client("sandbox", evidence=Path("client.har")) as client:
    answer = client.send(Request(method="GET", path="/api/whoami", persona="full"))
    print(answer.status, len(load_recordings()))
"""
    sent = run_installed(installed, tmp_path, "-c", program)
    verified = run_installed(installed, tmp_path, "-c", LIGHT + MAIN, "verify", "client.har")
    listed = run_installed(installed, tmp_path, "-c", LIGHT + MAIN, "facts", "auth.revoked-key-is-401")

    assert sent.stdout.startswith("200 "), sent.stderr
    assert (verified.returncode, listed.returncode) == (0, 0), verified.stderr + listed.stderr
    assert "known with pip install '.[check]' in the project's folder" in listed.stdout


@pytest.mark.parametrize(("command", "extra"), [("check", "check"), ("doctor", "check"), ("load", "load")])
def test_command_without_its_part_says_what_to_install(installed, tmp_path, command, extra):
    """Also where pytest is installed, as for the tests of a client."""
    process = run_installed(installed, tmp_path, "-c", without(*EXTRAS[2:]) + MAIN, command)

    told = f"error: {command} needs a part that is not installed: pip install '.[{extra}]' in its folder\n"
    assert (process.stderr, process.returncode) == (told, 2)


def test_schemathesis_finds_configuration_and_checks_in_the_wheel(installed, tmp_path):
    shipped = installed / "knouds_harness" / "shipped"
    program = "import sys; from schemathesis.cli import schemathesis; sys.exit(schemathesis())"
    with running_sandbox(seed=1, faults=("whoami-lacks-email",)) as sandbox:
        variables = {"KNOUDS_API_KEY": sandbox.keys["full"], "KNOUDS_WORKFLOW": "portrait"}
        process = run_installed(
            installed,
            tmp_path,
            *("-c", program, "--config-file", str(shipped / "schemathesis.toml")),
            *("run", str(shipped / "openapi.yaml"), "--url", sandbox.base_url),
            *("--phases", "examples", "--include-operation-id", "getWhoami"),
            **variables,
        )

    assert "`knouds_schemas_body`" in process.stdout
    assert process.returncode == 1


def test_client_example_of_the_guide_runs_in_its_own_project(installed, tmp_path):
    """Its tests pass with the recordings of the wheel, without our plugin and without a network."""
    page = (CHECKOUT / "docs" / "record.md").read_text(encoding="utf-8")
    [(name, text)] = re.findall(r"```python\n# (\S+)\n(.*?)```", page, re.DOTALL)
    (tmp_path / "pyproject.toml").write_text("[tool.pytest.ini_options]\n", encoding="utf-8")
    (tmp_path / name).write_text(text, encoding="utf-8")

    process = run_installed(installed, tmp_path, "-m", "pytest", "--disable-socket", "-W", "error")

    assert "2 passed" in process.stdout
    assert process.returncode == 0
