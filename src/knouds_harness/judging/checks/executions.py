"""Whether executions follow the documented life cycle: submit, poll, cancel, end."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import pairwise
from statistics import median
from typing import Any, Final

from knouds_harness.contract.operations import FINAL, IN_FLIGHT, NEXT_BY_STATUS
from knouds_harness.contract.shapes import as_json
from knouds_harness.exchange.evidence import Exchange, body_of, status_in
from knouds_harness.judging.checks.runs import amount
from knouds_harness.judging.claim import Claim, admitting, answer_is, check, is_submit, member_is, status_is
from knouds_harness.targets.needs import runs

MOST_SUBMIT_MS: Final = 500
FEWEST_SAMPLES: Final = 5
_FEWEST_CANCELS: Final = 3
_RUN_NEEDS = (runs.ASYNC_RUN,)
_CANCEL_NEEDS = (runs.CANCELLED_RUN,)


@check("async.submit-under-500-ms", needs=_RUN_NEEDS)
def submit_is_quick(exchange: Exchange, *, elapsed_ms: Sequence[float]) -> Iterator[Claim]:
    """A submit is answered in under 500 ms: the median of at least five on a warm connection."""
    if len(elapsed_ms) >= FEWEST_SAMPLES:
        samples = ", ".join(f"{each:.0f}" for each in elapsed_ms)
        observed = f"{median(elapsed_ms):.0f} ms, the median of {samples} ms; the last was {exchange.id}"
        yield Claim(f"under {MOST_SUBMIT_MS} ms", observed, holds=median(elapsed_ms) < MOST_SUBMIT_MS)


@check("async.execution-id-is-fresh", needs=_RUN_NEEDS)
def fresh_id(exchange: Exchange, *, earlier: Collection[object]) -> Iterator[Claim]:
    """Each submit gets an executionId that no earlier submit got."""
    execution_id = body_of(exchange).get("executionId")
    if isinstance(execution_id, str):
        expected, is_fresh = "one that no submit got before", execution_id not in earlier
        yield member_is(body_of(exchange), "executionId", expected, holds=is_fresh)


@check("async.poll-url-leads-to-execution", needs=_RUN_NEEDS)
def poll_url(exchange: Exchange, *, submitted: Exchange) -> Iterator[Claim]:
    """The pollUrl of a submit leads to the submitted execution."""
    execution_id = body_of(submitted).get("executionId")
    if exchange.status in (None, 429):
        return
    yield answer_is(exchange, f"200 with execution {execution_id}", holds=exchange.status == 200)
    if exchange.status == 200:
        shown = {"executionId": execution_id, **body_of(exchange)}
        is_same = shown["executionId"] == execution_id
        yield member_is(shown, "executionId", f"execution {execution_id}", holds=is_same)


@check("async.workflow-submit-names-slug", needs=(runs.ASYNC_WORKFLOW_RUN,), applies=is_submit)
def workflow_submit(exchange: Exchange, *, slug: str) -> Iterator[Claim]:
    """The response to a submit of a workflow run names the workflow's slug."""
    if "executionId" in body_of(exchange):
        shown = body_of(exchange)
        yield member_is(shown, "workflowSlug", slug, holds=shown.get("workflowSlug") == slug)


@check(
    "execution.edges",
    "execution.final-is-absorbing",
    "execution.poll-shape",
    needs=_RUN_NEEDS,
    applies=lambda case: case.operation_id == "getExecution" and case.exchange.status == 200,
    if_unknown=lambda _: {"statuses": ()},
)
def edges(exchange: Exchange, *, statuses: Sequence[str]) -> Iterator[Claim]:
    """A poll shows the requested execution, whose status changes only as documented: a final one stays.

    ``statuses`` are those that one execution showed, in order; the exchange showed the last of them.
    """
    asked, shown = exchange.request.path_values.get("id"), body_of(exchange)
    named = shown.get("executionId")
    if exchange.request.operation_id == "getExecution" and asked and isinstance(named, str):
        expected, holds = f"executionId {asked}, as asked for", named.lower() == asked.lower()
        yield member_is(shown, "executionId", expected, holds=holds, fact="execution.poll-shape")
    yield from steps_are_documented(statuses)


def steps_are_documented(statuses: Sequence[str]) -> Iterator[Claim]:
    """Claim that each status that one execution showed may follow the one before."""
    for fact, starts in (("execution.edges", IN_FLIGHT), ("execution.final-is-absorbing", FINAL)):
        steps = [(earlier, later) for earlier, later in pairwise(statuses) if earlier in starts]
        wrong = [f"{one}, then {other}" for one, other in steps if other not in NEXT_BY_STATUS[one]]
        if steps:
            expected = "processing, perhaps cancel_requested, then one final status"
            observed = wrong[0] if wrong else "the same"
            yield Claim(expected, observed, holds=not wrong, where="/status", fact=fact)


stays_known = admitting(
    "executions.stays-known", "execution.final-is-absorbing", "execution.poll-shape", needs=_RUN_NEEDS
)


@check("execution.ends-in-time", needs=(runs.ASYNC_RUN_IN_TIME,))
def ends_in_time(exchange: Exchange, *, deadline_s: float | None) -> Iterator[Claim]:
    """An execution ends within the profile's deadline.

    The exchange is the last poll, sent when the execution had ended or the deadline was over.
    """
    if deadline_s is not None and status_in(exchange) is not None:
        has_ended = status_in(exchange) in FINAL
        yield member_is(body_of(exchange), "status", f"an end within {deadline_s:g} s", holds=has_ended)


@check("execution.cancel-in-flight", needs=_CANCEL_NEEDS)
def cancel_in_flight(exchange: Exchange, *, after: Sequence[str]) -> Iterator[Claim]:
    """An execution in flight is cancelled on request, unless its provider is faster.

    ``after`` are the statuses that polls showed after the cancel; the first poll came at once.
    """
    if exchange.status in (None, 429) or not after:
        return
    is_accepted = exchange.is_success
    if not is_accepted and after[0] not in IN_FLIGHT:
        return  # it had ended by then, or was cancelled by breaking another promise
    is_taken_back = status_in(exchange) in ("cancel_requested", "cancelled") and "processing" in after
    has_effect = is_accepted and ("cancelled" in after or "cancel_requested" in after)
    if has_effect or is_taken_back or not is_accepted:
        expected = "cancel_requested or cancelled, as the execution is in flight"
        yield Claim(expected, f"{exchange.answer}, then {', '.join(dict.fromkeys(after))}", holds=has_effect)


@check("execution.cancel-in-flight", needs=_CANCEL_NEEDS)
def cancels_take_effect(exchange: Exchange, *, after_each: Sequence[Sequence[str]]) -> Iterator[Claim]:
    """Of several accepted cancels of executions in flight, polls show the effect of at least one.

    ``after_each`` are the statuses that polls showed after each accepted cancel.
    """
    is_ignored = [
        after[0] == "processing" and after[-1] in ("completed", "failed") for after in after_each if after
    ]
    if len(is_ignored) >= _FEWEST_CANCELS:
        observed = f"{exchange.answer}, then processing and an end as if never cancelled, every time"
        holds = not all(is_ignored) or any("cancel_requested" in after for after in after_each)
        yield Claim("cancel_requested or cancelled for at least one", observed, holds=holds)


@check("execution.cancel-in-flight", needs=_CANCEL_NEEDS)
def cancelled_again(exchange: Exchange, *, before: str, after: str) -> Iterator[Claim]:
    """A second cancel of an execution in flight is not a 404.

    ``before`` and ``after`` are the statuses that polls showed around that cancel. Whether it is refused is
    undocumented.
    """
    if exchange.status not in (None, 429) and before in IN_FLIGHT and after in IN_FLIGHT:
        expected = f"no 404, as the execution is the key's own and {before}"
        yield answer_is(exchange, expected, holds=exchange.status != 404)


@check("execution.cancel-in-flight", needs=_CANCEL_NEEDS)
def cancels_do_not_fail(
    exchange: Exchange, *, endings: Sequence[Exchange], alone: Exchange
) -> Iterator[Claim]:
    """Not all accepted cancels make a run fail that completes when left alone.

    ``endings`` are the last polls of the cancelled executions, ``alone`` is that of an execution of the
    same model that was not cancelled. The provider may fail before a cancel takes effect, but not each time.
    """
    if len(endings) >= _FEWEST_CANCELS and status_in(alone) == "completed":
        observed = f"{exchange.answer}, then failed, each of {len(endings)} times"
        holds = not all(status_in(each) == "failed" for each in endings)
        yield Claim("cancelled, or completed as without a cancel", observed, holds=holds, where="/status")


@check("execution.failed-has-error", needs=(runs.FAILING_ASYNC_RUN,))
def fails(exchange: Exchange) -> Iterator[Claim]:
    """An execution that the profile expects to fail ends as failed.

    The exchange is its last poll.
    """
    if status_in(exchange) in FINAL:
        expected, has_failed = "failed: its provider fails each time", status_in(exchange) == "failed"
        yield member_is(body_of(exchange), "status", expected, holds=has_failed)


@check("execution.cancelled-is-charged", "usage.run-has-a-row", needs=(runs.CHARGED_CANCELLED_RUN,))
def cancelled_is_charged(
    exchange: Exchange,
    *,
    row: Mapping[str, Any] | None,
    is_missing: bool = False,
    alone: Mapping[str, Any] | None = None,
) -> Iterator[Claim]:
    """A cancelled run with a price is charged nevertheless, and its usage row says that it was cancelled.

    The exchange is the last poll of an execution with a price; ``row`` is its usage row, None if not found,
    and ``is_missing`` says that no usage row belongs to the run. ``alone`` is the row of the same run, with
    the same inputs, that was not cancelled.
    """
    if status_in(exchange) != "cancelled":
        return
    has_row, is_charged = "usage.run-has-a-row", "execution.cancelled-is-charged"
    if is_missing:
        expected = "a row of the run, which is charged though it was cancelled"
        yield Claim(expected, "no row with its requestId", holds=False, fact=has_row)
    charged_credits = amount(row.get("creditsCost")) if row and row.get("status") == "cancelled" else None
    full_credits = amount(alone.get("creditsCost")) if alone and alone.get("status") == "completed" else None
    if charged_credits is not None:
        expected = f"creditsCost {f'{full_credits:g}' if full_credits else 'above 0'} in its usage row"
        holds = charged_credits > 0 and charged_credits >= (full_credits or 0)
        yield Claim(expected, f"{charged_credits:g}", holds=holds, fact=is_charged)
    if row and row.get("status") != "processing":
        observed, holds = f"status {as_json(row.get('status'))}", row.get("status") == "cancelled"
        yield Claim("status cancelled, as the run ended", observed, holds=holds, fact=has_row)


@check("execution.cancel-after-end", needs=_CANCEL_NEEDS)
def cancel_after_end(exchange: Exchange) -> Iterator[Claim]:
    """Cancelling an ended execution is a 409, 400 or 200."""
    if exchange.status not in (None, 429):
        yield status_is(exchange, 409, 400, 200)


@check("execution.cancel-after-end-changes-nothing", needs=_CANCEL_NEEDS)
def end_stands(exchange: Exchange, *, ending: str | None) -> Iterator[Claim]:
    """Cancelling an ended execution leaves its status alone.

    ``ending`` is the final status that a poll showed before the cancel; the exchange is the poll after it.
    """
    if ending is not None and status_in(exchange) is not None:
        is_same = status_in(exchange) == ending
        yield member_is(body_of(exchange), "status", f"{ending}, as before the cancel", holds=is_same)
