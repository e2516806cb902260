"""The current folder is data: nothing in it is run as code, read as configuration, or gets a key."""

import json
import sys
from dataclasses import replace
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from checking import knouds, run_program
from raw_server import always, serving
from run_records import TARGET, exchange, finding, start

KNOUDS = Path(sys.executable).with_name("knouds-harness")
KEY = "knouds_live_of_another_target_0123"
OPTION_VALUES = ("sandbox", "authentication", "auth.revoked-key-is-401")
PROFILE = """base_url = "{url}"
[keys.full]
secret_env = "OTHER_KEY"
capabilities = ["workflow:read"]
user = "ada"
tier = "enterprise"
"""
CONFIGURATION = {
    "pytest.ini": "[pytest]\naddopts = -p conftest\n",
    ".pytest.ini": "[pytest]\naddopts = -p conftest\n",
    "pytest.toml": '[pytest]\naddopts = ["-p", "conftest"]\n',
    "tox.ini": "[pytest]\naddopts = -p conftest\n",
    "setup.cfg": "[tool:pytest]\naddopts = -p conftest\n",
    "pyproject.toml": '[tool.pytest.ini_options]\naddopts = "-p conftest"\n',
    "schemathesis.toml": "is = no = toml",
    ".coveragerc": "[run]\nplugins = conftest\n",
    ".env": "KNOUDS_SANDBOX_URL=http://127.0.0.1:9\n",
    ".netrc": "machine 127.0.0.1 login a password b\n",
}
LISTS_ITS_ENVIRONMENT = """
import os, pathlib
from locust import events, task
from knouds_harness.load.plugin import install
from knouds_harness.load.scenario import ScenarioUser

install(events)
pathlib.Path("seen").write_text(" ".join(os.environ))

class Reader(ScenarioUser):
    @task
    def read(self):
        self.call("getHealth", "/api/health", is_public=True)
"""


@pytest.fixture(scope="module")
def foreign(tmp_path_factory):
    """A folder with a trap for every module that can be imported, and configuration that loads one."""
    folder = tmp_path_factory.mktemp("foreign")
    trap = f"open({str(folder / 'ran')!r}, 'a').write(__file__ + '\\n')\n"
    modules = {
        *sys.stdlib_module_names,
        *packages_distributions(),
        "conftest",
        "sitecustomize",
        "usercustomize",
    }
    for name in modules:
        (folder / f"{name}.py").write_text(trap)
    for name, text in CONFIGURATION.items():
        (folder / name).write_text(text)
    for name in OPTION_VALUES:  # pytest may take an option's value for a folder of tests
        (folder / name).mkdir()
        (folder / name / "conftest.py").write_text(trap)
        (folder / name / "test_trap.py").write_text(trap)
    return folder


def write_run(folder, base_url):
    """Write a run on this address that found something, and left a workflow behind."""
    with start(folder.parent, target=replace(TARGET, name="staging", base_url=base_url)) as writer:
        shown = replace(exchange(1, "getWhoami", status=500, body={}), url=f"{base_url}/api/whoami")
        writer.add_exchange(shown)
        writer.add_finding(finding(shown, "whoami.user-object"))
        writer.finish("broken", 1)
    writer.folder.rename(folder)
    text = "Harness 0123456789ab draft"
    events = (
        {"event": "run", "target": "staging", "base_url": base_url},
        {"event": "sending", "number": 1, "user": "ada", "token": text[8:20], "member": "name", "text": text},
    )
    (folder / "created.jsonl").write_text("".join(f"{json.dumps(each)}\n" for each in events))


def run(foreign, *arguments):
    return run_program(KNOUDS, *arguments, cwd=foreign)


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "--target", OPTION_VALUES[0], "--family", OPTION_VALUES[1], "--fact", OPTION_VALUES[2]),
        ("doctor",),
        ("load", "reads", "--users", "2", "--duration", "1s", "--processes", "2", "--verify", "1"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_nothing_in_the_current_folder_is_executed(foreign, arguments):
    """Locust would look there before all else for what is imported once it has read a scenario."""
    process = run(foreign, *arguments)

    assert process.returncode in ({0, 5} if arguments[0] == "load" else {0}), process.stdout + process.stderr
    assert not (foreign / "ran").exists()


def test_modules_beside_a_locust_file_of_ones_own_come_last(tmp_path):
    """It imports those that have a name of their own, and no other comes in the place of an installed one."""
    (tmp_path / "mine.py").write_text(LISTS_ITS_ENVIRONMENT + "import helper_of_mine\n")
    (tmp_path / "helper_of_mine.py").write_text("import pathlib\npathlib.Path('helped').touch()\n")
    for name in ("jsonschema_rs", "statistics", "httpcore", "locust_plugins"):
        (tmp_path / f"{name}.py").write_text("open('ran', 'a').write(__name__)\n")

    process = run(tmp_path, "load", "mine.py", "--users", "1", "--duration", "1s")

    assert process.returncode in {0, 5}, process.stdout + process.stderr
    assert (tmp_path / "helped").exists()
    assert not (tmp_path / "ran").exists()


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc to read an environment")
def test_sandbox_process_gets_no_secret_of_another_target(tmp_path, monkeypatch):
    monkeypatch.setenv("STAGING_KEY", KEY)
    program = (
        "import os, pathlib\n"
        "from knouds_harness.targets.builtin import target_environment\n"
        "with target_environment('sandbox'):\n"
        "    children = pathlib.Path(f'/proc/self/task/{os.getpid()}/children').read_text().split()\n"
        "    for each in children:\n"
        "        print(pathlib.Path(f'/proc/{each}/environ').read_text().replace('\\0', '\\n'))\n"
    )

    process = run_program(sys.executable, "-c", program, cwd=tmp_path)

    assert "KNOUDS_SANDBOX_SERVED_TOKEN=" in process.stdout
    assert KEY not in process.stdout


def test_processes_of_load_get_the_secrets_of_their_target_alone(tmp_path, monkeypatch):
    """A Locust file of the user may have variables of its own, whose names begin with ``LOCUST_``."""
    named = ("OTHER_KEY", "GATEWAY_TOKEN", "LOCUST_ITEM", "KNOUDS_HARNESS_HOSTS")
    others = ("STAGING_KEY", "GITHUB_TOKEN")
    for name in (*named, *others):
        monkeypatch.setenv(name, f"{KEY}_{name}")
    monkeypatch.setenv("KNOUDS_HARNESS_HOSTS", "127.0.0.1:9")
    (tmp_path / "targets").mkdir()
    gateway = '[http]\nheaders_env.X-Gateway = "GATEWAY_TOKEN"\n'
    (tmp_path / "targets" / "mine.toml").write_text(PROFILE.format(url="http://127.0.0.1:9") + gateway)
    (tmp_path / "mine.py").write_text(LISTS_ITS_ENVIRONMENT)

    process = run(tmp_path, "load", "mine.py", "--target", "mine", "--users", "1", "--plan-only")

    assert process.returncode == 0, process.stderr
    seen = set((tmp_path / "seen").read_text().split())
    assert seen >= set(named)
    assert seen.isdisjoint(others)


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "--target", "staging"),
        ("doctor", "--target", "staging"),
        ("load", "reads", "--target", "staging", "--users", "1", "--duration", "1s"),
        ("record", "--target", "staging", "--folder", "recordings", "--yes"),
        ("init", "--url", "{url}", "--key", "OTHER_KEY"),
        ("replay", "run", "--target", "staging"),
        ("cleanup", "--trust", "run", "--target", "staging"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_no_command_contacts_a_host_that_is_not_listed(tmp_path, monkeypatch, arguments):
    """As a pull request that changes ``base_url`` would have it."""
    monkeypatch.setenv("OTHER_KEY", KEY)
    monkeypatch.setenv("KNOUDS_HARNESS_HOSTS", "staging.example.com")
    (tmp_path / "targets").mkdir()
    with serving(always(b"{}")) as stranger:
        (tmp_path / "targets" / "staging.toml").write_text(PROFILE.format(url=stranger.base_url))
        write_run(tmp_path / "run", stranger.base_url)
        process = knouds(*(each.format(url=stranger.base_url) for each in arguments), cwd=tmp_path)

    assert stranger.connections == 0
    assert "is not among the hosts that keys may go to (KNOUDS_HARNESS_HOSTS)" in process.stderr
    assert process.returncode == 4


def test_listed_hosts_leave_the_built_in_sandbox_alone(tmp_path, monkeypatch):
    """Its keys are no secrets, so a job that has a list can still check it."""
    monkeypatch.setenv("KNOUDS_HARNESS_HOSTS", "staging.example.com")

    process = knouds("check", "--fact", "auth.missing-key-is-401", cwd=tmp_path)

    assert process.returncode == 0, process.stdout + process.stderr
