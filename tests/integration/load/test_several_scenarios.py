"""Several scenarios of one file at once, each with its own arrivals, figures and objectives."""

from loading import load

from knouds_harness.errors import ExitCode

TWO = """
from locust import events

from knouds_harness.load.plugin import install
from knouds_harness.load.scenario import ScenarioUser
from knouds_harness.load.tasks import run_workflow, who_am_i

install(events)


class Readers(ScenarioUser):
    rate = 20
    tasks = [who_am_i]


class Runners(ScenarioUser):
    rate = 5
    tasks = [run_workflow]
"""


OF_TWO_FILES = """
from locust import events, task
from my_readers import Readers

from knouds_harness.load.plugin import install
from knouds_harness.load.scenario import ScenarioUser

install(events)


class Viewers(ScenarioUser):
    rate = 10

    @task
    def view(self):
        self.call("getWhoami", "/api/whoami")
        self.count("views")
        self.count("bytes skipped", 0.5)
        self.record_time("render", 12.5)
        own = dict(request_type="TIME", name="paint", response_time=2.5, response_length=0)
        self.environment.events.request.fire(**own, exception=None, context={})
"""


def test_each_scenario_has_its_arrivals_and_its_objectives(tmp_path):
    """All answers are verified as those of their operation, whatever name they are counted under."""
    path = tmp_path / "two.py"
    path.write_text(TWO, encoding="utf-8")
    objectives = ("--objective", "Readers: * p50 < 30s", "--objective", "Runners: all operations max < 0ms")

    loaded = load(tmp_path / "runs", str(path), "--duration", "4s", "--verify", "--quiet", *objectives)

    assert loaded.exit_code == ExitCode.BREACH, loaded.out + loaded.err
    assert "Runners: all operations max" in loaded.out.strip().splitlines()[0]
    assert {each.operation: each.requests for each in loaded.results.operations} == {
        "Readers: getWhoami": 80,
        "Runners: runWorkflow": 20,
    }
    assert [each.response.count for each in loaded.results.totals] == [80, 20, 100]
    assert all(each.server.count for each in loaded.results.operations if "run" in each.operation)
    assert loaded.results.verified_answers == 100
    assert not any(each.broken for each in loaded.results.invariants)


def test_scenarios_of_several_files_and_metrics_of_ones_own_are_counted(tmp_path):
    """A file imports the scenarios of another; its tasks count, and measure times, also by Locust's event."""
    (tmp_path / "my_readers.py").write_text(TWO.partition("\n\nclass Runners")[0], encoding="utf-8")
    path = tmp_path / "of_two_files.py"
    path.write_text(OF_TWO_FILES, encoding="utf-8")

    loaded = load(
        *(tmp_path / "runs", str(path), "--duration", "3s", "--quiet", "--processes", "2"),
        *("--objective", "Viewers: render p50 < 12ms", "--objective", "Readers: getWhoami p50 < 30s"),
        *("--objective", "Viewers: views count > 29", "--objective", "* p99 < 30s"),
    )

    assert loaded.exit_code == ExitCode.BREACH, loaded.out + loaded.err
    assert "Viewers: render p50 12.5 ms, at most 12.0 ms" in loaded.out.strip().splitlines()[0]
    assert [each.operation for each in loaded.results.objectives if not each.is_met] == ["Viewers: render"]
    counts = {each.operation: each.requests for each in loaded.results.operations}
    assert counts == {"Readers: getWhoami": 60, "Viewers: getWhoami": 30}
    assert loaded.results.total.requests == 90
    assert {each.name: (each.count, each.per_s) for each in loaded.results.custom_metrics} == {
        "Viewers: views": (30, 10),
        "Viewers: bytes skipped": (15, 5),
        "Viewers: render": (30, 10),
        "paint": (30, 10),
    }
