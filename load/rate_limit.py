"""Does a window of the rate limit admit exactly what the tier allows, and does it say the truth about itself?

Workload: runs of the cheapest workflow of one account (where it has none, of the cheapest model), that of the
lowest documented limit (100 a minute for pro, 1,000 for business), open (``--rate``) or closed; what is over
the limit is refused, as it has to be. All answers are verified, as with ``--verify``: no window admits more,
or fewer before it refuses; ``Remaining`` falls by one; body and headers of a 429 agree; who waits as long as
``Retry-After`` says is admitted. The last needs more than a minute (``--duration 70s``), the others a rate
that fills a window (``--rate 5``). Costs at most the price of the limit's runs for each window that it meets;
what is refused costs nothing. Needs a key of a pro or business account that may run a workflow of that
account, or a model, and that nobody else uses it meanwhile.
"""

from locust import between, events

from knouds_harness.load.plugin import install
from knouds_harness.load.scenario import ScenarioUser
from knouds_harness.load.tasks import run_cheapest

install(events)


class RateLimit(ScenarioUser):
    """Somebody who does not know when to stop."""

    wait_time = between(0.1, 0.3)
    crosses_limit = True
    tasks = [run_cheapest]
