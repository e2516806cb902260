"""How long do synchronous runs take, and how many at once can the server carry?

Workload: runs of the profile's own workflows (three in four) and of its models, each of them equally often,
with the profile's inputs; open (``--rate``) or closed (``--users``). Costs at most the price of each run
that is sent; the budget (``limits.credits``, ``--credits``) stops it. Needs keys that may run a workflow of
their account (``workflow:run`` or ``workflow:SLUG:run``), or a model on a business or enterprise account
(``model:run`` or ``model:NAME:run``); either is enough.
"""

from locust import between, events

from knouds_harness.load.plugin import install
from knouds_harness.load.scenario import ScenarioUser
from knouds_harness.load.tasks import run_model, run_workflow

install(events)


class SyncRuns(ScenarioUser):
    """An integrator who waits for each result."""

    wait_time = between(0.5, 2)
    tasks = {run_workflow: 3, run_model: 1}
