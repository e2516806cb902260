"""The provided CI pipelines: examples to copy, a GitHub action, a GitLab component."""

import re
from pathlib import Path

import pytest
import yaml
from checking import BASH, run_program

from knouds_harness.commands.cli import command_named

ROOT = Path(__file__).parents[2]
CI = ROOT / "docs" / "ci"
PIPELINES = sorted(CI.glob("*.yml"))
ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
COMPONENT = ROOT / "templates" / "check.yml"
WORKFLOWS = [*PIPELINES, ROOT / "action.yml", *ROOT.glob(".github/workflows/*.yml")]


@pytest.mark.parametrize("path", PIPELINES, ids=lambda path: path.name)
def test_pipeline_is_valid_and_uses_existing_commands(path):
    text = path.read_text(encoding="utf-8")
    assert yaml.safe_load(text)

    calls = re.findall(r"knouds-harness (\w+)((?: --[\w-]+(?: [\w.]+)?)*)", text)

    assert calls
    for command, options in calls:
        known = {name for parameter in command_named(command).params for name in parameter.opts}
        assert set(re.findall(r"--[\w-]+", options)) <= known


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned_by_commit(path):
    """A tag can be moved; the version is in a comment."""
    used = re.findall(r"uses: ((?!\./).*)", path.read_text(encoding="utf-8"))

    assert [each for each in used if not re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v[\d.]+", each)] == []


@pytest.mark.parametrize(
    "path", [*PIPELINES, COMPONENT, ROOT / "action.yml", ROOT / "Containerfile"], ids=lambda path: path.name
)
def test_harness_is_installed_with_what_its_lock_says(path):
    """By name it could be anyone's package, and the newest of a dependency anyone's code."""
    text = path.read_text(encoding="utf-8")

    assert not re.search(r'pip"? install', text)
    assert re.findall(r"python\"? -P \"?[^ ]*/\.ci/install\.py", text)


@pytest.mark.parametrize("path", [*PIPELINES, COMPONENT, CI / "nightly.sh"], ids=lambda path: path.name)
def test_pipeline_keeps_keys_to_listed_hosts(path):
    """The list is set beside the keys, not in the repository, and a missing one is no list of all hosts."""
    text = path.read_text(encoding="utf-8")

    assert "${{ vars.KNOUDS_HARNESS_HOSTS }}" in text or "${KNOUDS_HARNESS_HOSTS:?" in text


@pytest.mark.parametrize("name", ["github-actions.yml", "gitlab-ci.yml"])
def test_pull_request_gets_no_key(name):
    """It may change the profile, so it is checked on the sandbox."""
    text = (CI / name).read_text(encoding="utf-8")

    assert '--target "$TARGET"' in text
    if name.startswith("github"):
        keys = re.findall(r"(\w+): \$\{\{ (.*) secrets\.\w+ \|\| '' \}\}", text)
        assert keys == [("STAGING_KEY", "github.event_name != 'pull_request' &&")]
        assert text.count("secrets.") == 1
        assert "TARGET: ${{ github.event_name == 'pull_request' && 'sandbox' || 'staging' }}" in text
    else:
        first, *_ = yaml.safe_load(text)["contract"]["rules"]
        assert first == {
            "if": '$CI_PIPELINE_SOURCE == "merge_request_event"',
            "variables": {"TARGET": "sandbox"},
        }


# -- the action's own step, in bash, with a harness that records how it is called

STUB = """\
#!/bin/bash
printf '%s\\n' "$@" >called
echo "${KNOUDS_HARNESS_HOSTS-not set}" >hosts
mkdir -p reports/runs/20260102T000000Z-check-staging
exit "${STUB_EXIT:-0}"
"""


@pytest.fixture
def run_step(tmp_path):
    """Run the step; return the exit code, how the harness was called, and the outputs."""
    [step] = [step for step in ACTION["runs"]["steps"] if step.get("id") == "run"]
    command = tmp_path / "temp" / "knouds-harness" / "bin" / "knouds-harness"
    command.parent.mkdir(parents=True)
    command.write_text(STUB)
    command.chmod(0o700)
    (tmp_path / "reports" / "runs" / "20260101T000000Z-check-staging").mkdir(parents=True)

    def run(*, stub_exit=0, is_fork="", **inputs):
        values = {name: given["default"] for name, given in ACTION["inputs"].items()} | inputs
        variables = {
            name: re.sub(r"\$\{\{ inputs\.([\w-]+) \}\}", lambda found: values[found[1]], value)
            for name, value in step["env"].items()
        }
        outputs = tmp_path / "outputs"
        variables |= {"IS_FORK": is_fork, "STUB_EXIT": str(stub_exit)}
        variables |= {"RUNNER_TEMP": str(tmp_path / "temp"), "GITHUB_OUTPUT": str(outputs)}
        process = run_program(*BASH, step["run"], cwd=tmp_path, **variables)
        assert not process.stderr
        return process.returncode, (tmp_path / "called").read_text().splitlines(), outputs.read_text()

    return run


def test_action_passes_its_inputs_unchanged(run_step):
    args = "--rate 5 --objective 'runWorkflow p95 < 300ms' $(touch/x) *"

    _, called, _ = run_step(command="load reads", target="staging", args=args)

    assert called == [
        *("load", "reads", "--target", "staging", "--rate", "5"),
        *("--objective", "runWorkflow p95 < 300ms", "$(touch/x)", "*"),
    ]


def test_action_checks_pull_requests_of_forks_on_the_sandbox(run_step):
    """Also where a workflow gives them secrets, as pull_request_target does."""
    assert run_step(target="staging", is_fork="true")[1] == ["check", "--target", "sandbox"]
    assert run_step(target="staging", is_fork="false")[1] == ["check", "--target", "staging"]


@pytest.mark.parametrize(("hosts", "seen"), [("staging.example.com", "staging.example.com"), ("", "not set")])
def test_action_lists_the_hosts_that_keys_may_go_to(run_step, tmp_path, hosts, seen):
    run_step(hosts=hosts)

    assert (tmp_path / "hosts").read_text().strip() == seen


@pytest.mark.parametrize("stub_exit", [0, 1, 5])
def test_action_has_the_harness_exit_code_and_names_the_run(run_step, stub_exit):
    code, _, outputs = run_step(stub_exit=stub_exit)

    assert code == stub_exit
    assert outputs.splitlines() == [
        "run=reports/runs/20260102T000000Z-check-staging",
        f"exit-code={stub_exit}",
    ]
