"""Sends nothing: each arrival of the schedule counts a duration that only its number decides."""

import random

from locust import events, task

from knouds_harness.load.arrivals.arrival_user import ArrivalUser
from knouds_harness.load.plugin import install

install(events)


class Fed(ArrivalUser):
    """Takes what is due."""

    @task
    def take(self) -> None:
        """Count the duration of this arrival."""
        since_s = self.client.scheduled_at - self.arrivals.start_s
        number = round(self.arrivals.schedule.shape.area(0.0, since_s))
        self.environment.events.request.fire(
            request_type="GET",
            name="fed",
            response_time=random.Random(number).lognormvariate(3, 1),
            response_length=0,
            exception=None,
            context={},
        )
