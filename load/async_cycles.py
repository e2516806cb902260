"""How long from submit to result, how much of it is lost to polling, and is each submit answered in time?

Workload: each task submits one run of a polled workflow or model of the profile, and polls with growing
pauses (0.1 s, then half as long again, at most 5 s) until it has ended; open (``--rate`` counts submits) or
closed. In the open model a user is taken for a whole cycle: ask for more ``--users`` than rate times the
longest run. Costs at most the price of each run that is submitted. Needs keys that may run a workflow or a
model with ``polled = true``, and a key of the same account, or the same key, with ``execution:read``.
"""

from locust import between, events

from knouds_harness.load.plugin import install
from knouds_harness.load.scenario import ScenarioUser
from knouds_harness.load.tasks import follow_run

install(events)


class AsyncCycles(ScenarioUser):
    """An integrator who submits, polls and goes on."""

    wait_time = between(0.5, 2)
    tasks = [follow_run]
