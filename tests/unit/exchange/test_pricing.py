"""The most that a run may cost: from the profile, else from the server, else it is not run."""

from dataclasses import replace

import httpx
import pytest
from example_targets import make_target

from knouds_harness.contract.operations import Action
from knouds_harness.exchange.pricing import ChargesShown, Pricing
from knouds_harness.targets.resources import Model, Workflow

PORTRAIT = Workflow(slug="portrait", owner="ada")


def test_profile_s_figure_wins(client_answering):
    """Without asking the server."""

    def refuse(request: httpx.Request) -> httpx.Response:
        raise AssertionError(request)

    client = client_answering(refuse)

    assert Pricing(client, client.target).worst_case(replace(PORTRAIT, cost_credits=7.5)) == 7.5


@pytest.mark.parametrize(
    ("answer", "price"),
    [
        (httpx.Response(200, json={"fields": [], "estimatedCreditCost": 8}), 8),
        (httpx.Response(200, json={"fields": [], "estimatedCreditCost": None}), None),
        (httpx.Response(200, json={"fields": []}), None),
        (httpx.Response(200, json={"estimatedCreditCost": "8"}), None),
        (httpx.Response(200, json={"estimatedCreditCost": -8}), None),
        (httpx.Response(200, json=[]), None),
        (httpx.Response(404, json={"error": "no", "code": "NOT_FOUND"}), None),
    ],
)
def test_server_s_estimate_counts_else(client_answering, answer: httpx.Response, price: float | None):
    """A number, and no price where the answer has none: null says nothing of a workflow with generators."""
    client = client_answering(answer)

    assert Pricing(client, client.target).worst_case(PORTRAIT) == price


def test_null_is_a_price_of_nothing_without_generators(client_answering):
    """Where the profile says so, or the harness made the workflow."""
    client = client_answering(httpx.Response(200, json={"estimatedCreditCost": None}))

    assert Pricing(client, client.target).worst_case(replace(PORTRAIT, has_generator=False)) == 0


def test_server_is_not_asked_where_reading_is_not_allowed(client_answering):
    """Then nobody says what a run costs."""
    target = make_target(allow=frozenset({Action.RUN}))
    client = client_answering(httpx.Response(200, json={"estimatedCreditCost": 8}), target=target)

    assert Pricing(client, target).worst_case(PORTRAIT) is None


def test_server_is_asked_once(client_answering):
    """However often the price is needed."""
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        return httpx.Response(200, json={"estimatedCreditCost": 8})

    client = client_answering(answer)
    pricing = Pricing(client, client.target)
    for _ in range(3):
        pricing.worst_case(PORTRAIT)

    assert asked == ["/api/workflows/portrait/schema"]


def test_workflow_that_nobody_can_read_has_no_price(client_answering):
    """Another account's, for instance."""
    client = client_answering(httpx.Response(200, json={"estimatedCreditCost": 8}), target=make_target())

    assert Pricing(client, client.target).worst_case(replace(PORTRAIT, owner="sam")) is None


def test_model_without_a_figure_has_no_price(client_answering):
    """No endpoint tells the price of a model run beforehand."""
    client = client_answering(httpx.Response(200, json={}))

    assert Pricing(client, client.target).worst_case(Model(name="suno-v5")) is None


class Usage:
    """The usage of an account, the newest row first."""

    def __init__(self) -> None:
        self.rows: list[dict[str, object]] = [{"id": 7, "creditsCost": 8, "status": "completed"}]
        self.asked = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked += 1
        offset, limit = int(request.url.params["offset"]), int(request.url.params["limit"])
        return httpx.Response(200, json={"rows": self.rows[::-1][offset : offset + limit]})

    def add(self, credits_cost: object, *, status: object = "completed") -> None:
        row_id = self.rows[-1]["id"]
        assert isinstance(row_id, int)
        self.rows.append({"id": row_id + 1, "creditsCost": credits_cost, "status": status})


@pytest.fixture
def usage():
    """With one row of a run before."""
    return Usage()


@pytest.fixture
def shown(client_answering, usage):
    """What usage shows of the only account."""
    client = client_answering(usage)
    shown = ChargesShown(client.send)
    shown.begin("ada", client.personas.values())
    return shown


@pytest.mark.parametrize("rows", [1, 99, 100, 101, 350])
def test_charges_since_the_beginning_are_summed(shown, usage, rows):
    """Over as many pages as it takes; older ones are none of the run's."""
    for _ in range(rows):
        usage.add(2)

    assert shown.credits() == 2 * rows
    usage.add(3)
    shown.note_run("ada")
    assert shown.credits() == 2 * rows + 3


def test_charge_of_a_run_in_flight_may_grow(shown, usage):
    """Until it has ended, its row is read again, and those after it."""
    usage.add(0, status="processing")
    usage.add(2)
    assert shown.credits() == 2

    usage.rows[1] |= {"creditsCost": 8, "status": "completed"}
    shown.note_run("ada")

    assert shown.credits() == 10


@pytest.mark.parametrize("status", [[], {}, None, 1])
def test_charge_of_a_row_of_no_status_counts(shown, usage, status):
    usage.add(5, status=status)

    assert shown.credits() == 5


def test_usage_is_not_read_again_before_the_next_run(shown, usage):
    """Whoever asks."""
    shown.credits()
    asked = usage.asked

    shown.credits()

    assert usage.asked == asked


@pytest.mark.parametrize("credits_cost", ["8", None, -8, True])
def test_unusable_rows_show_nothing(shown, usage, credits_cost):
    """No sum can be made of them."""
    usage.add(credits_cost)

    assert shown.credits() is None
