"""Charges that usage shows, and rows that appear late."""

from datetime import UTC, datetime

import httpx
import pytest

from knouds_harness.exchange.usage import ChargesShown, await_usage


@pytest.mark.parametrize(("come_at", "reads"), [(1, 1), (3, 3), (99, 5)])
def test_usage_is_read_until_enough_rows_show(come_at, reads):
    read = iter(range(1, 100))
    waited: list[float] = []

    last = await_usage(lambda: next(read), lambda rows: rows >= come_at, wait=waited.append, patience_s=0.25)

    assert last == reads
    assert waited == [0.02, 0.04, 0.08, 0.16][: reads - 1]


class Usage:
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
    return Usage()


@pytest.fixture
def shown(client_answering, usage):
    client = client_answering(usage)
    shown = ChargesShown(client.send)
    shown.begin("ada", client.personas.values())
    return shown


@pytest.mark.parametrize("rows", [1, 99, 100, 101, 350])
def test_charges_of_the_run_are_summed(shown, usage, rows):
    """Over as many pages as it takes; older charges do not count."""
    for _ in range(rows):
        usage.add(2)

    assert shown.read().credits == 2 * rows
    usage.add(3)
    shown.note_run("ada")
    assert shown.read().credits == 2 * rows + 3


def test_charge_of_a_run_in_flight_may_grow(shown, usage):
    """Its row, and those after it, are read again until it has ended."""
    usage.add(0, status="processing")
    usage.add(2)
    before = shown.read()

    usage.rows[1] |= {"creditsCost": 8, "status": "completed"}
    shown.note_run("ada")
    after = shown.read()

    assert [(each.credits, each.is_settled) for each in (before, after)] == [(2, False), (10, True)]


@pytest.mark.parametrize("status", [[], {}, None, 1])
def test_charge_of_a_row_without_a_status_counts(shown, usage, status):
    usage.add(5, status=status)

    assert shown.read().credits == 5


def test_later_runs_are_told_apart_by_the_clock_of_the_target(client_answering, usage):
    """Also of a time without a zone; a row that does not say when it was created is no later one."""
    until = datetime(2026, 11, 25, 10, tzinfo=UTC)
    for second, credits_cost in ((0, 2), (1, 3), (None, 5)):
        usage.add(credits_cost)
        usage.rows[-1] |= {"createdAt": f"2026-11-25T10:00:0{second}" if second is not None else "soon"}
    client = client_answering(usage)
    charges = ChargesShown(client.send, {"ada": ["7"]}, until=until)
    charges.begin("ada", client.personas.values())

    shown = charges.read()

    assert (shown.credits, shown.rows) == (10, 3)
    assert (shown.later_credits, shown.later_rows) == (3, 1)


def test_usage_is_read_again_after_the_next_run_or_at_last(shown, usage):
    """At last, since other requests may have been charged, such as a poll."""
    shown.read()
    asked = usage.asked
    usage.add(2)

    assert shown.read().credits == 0
    assert usage.asked == asked
    assert shown.read(is_last=True).credits == 2


@pytest.mark.parametrize("rows", [1, 100, 999])
def test_last_reading_finds_runs_that_were_charged_again(shown, usage, rows):
    """Even if they had ended; older rows do not count."""
    usage.rows[:] = [{"id": number, "creditsCost": 3, "status": "completed"} for number in range(150)]
    shown.marks["ada"] = frozenset(str(number) for number in range(50, 150))
    for _ in range(rows):
        usage.add(2)
    shown.read()

    usage.rows[150] |= {"creditsCost": 4}

    assert shown.read(is_last=True).credits == 2 * rows + 2


@pytest.mark.parametrize(("passed_s", "is_settled"), [(19, False), (20, True)])
def test_usage_is_settled_some_time_after_the_last_run(client_answering, usage, passed_s, is_settled):
    now_s = [100.0]
    client = client_answering(usage)
    shown = ChargesShown(client.send, settle_s=20, clock=lambda: now_s[0])
    shown.begin("ada", client.personas.values())
    assert shown.read().is_settled
    shown.note_run("ada")

    now_s[0] += passed_s

    assert shown.read(is_last=True).is_settled == is_settled


def test_end_of_a_run_waits_for_runs_in_progress(client_answering, usage):
    """Their charges would otherwise come after the report."""
    client = client_answering(usage)
    client.charges_shown.begin("ada", client.personas.values())
    usage.add(0, status="processing")

    shown = client.note_charges(wait=lambda _: usage.rows[-1].update(creditsCost=8, status="completed"))

    assert (shown.credits, shown.is_ended) == (8, True)


def test_account_without_a_key_that_works_is_named(shown, usage, client_answering):
    """And the charges of the others are summed."""
    shown.begin("una", [])
    usage.add(2)

    read = shown.read()

    assert (read.credits, read.unread) == (2, {"una"})


@pytest.mark.parametrize("credits_cost", ["8", None, -8, True])
def test_unusable_rows_show_nothing(shown, usage, credits_cost):
    usage.add(credits_cost)

    assert shown.read().credits is None
