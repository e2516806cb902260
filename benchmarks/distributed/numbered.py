"""Asks a truth server for each arrival by its number in the schedule, whichever worker it falls to."""

from locust import events, task

from knouds_harness.load.arrivals.arrival_user import ArrivalUser
from knouds_harness.load.plugin import install

install(events)


class Numbered(ArrivalUser):
    """Takes what is due."""

    @task
    def ask(self) -> None:
        """Send the number of this arrival."""
        since_s = self.client.scheduled_at - self.arrivals.start_s
        number = round(self.arrivals.schedule.shape.area(0.0, since_s))
        self.client.get(f"/n/{number}", name="n")
