"""Whether a synchronous run takes its defaults, and costs what it should."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from knouds_harness.contract.shapes import as_json
from knouds_harness.exchange.evidence import JSON, Exchange, members_of
from knouds_harness.exchange.execution_status import status_in
from knouds_harness.judging.claim import Claim, answer, check, nothing_more
from knouds_harness.targets.needs import runs
from knouds_harness.targets.needs.keys import ADMIN_MODEL_RUNNER
from knouds_harness.targets.needs.rate_limits import FREE_RUNNER
from knouds_harness.targets.needs.workflows import ANY_MODEL

_UNRELATED_REFUSALS = (402, 429)


@check(
    "tier.admin-bypasses-gates",
    needs=(ADMIN_MODEL_RUNNER, ANY_MODEL),
    applies=lambda case: case.is_run and case.key_state == "active" and case.known["role"] == "admin",
    alone=nothing_more,
)
def administrator(exchange: Exchange) -> Iterator[Claim]:
    """No model is above the tier of an administrator."""
    yield Claim(
        fact="tier.admin-bypasses-gates",
        holds=exchange.code != "MODEL_TIER_REQUIRED",
        expected="no tier gate",
        observed=answer(exchange),
    )


@check("run.defaults-for-left-out-fields", needs=(runs.READ_WORKFLOW_RUN,), given=("with_all", "is_alike"))
def fields_left_out(exchange: Exchange, *, with_all: Exchange, is_alike: bool) -> Iterator[Claim]:
    """A run with fields left out is accepted where one with all of them is, and costs what the defaults cost.

    ``with_all`` is the run of the same workflow with every field, ``is_alike`` whether all but free texts,
    which have no price, were sent as their defaults are. Nothing is claimed where that one failed,
    or where credits, the rate limit or the provider stood in the way of this one.
    """
    if with_all.status != 200 or exchange.status is None or exchange.status in _UNRELATED_REFUSALS:
        return
    if exchange.code != "EXECUTION_FAILED":
        yield Claim(
            fact="run.defaults-for-left-out-fields",
            holds=exchange.status == 200,
            expected="200, as with every field",
            observed=answer(exchange),
        )
    if is_alike:
        default_credits, fact = reported_credits(with_all), "run.defaults-for-left-out-fields"
        yield from _costs(exchange, default_credits, "as with the defaults sent", fact=fact)


@check("run.defaults-for-left-out-fields", needs=(runs.FREE_WORKFLOW_RUN,), given=("with_defaults",))
def defaults_as_given(exchange: Exchange, *, with_defaults: Exchange) -> Iterator[Claim]:
    """Where nothing is generated, leaving a field out gives the text that its default gives."""
    left_out, given = _result(exchange).get("text"), _result(with_defaults).get("text")
    if left_out is not None and given is not None:
        yield Claim(
            fact="run.defaults-for-left-out-fields",
            holds=left_out == given,
            expected=f"{as_json(given)}, as with the default sent",
            observed=as_json(left_out),
            where="/result/text",
        )


@check("run.result-present", needs=(runs.FREE_WORKFLOW_RUN,), given=("mark", "marks"))
def own_result(exchange: Exchange, *, mark: str, marks: Collection[str]) -> Iterator[Claim]:
    """The result of a run is made of its own inputs, whatever else runs at the same time.

    ``mark`` was sent in the inputs, each of ``marks`` in those of one of the runs.
    """
    if exchange.status == 200:
        text = as_json(_result(exchange))
        shown = [each for each in marks if each in text]
        yield Claim(
            fact="run.result-present",
            holds=shown == [mark],
            expected=f"a result made of {mark}",
            observed=f"one made of {', '.join(shown) or 'none of the inputs'}",
            where="/result",
        )


@check("run.charged-per-generator", needs=(FREE_RUNNER,))
def nothing_generated(exchange: Exchange) -> Iterator[Claim]:
    """A run of a workflow without generator nodes costs nothing."""
    yield from _costs(exchange, 0, "as there is no generator node", fact="run.charged-per-generator")


@check("run.charged-per-generator", needs=(runs.COUNTED_RUN,), given=("single",))
def charged_per_image(exchange: Exchange, *, single: Exchange) -> Iterator[Claim]:
    """Two images cost twice what one costs, where the profile says that each image is charged.

    ``single`` is a run that asked for one image. Nothing is claimed unless one and two images came.
    """
    one, two = reported_credits(single), reported_credits(exchange)
    if one is None or two is None or (_images(single), _images(exchange)) != (1, 2):
        return
    yield Claim(
        fact="run.charged-per-generator",
        holds=two == 2 * one,
        expected=f"{2 * one:g}, as one image cost {one:g}",
        observed=f"{two:g} for two images",
        where="/cost",
    )


@check("run.charged-per-generator", needs=(runs.EDITED_WORKFLOW_RUN,), given=("single", "estimates"))
def charged_per_node(exchange: Exchange, *, single: Exchange, estimates: Sequence[JSON]) -> Iterator[Claim]:
    """Each generator node of a workflow is charged.

    The exchange is a run of a workflow that has each node of the one that ``single`` ran twice; ``estimates``
    are what the target says that each of the two costs. Nothing is claimed where these do not count the
    twins. Where the first was not charged as estimated, the second has to cost more, no matter how much.
    """
    once, again = (amount(estimate) for estimate in estimates)
    half_credits, cost_credits = reported_credits(single), reported_credits(exchange)
    if once and again and again > once and half_credits and cost_credits is not None:
        is_as_estimated = half_credits == once
        yield Claim(
            fact="run.charged-per-generator",
            holds=cost_credits == again if is_as_estimated else cost_credits > half_credits,
            expected=f"{again:g} credits, as estimated: {once:g} for half of the nodes"
            if is_as_estimated
            else f"more than {half_credits:g} credits, the cost of half of the nodes",
            observed=f"{cost_credits:g}",
            where="/cost",
        )


@check("run.charged-per-generator", needs=(runs.ASYNC_RUN,), given=("waited_for", "row"))
def charged_alike(
    exchange: Exchange, *, waited_for: Exchange, row: Mapping[str, Any] | None
) -> Iterator[Claim]:
    """An asynchronous run that completes costs what the same run costs when it is waited for.

    ``waited_for`` is the synchronous run, ``row`` the usage row of the asynchronous one, whose last poll the
    exchange is. What is charged per image, second or call is the same for the same inputs.
    """
    said, charged = reported_credits(waited_for), amount(row.get("creditsCost")) if row else None
    if said is not None and charged is not None and status_in(exchange) == "completed":
        yield Claim(
            fact="run.charged-per-generator",
            holds=charged == said,
            expected=f"{said:g}, as when it was waited for",
            observed=f"{charged:g}, as the usage row says",
        )


@check("run.granted-run-costs-zero", needs=(runs.GRANTED_RUN,))
def granted(exchange: Exchange) -> Iterator[Claim]:
    """A run that a trial grant pays has cost 0."""
    yield from _costs(exchange, 0, "as a trial grant pays", fact="run.granted-run-costs-zero")


@check("run.charge-equals-usage", needs=(runs.ANY_RUN,), given=("row",))
def charge_in_usage(exchange: Exchange, *, row: Mapping[str, Any] | None) -> Iterator[Claim]:
    """What a run says it cost is what its usage row says.

    ``row`` is the one row that came with the run; None where there was not exactly one.
    """
    row_credits = amount(row.get("creditsCost")) if row else None
    yield from _costs(exchange, row_credits, "as the usage row says", fact="run.charge-equals-usage")


def _costs(exchange: Exchange, wanted_credits: float | None, why: str, *, fact: str) -> Iterator[Claim]:
    """Claim what a run costs, where it says so and that can be told."""
    cost_credits = reported_credits(exchange)
    if cost_credits is not None and wanted_credits is not None:
        yield Claim(
            fact=fact,
            holds=cost_credits == wanted_credits,
            expected=f"{wanted_credits:g}, {why}",
            observed=f"{cost_credits:g}",
            where="/cost",
        )


def reported_credits(exchange: Exchange) -> float | None:
    """What a run that succeeded says it cost."""
    return amount(exchange.members.get("cost")) if exchange.status == 200 else None


def amount(value: object) -> float | None:
    """A number as such; None for anything else."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _result(exchange: Exchange) -> Mapping[str, Any]:
    return members_of(exchange.members.get("result")) if exchange.status == 200 else {}


def _images(exchange: Exchange) -> int | None:
    images = _result(exchange).get("images")
    return len(images) if isinstance(images, list) else None
