"""Whether runs apply defaults, return results of their own inputs, and cost what they should."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from knouds_harness.contract.shapes import as_json
from knouds_harness.exchange.evidence import JSON, Exchange, members_of, status_in
from knouds_harness.judging.claim import Claim, admitting, answer_is, check, member_is
from knouds_harness.targets.needs import runs
from knouds_harness.targets.needs.keys import ADMIN_MODEL_RUNNER
from knouds_harness.targets.needs.rate_limits import FREE_RUNNER
from knouds_harness.targets.needs.workflows import ANY_MODEL

administrator = admitting(
    "runs.administrator", "tier.admin-bypasses-gates", needs=(ADMIN_MODEL_RUNNER, ANY_MODEL)
)


@check("run.defaults-for-left-out-fields", needs=(runs.READ_WORKFLOW_RUN,))
def fields_left_out(exchange: Exchange, *, with_all: Exchange, is_alike: bool) -> Iterator[Claim]:
    """A run may leave out fields that have a default, and then costs what the defaults cost.

    ``with_all`` is the run of the same workflow with every field, ``is_alike`` whether it sent the default of
    each field except free texts, which have no price. Nothing is claimed if that run failed, or if credits,
    the rate limit or the provider stopped this one.
    """
    if with_all.status != 200 or exchange.status is None or exchange.status in (402, 429):
        return
    if exchange.code != "EXECUTION_FAILED":
        yield answer_is(exchange, "200, as with every field", holds=exchange.status == 200)
    if is_alike:
        yield from _costs(exchange, reported_credits(with_all), "as with the defaults sent")


@check("run.defaults-for-left-out-fields", needs=(runs.FREE_WORKFLOW_RUN,))
def defaults_as_given(exchange: Exchange, *, with_defaults: Exchange) -> Iterator[Claim]:
    """Without generator nodes, leaving a field out gives the same text as sending its default."""
    left_out, given = _result(exchange).get("text"), _result(with_defaults).get("text")
    if left_out is not None and given is not None:
        expected, holds = f"{as_json(given)}, as with the default sent", left_out == given
        yield Claim(expected, as_json(left_out), holds=holds, where="/result/text")


@check("run.result-present", needs=(runs.FREE_WORKFLOW_RUN,))
def own_result(exchange: Exchange, *, mark: str, marks: Collection[str]) -> Iterator[Claim]:
    """The result of a run is made of its own inputs, whatever else runs at the same time.

    ``mark`` was sent in its inputs, and ``marks`` in those of all the runs, one in each.
    """
    if exchange.status == 200:
        text = as_json(_result(exchange))
        shown = [each for each in marks if each in text]
        observed = f"one made of {', '.join(shown) or 'none of the inputs'}"
        yield Claim(f"a result made of {mark}", observed, holds=shown == [mark], where="/result")


@check("run.charged-per-generator", needs=(FREE_RUNNER,))
def nothing_generated(exchange: Exchange) -> Iterator[Claim]:
    """A run of a workflow without generator nodes costs nothing."""
    yield from _costs(exchange, 0, "as there is no generator node")


@check("run.charged-per-generator", needs=(runs.COUNTED_RUN,))
def charged_per_image(exchange: Exchange, *, single: Exchange) -> Iterator[Claim]:
    """Two images cost twice as much as one, if the profile says that each image is charged.

    ``single`` is a run that asked for one image. Nothing is claimed unless one image and two images came.
    """
    one = reported_credits(single)
    if one is not None and (_images(single), _images(exchange)) == (1, 2):
        yield from _costs(exchange, 2 * one, f"as one image cost {one:g}")


@check("run.charged-per-generator", needs=(runs.EDITED_WORKFLOW_RUN,))
def charged_per_node(exchange: Exchange, *, single: Exchange, estimates: Sequence[JSON]) -> Iterator[Claim]:
    """Each generator node of a workflow is charged.

    ``single`` is a run of a workflow, the exchange a run of a copy with each node twice; ``estimates`` are
    the target's estimates of the two costs. Nothing is claimed unless the second estimate is higher. If the
    first run was not charged as estimated, the second only has to cost more.
    """
    one_each, two_each = (amount(estimate) for estimate in estimates)
    half_credits, cost_credits = reported_credits(single), reported_credits(exchange)
    if one_each and two_each and two_each > one_each and half_credits and cost_credits is not None:
        if half_credits == one_each:
            yield from _costs(exchange, two_each, f"as estimated: {one_each:g} for half of the nodes")
        else:
            expected = f"more than {half_credits:g}, the cost of half of the nodes"
            yield member_is(exchange.members, "cost", expected, holds=cost_credits > half_credits)


@check("run.charged-per-generator", needs=(runs.CHARGED_ASYNC_RUN,))
def charged_alike(
    exchange: Exchange, *, waited_for: Exchange, row: Mapping[str, Any] | None
) -> Iterator[Claim]:
    """A completed asynchronous run costs as much as the same synchronous run.

    ``waited_for`` is the synchronous run, ``row`` the usage row of the asynchronous one; the exchange is the
    last poll of the latter. The same inputs give the same number of images, seconds or calls.
    """
    said, charged = reported_credits(waited_for), amount(row.get("creditsCost")) if row else None
    if said is not None and charged is not None and (said or charged) and status_in(exchange) == "completed":
        observed = f"{charged:g}, as the usage row says"
        yield Claim(f"{said:g}, as the synchronous run", observed, holds=charged == said)


@check("run.granted-run-costs-zero", needs=(runs.GRANTED_RUN,))
def granted(exchange: Exchange) -> Iterator[Claim]:
    """A run that a trial grant pays costs 0."""
    yield from _costs(exchange, 0, "as a trial grant pays")


@check("run.charge-equals-usage", needs=(runs.CHARGED_RUN,))
def charge_in_usage(exchange: Exchange, *, row: Mapping[str, Any] | None) -> Iterator[Claim]:
    """The cost in a run's response equals that in its usage row.

    ``row`` is the one new row after the run; None if there was not exactly one. If both are 0, nothing is
    claimed: a server that charges nothing shows the same.
    """
    row_credits = amount(row.get("creditsCost")) if row else None
    if row_credits or reported_credits(exchange):
        yield from _costs(exchange, row_credits, "as the usage row says")


def _costs(exchange: Exchange, wanted_credits: float | None, why: str) -> Iterator[Claim]:
    """Claim what a run costs; nothing if either cost is unknown."""
    cost_credits = reported_credits(exchange)
    if cost_credits is not None and wanted_credits is not None:
        holds = cost_credits == wanted_credits
        yield member_is(exchange.members, "cost", f"{wanted_credits:g}, {why}", holds=holds)


def reported_credits(exchange: Exchange) -> float | None:
    """Return the cost in the response of a successful run; None for any other."""
    return amount(exchange.members.get("cost")) if exchange.status == 200 else None


def amount(value: object) -> float | None:
    """Return a number as a float; None for anything else."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _result(exchange: Exchange) -> Mapping[str, Any]:
    return members_of(exchange.members.get("result")) if exchange.status == 200 else {}


def _images(exchange: Exchange) -> int | None:
    images = _result(exchange).get("images")
    return len(images) if isinstance(images, list) else None
