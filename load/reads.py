"""How fast are the reads that every integrator does all day, and do they stay so under load?

Workload: one request per task, in the mix below, open (``--rate``) or closed (``--users``); nothing depends
on an earlier answer. Costs no credits. Needs a key that holds ``workflow:read``, and a workflow of its
account.
"""

from locust import between, events, task

from knouds_harness.load.plugin import install
from knouds_harness.load.scenario import ScenarioUser

install(events)


class Reads(ScenarioUser):
    """Somebody whose dashboard is open."""

    needs = ("workflow:read",)
    wait_time = between(0.5, 1.5)

    @task(4)
    def who_am_i(self) -> None:
        """The account."""
        self.call("getWhoami", "/api/whoami")

    @task(3)
    def list_workflows(self) -> None:
        """What is there."""
        self.call("listWorkflows", "/api/workflows")

    @task(3)
    def read_schema(self) -> None:
        """What a workflow asks for."""
        run_path = self.chance.choice(self.workflow_errands()).path
        self.call("getWorkflowSchema", f"{run_path.removesuffix('run')}schema")

    @task(2)
    def list_usage(self) -> None:
        """What was spent."""
        self.call("listUsage", "/api/usage", params={"limit": 20})

    @task(1)
    def read_pricing(self) -> None:
        """What it costs, without a key."""
        self.call("getPublicPricing", "/api/pricing/public", is_public=True)
