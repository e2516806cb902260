"""Asks for the health of a server, and says when that was due if ``LOCUST_SAYS_DUE`` is set.

Where it is not, each request is the same, as those of a real load mostly are.
"""

import os

from locust import events

from knouds_harness.load.plugin import install
from knouds_harness.load.scenario import ScenarioUser
from knouds_harness.load.workload.workload import takes
from knouds_harness.targets.needs import MAY_READ

install(events)
SAYS_DUE = "LOCUST_SAYS_DUE" in os.environ


@takes(MAY_READ)
def read_health(user: ScenarioUser) -> None:
    """Ask whether the server is up."""
    params = {"due": f"{user.client.scheduled_at:.6f}"} if SAYS_DUE else None
    user.call("getHealth", "/api/health", params=params, is_public=True)


class Due(ScenarioUser):
    """Asks at each arrival."""

    tasks = (read_health,)
