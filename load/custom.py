"""What do the operations that I name take, in my own proportions?

Workload: what ``--mix``, ``--workflow``, ``--model`` or the traffic of ``--inputs FILE.har`` says; without a
mix, the runs of ``sync_runs``; open (``--rate`` counts tasks) or closed. Costs at most the price of each run
that is sent or submitted. Needs keys for the tasks of the mix: one that none of them can do is left out,
and the run says which and why.
"""

from locust import between, events

from knouds_harness.load.plugin import install
from knouds_harness.load.scenario import ScenarioUser
from knouds_harness.load.tasks import run_model, run_workflow

install(events)


class Custom(ScenarioUser):
    """Does the tasks of the mix."""

    wait_time = between(0.5, 2)
    tasks = {run_workflow: 3, run_model: 1}
