"""Exit codes of `knouds-harness load`, and the messages with them."""

import json

import pytest
from checking import sampled
from example_targets import free_port, write_profile
from loading import load, valid_load

from knouds_harness.errors import ExitCode

CLOSED = ("--users", "2", "--duration", "2s", "--quiet")


def test_missed_objective_ends_with_1_and_is_named_first(profile, runs, tmp_path):
    objectives = tmp_path / "objectives.toml"
    objectives.write_text('[reads."*"]\np50_ms = 0.000001\n')

    loaded = valid_load(runs, "reads", "--target", profile, "--objectives", str(objectives), *CLOSED)

    assert loaded.exit_code == ExitCode.BREACH
    assert loaded.out.strip().startswith("Objectives missed")
    summary = json.loads((loaded.record.folder / "summary.json").read_text())
    assert summary["verdict"].startswith("Objectives missed: ")
    assert summary["exit_code"] == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    sampled(
        [
            (("nothing",), 'no scenario "nothing"'),
            (("reads", "--abort-on", "p98=3"), "p98 is not a metric"),
            (("reads", "--target", "nowhere"), 'no target "nowhere"'),
            (("reads", "--", "--no-such-option"), "error: unrecognized arguments: --no-such-option\n"),
            (("reads", "--up-to", "9"), "--up-to belongs to --find-capacity"),
            (("reads", "--objective", "p98 < 3s"), "p98 is not a metric"),
            (("reads", "--objective", "getWhoam p95 < 3s"), 'Did you mean "getWhoami"?'),
            (("reads", "--plan-only", "--objective", "getWhoam p95 < 3s"), 'Did you mean "getWhoami"?'),
        ],
        every=8,
    ),
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_impossible_command_ends_with_2(runs, arguments, says):
    loaded = load(runs, *arguments)

    assert loaded.exit_code == ExitCode.USAGE
    assert says in loaded.err
    assert "Traceback" not in loaded.err
    assert loaded.found is None


@pytest.mark.parametrize(
    ("text", "says"),
    sampled(
        [
            ("from locust import User\n", "does not install the plugin"),
            ("from locust import User\nx = 1 +\n", "mine.py, line 2: SyntaxError: invalid syntax\n"),
            ("\n\nraise ValueError('so')\n", "mine.py, line 3: ValueError: so\n"),
            (
                "import no_such_module\n",
                "mine.py, line 1: ModuleNotFoundError: No module named 'no_such_module'\n",
            ),
        ],
        every=8,
    ),
    ids=["plugin", "syntax", "exception", "import"],
)
def test_broken_locust_file_is_explained(runs, tmp_path, text, says):
    """With the line, and without options that our own processes pass to each other."""
    file = tmp_path / "mine.py"
    file.write_text(text)

    loaded = load(runs, str(file))

    assert loaded.exit_code == ExitCode.USAGE
    assert loaded.err.startswith("error: ")
    assert says in loaded.err
    assert not {"Traceback", "__main__", "--progress-descriptor"} & {*loaded.err.split()}
    assert "__main__.py" not in loaded.err


def test_unreachable_target_ends_with_3(runs, tmp_path, sandbox):
    base_url = f"http://127.0.0.1:{free_port()}"
    profile = write_profile(tmp_path, sandbox, base_url=base_url)

    loaded = load(runs, "reads", "--target", str(profile), *CLOSED)

    assert loaded.exit_code == ExitCode.UNREACHABLE
    assert base_url.removeprefix("http://") in loaded.err
    assert "Traceback" not in loaded.err


def test_spent_budget_ends_with_4_and_a_complete_report(profile, runs):
    """The guard stops the load, and the figures until then are shown."""
    loaded = load(runs, "sync_runs", "--target", profile, "--credits", "150", "--users", "4", "--seed", "1")

    assert loaded.exit_code == ExitCode.GUARD
    assert loaded.out.strip().startswith("Stopped early")
    assert "credits" in loaded.out
    assert loaded.results.operations
    assert loaded.results.cost_credits <= 150


def test_generator_that_was_the_limit_ends_with_5_and_says_so_first(profile, runs):
    """One user cannot serve arrivals that come faster than its requests."""
    loaded = load(runs, "reads", "--target", profile, "--rate", "3000", "--users", "1", "--duration", "2s")

    assert loaded.exit_code == ExitCode.INVALID_MEASUREMENT
    assert loaded.out.strip().startswith("Not a valid measurement")
    assert not loaded.results.validity.is_valid
