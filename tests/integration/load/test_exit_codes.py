"""Exit codes of `knouds-harness load`, and the messages with them."""

import pytest
from checking import sampled
from example_targets import free_port, write_profile
from loading import load

from knouds_harness.errors import ExitCode

SCENARIO = """
from locust import events

from knouds_harness.load.plugin import install
from knouds_harness.load.scenario import ScenarioUser
from knouds_harness.load.tasks import who_am_i
from knouds_harness.load.users import KnoudsUser

install(events)


class First({user}):
    tasks = [who_am_i]
    {first}


class Second(ScenarioUser):
    tasks = [who_am_i]
    {second}
"""
FILES = {
    "plain.py": "from locust import User\n",
    "syntax.py": "from locust import User\nx = 1 +\n",
    "raising.py": "\n\nraise ValueError('so')\n",
    "importing.py": "import no_such_module\n",
    "other_users.py": SCENARIO.format(user="KnoudsUser", first="", second=""),
    "one_rate.py": SCENARIO.format(user="ScenarioUser", first="", second="rate = 5"),
    "two_rates.py": SCENARIO.format(user="ScenarioUser", first="rate = 5", second="rate = 5"),
    "nothing.toml": "",
}
FIND = ("sync_runs", "--find-capacity", "--duration", "2s", "--warm-up", "0.5", "--within", "90s")
IMPOSSIBLE = [
    (("nothing",), 'no scenario "nothing"'),
    (("two_rates.py", "--rate", "5", "--plan-only"), "--rate has no effect: First and Second have rates"),
    (
        ("two_rates.py", "--stages", "5s:5/s", "--plan-only"),
        "--stages has no effect: First and Second have rates",
    ),
    (("one_rate.py", "--plan-only"), "Second have rates of their own, and First none"),
    (
        ("other_users.py", "--rate", "5", "--plan-only"),
        "a rate has no effect on First: only a ScenarioUser waits",
    ),
    (("importing.py",), "importing.py, line 1: ModuleNotFoundError: No module named 'no_such_module'\n"),
    (("syntax.py",), "syntax.py, line 2: SyntaxError: invalid syntax\n"),
    (("raising.py",), "raising.py, line 3: ValueError: so\n"),
    (("plain.py",), "does not install the plugin"),
    (("reads", "--abort-on", "p98=3"), "is not an objective"),
    ((*FIND, "--shape", "ramp"), "Leave --shape out"),
    (("reads", "--target", "nowhere"), 'no target "nowhere"'),
    (("reads", "--", "--no-such-option"), "error: unrecognized arguments: --no-such-option\n"),
    (("reads", "--up-to", "9"), "--up-to belongs to --find-capacity"),
    (("reads", "--objective", "getWhoam p95 < 3s"), 'Did you mean "getWhoami"?'),
    ((*FIND, "--within", "1s"), "too short for even one point"),
    ((*FIND, "--warm-up", "2"), "leaves nothing of a point"),
    ((*FIND, "--objectives", "nothing.toml"), "sync_runs has no objectives"),
]


@pytest.mark.parametrize(("arguments", "says"), sampled(IMPOSSIBLE, every=5))
def test_impossible_command_ends_with_2(runs, tmp_path, monkeypatch, arguments, says):
    """A broken file with its line, and without options that our own processes pass to each other."""
    monkeypatch.chdir(tmp_path)
    for name, content in FILES.items():
        (tmp_path / name).write_text(content)

    loaded = load(runs, *arguments)

    assert loaded.exit_code == ExitCode.USAGE
    assert loaded.err.startswith("error: ")
    assert says in loaded.err
    assert not [word for word in ("__main__", "--progress-descriptor") if word in loaded.err]
    assert loaded.found is None


def test_unreachable_target_ends_with_3(runs, tmp_path, sandbox):
    base_url = f"http://127.0.0.1:{free_port()}"
    profile = write_profile(tmp_path, sandbox, base_url=base_url)

    loaded = load(runs, "reads", "--target", str(profile), "--users", "2", "--duration", "2s", "--quiet")

    assert loaded.exit_code == ExitCode.UNREACHABLE
    assert base_url.removeprefix("http://") in loaded.err


@pytest.mark.parametrize("credit_limit", [0, 150])
def test_spent_budget_ends_with_4_and_a_complete_report(profile, runs, credit_limit):
    """The guard stops the load, and the figures until then are shown."""
    limit = ("--credits", str(credit_limit))
    loaded = load(runs, "sync_runs", "--target", profile, *limit, "--users", "4", "--seed", "1")

    assert loaded.exit_code == ExitCode.GUARD
    assert loaded.out.strip().startswith("Stopped early")
    assert f"of {credit_limit} are left" in loaded.out
    assert bool(loaded.results.operations) == bool(credit_limit)
    assert loaded.results.cost_credits <= credit_limit


def test_generator_that_was_the_limit_ends_with_5_and_says_so_first(profile, runs):
    """One user cannot serve arrivals that come faster than its requests."""
    loaded = load(runs, "reads", "--target", profile, "--rate", "3000", "--users", "1", "--duration", "2s")

    assert loaded.exit_code == ExitCode.INVALID_MEASUREMENT
    assert loaded.out.strip().startswith("Not a valid measurement")
    assert not loaded.results.validity.is_valid
