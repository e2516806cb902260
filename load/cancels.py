"""Does cancelling work while the server is busy, and how long until a cancelled run has ended?

Workload: each task submits one run of a polled workflow or model, cancels it within half a second, and
polls until it has ended; open or closed. Costs at most the price of each run that is submitted, as a
cancelled one is charged all the same. Needs keys that hold ``workflow:run``, ``model:run``,
``execution:read`` and ``execution:cancel``.
"""

from locust import between, events

from knouds_harness.load.journeys import cancel_run
from knouds_harness.load.plugin import install
from knouds_harness.load.scenario import ScenarioUser

install(events)


class Cancels(ScenarioUser):
    """An integrator who changes their mind."""

    needs = ("workflow:run", "model:run", "execution:read", "execution:cancel")
    wait_time = between(0.5, 2)
    tasks = [cancel_run]
