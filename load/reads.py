"""How fast are the reads that every integrator does all day, and do they stay so under load?

Workload: one request per task, in the mix below, open (``--rate``) or closed (``--users``); nothing depends
on an earlier answer. Costs no credits. Needs a key, whatever it holds, but for prices and health; the list
also ``workflow:read``, a schema besides that a workflow of its account. What a key cannot read is left out,
and the run says so.
"""

from locust import between, events

from knouds_harness.load.plugin import install
from knouds_harness.load.scenario import ScenarioUser
from knouds_harness.load.tasks import (
    list_usage,
    list_workflows,
    read_health,
    read_pricing,
    read_schema,
    who_am_i,
)

install(events)


class Reads(ScenarioUser):
    """Somebody whose dashboard is open."""

    wait_time = between(0.5, 1.5)
    tasks = {who_am_i: 4, list_workflows: 3, read_schema: 3, list_usage: 2, read_pricing: 1, read_health: 1}
