"""Asks for the health of a server that logs when each request was due, whichever worker it falls to."""

from locust import events

from knouds_harness.load.plugin import install
from knouds_harness.load.scenario import ScenarioUser
from knouds_harness.load.workload.workload import takes
from knouds_harness.targets.needs.need import MAY_READ

install(events)


@takes(MAY_READ)
def read_health(user: ScenarioUser) -> None:
    """Ask whether the server is up, and say when that was due."""
    params = {"due": f"{user.client.scheduled_at:.6f}"}
    user.call("getHealth", "/api/health", params=params, is_public=True)


class Due(ScenarioUser):
    """Asks at each arrival."""

    tasks = (read_health,)
