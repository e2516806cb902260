"""While load runs, the process that sends does nothing else."""

from loading import load, scenario_of

WATCHED = """\
    from knouds_harness.load.tasks import follow_run, run_cheapest, workflow_crud

    tasks = [who_am_i, list_usage, run_cheapest, follow_run, workflow_crud]

    def take_turn(self, task):
        super().take_turn(task)
        if self.arrivals.due:
            RUNNING.append(self.arrivals)


import sys

RUNNING, SEEN = [], []


def note(event, arguments):
    if event in {"open", "import"} and RUNNING and not RUNNING[0].are_over:
        SEEN.append(f"{event} {arguments[0]}")


sys.addaudithook(note)


@events.quitting.add_listener
def tell(**_):
    if RUNNING:
        sys.stderr.write(f"between {RUNNING[0].due} arrivals: {SEEN}")
"""


def test_generator_imports_nothing_and_opens_no_file_between_the_first_arrival_and_the_last(tmp_path):
    """Each would take milliseconds, in which requests that are due are not sent."""
    loaded = load(tmp_path / "runs", scenario_of(tmp_path, WATCHED), "--rate", "20", "--duration", "3s")

    assert "between 60 arrivals: []" in loaded.err
