"""Does cancelling work while the server is busy, and how long until a cancelled run has ended?

Workload: each task submits one run of a polled workflow or model, cancels it within half a second, and
polls until it has ended; open or closed. Costs at most the price of each run that is submitted, as a
cancelled one is charged all the same. Needs keys that may run a workflow or a model with ``polled = true``,
and keys of the same account, or the same key, with ``execution:read`` and ``execution:cancel``.
"""

from locust import between, events

from knouds_harness.load.plugin import install
from knouds_harness.load.scenario import ScenarioUser
from knouds_harness.load.tasks import cancel_run

install(events)


class Cancels(ScenarioUser):
    """An integrator who changes their mind."""

    wait_time = between(0.5, 2)
    tasks = [cancel_run]
