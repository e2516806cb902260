"""The deployment files and the pages: Locust and the plugin accept the commands in them."""

import re
import shlex
from pathlib import Path
from typing import Any

import load_workload
import pytest
import yaml

from knouds_harness.locations import scenarios_path
from knouds_harness.targets.profile import load_target

FILES = Path(__file__).parents[3] / "docs" / "distributed"
SHOWN = [
    line
    for page in sorted(FILES.parent.glob("*.md"))
    for line in re.findall(
        r"^\w*\$ locust (.*)", page.read_text(encoding="utf-8").replace(" \\\n", " "), re.MULTILINE
    )
]
BY_THE_OPERATOR = {
    "master": "--master --master-port=5557 --expect-workers=20 --autostart --autoquit 0 "
    "--enable-rebalancing --only-summary",
    "worker": "--worker --master-port=5557 --master-host=sync-runs-master",
}
"""What the operator adds to a command, by its source (internal/resources/command.go, 2.3.0)."""


def commands() -> dict[str, str]:
    services = yaml.safe_load((FILES / "compose.yaml").read_text())["services"]
    test = yaml.safe_load((FILES / "locust-test.yaml").read_text())["spec"]
    return {
        "compose master": services["master"]["command"].replace("${WORKERS:-4}", "4"),
        "compose worker": services["worker"]["command"],
        **{f"operator {role}": f"{test[role]['command']} {more}" for role, more in BY_THE_OPERATOR.items()},
    }


def parsed(command: str) -> Any:
    return load_workload.parsed(*shlex.split(command, comments=True))


@pytest.mark.parametrize("name", commands())
def test_deployed_command_is_valid(name):
    options = parsed(commands()[name])

    scenario = Path(options.locustfile)
    assert scenario.parent == Path("/load")
    assert (scenarios_path() / scenario.name).is_file()


@pytest.mark.parametrize("name", [name for name in commands() if name.endswith("master")])
def test_master_keeps_a_record_and_waits_for_all_workers(name):
    """Otherwise figures would be lost, or load would begin without some of its workers."""
    options = parsed(commands()[name])

    assert options.record
    assert options.expect_workers > 1
    assert options.headless or options.autoquit == 0


@pytest.mark.parametrize("name", [name for name in commands() if name.endswith("master")])
def test_profile_can_allow_the_users_of_the_command(name, tmp_path):
    users = parsed(commands()[name]).num_users
    profile = tmp_path / "large.toml"
    profile.write_text(f'base_url = "https://x.example"\n[limits]\nconcurrency = {users}\n')

    assert load_target(str(profile)).limits.concurrency == users


@pytest.mark.parametrize("line", SHOWN)
def test_command_on_a_page_is_valid(line):
    scenario = Path(parsed(line).locustfile)

    assert (scenarios_path() / scenario.name).is_file()
