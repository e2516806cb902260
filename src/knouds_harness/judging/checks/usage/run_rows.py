"""Whether usage has a row of each run, which says how it ended and what it cost."""

import math
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence

from knouds_harness.contract.shapes import as_json
from knouds_harness.exchange.evidence import Exchange
from knouds_harness.exchange.usage import MAX_LIMIT, Row, rows_of, rows_of_run
from knouds_harness.judging.checks.runs import amount
from knouds_harness.judging.claim import Claim, check
from knouds_harness.targets.needs import MAY_RUN
from knouds_harness.targets.needs.keys import ANY_KEY
from knouds_harness.targets.needs.runs import ANY_RUN, CHEAPEST_RUN, FAILING_RUN


@check("run.charged-per-generator", needs=(FAILING_RUN,))
def failed_is_charged_once(
    exchange: Exchange,  # noqa: ARG001 - the evidence
    *,
    rows: Sequence[Row],
    price_credits: float,
) -> Iterator[Claim]:
    """A failed run is charged at most its price; whether it is charged at all is undocumented.

    The exchange is the run; ``rows`` may belong to it, and ``price_credits`` is the most that it may cost.
    """
    charged: dict[str, float] = defaultdict(float)
    for row in rows:
        if row.get("status") == "failed" and (credits_cost := amount(row.get("creditsCost"))) is not None:
            charged[str(row.get("requestId"))] += credits_cost
    for told in filter(None, charged.values()):
        yield Claim(
            holds=told <= price_credits,
            expected=f"at most {price_credits:g}, the price of one run",
            observed=f"{told:g}, as usage says of the failed run",
        )


@check("usage.run-has-a-row", "usage.slim-has-no-workflow", needs=(ANY_RUN,))
def row_of_run(
    exchange: Exchange,  # noqa: ARG001 - the evidence; the arguments say what it asked for
    *,
    rows: Sequence[Row],
    known: Collection[str],
    workflow_slug: str | None,
    model_id: str | None,
    request_id: str | None,
    ending: str | None,
) -> Iterator[Claim]:
    """A run, failed or not, has a row that says what was run and how it ended.

    The exchange is the run; ``rows`` are the rows that usage lists afterwards, ``known`` the request ids that
    it listed before. The row is found by the run's request id if the response told one; otherwise it is a new
    row that fits. A direct model run has no ``workflow_slug``; ``ending`` is the final status, if known.
    """
    new = [row for row in rows if row.get("requestId") not in known]
    fitting = rows_of_run(
        rows, known=known, workflow_slug=workflow_slug, model_id=model_id, request_id=request_id
    )
    words = f"a row of {workflow_slug or model_id}"
    yield Claim(
        fact="usage.run-has-a-row",
        holds=len(fitting) == 1 if request_id else bool(fitting),
        expected=f"{words}, one for the run" if request_id else words,
        observed=f"{len(fitting)} such rows, {len(new)} new ones in all",
    )
    if ending is not None and fitting:
        statuses = [str(row.get("status")) for row in fitting]
        yield Claim(
            fact="usage.run-has-a-row",
            holds=ending in statuses,
            expected=f"status {ending}, as the run ended",
            observed=f"status {', '.join(statuses):.80}",
            where="/rows",
        )
    if workflow_slug is None and fitting:
        slim = [row for row in fitting if row.get("source") == "api-slim" and row.get("workflowSlug") is None]
        yield Claim(
            fact="usage.slim-has-no-workflow",
            holds=bool(slim),
            expected="source api-slim and no workflowSlug",
            observed=f"{fitting[0].get('source')}, workflowSlug {as_json(fitting[0].get('workflowSlug'))}",
        )


@check("run.charge-equals-usage", "usage.run-has-a-row", needs=(CHEAPEST_RUN,))
def reconciled(exchange: Exchange, *, cost_credits: Sequence[float], rows: Sequence[Row]) -> Iterator[Claim]:
    """Over many runs, the costs in their responses equal those in the account's new rows.

    The exchange is one of the runs, ``cost_credits`` the costs in all responses; ``rows`` are the new rows of
    completed runs of the model. With more rows than runs, another client ran it too: nothing is claimed,
    unless there are exactly twice as many.
    """
    del exchange
    if len(rows) > len(cost_credits) and len(rows) != 2 * len(cost_credits):
        return
    yield Claim(
        fact="usage.run-has-a-row",
        holds=len(rows) == len(cost_credits),
        expected=f"a row for each of {len(cost_credits)} runs",
        observed=f"{len(rows)} rows",
    )
    charges = [each for each in (amount(row.get("creditsCost")) for row in rows) if each is not None]
    if len(charges) == len(cost_credits) and any((*charges, *cost_credits)):
        pairs = zip(sorted(charges), sorted(cost_credits), strict=True)
        yield Claim(
            fact="run.charge-equals-usage",
            holds=all(math.isclose(charge, said) for charge, said in pairs),
            expected=f"{sum(charges):g} credits for {len(charges)} runs, as their usage rows say",
            observed=f"{sum(cost_credits):g} credits",
            where="/cost",
        )


@check("run.inputs-not-object-is-invalid-inputs", needs=(ANY_KEY, MAY_RUN))
def refused_run_is_not_charged(exchange: Exchange, *, before: Exchange) -> Iterator[Claim]:
    """A refused run has no usage row that charges for it.

    ``before`` is usage before the refused runs. A run that is charged was not refused. The check only shows
    breaches: refusals verify no fact about charges.
    """
    known = {row.get("id") for row in rows_of(before)}
    if before.status != 200 or exchange.status != 200 or len(known) >= MAX_LIMIT:
        return
    charged = [row for row in rows_of(exchange) if row.get("id") not in known and row.get("creditsCost")]
    if charged:
        yield Claim(
            holds=False,
            expected="no new row with credits: what was sent in between was refused",
            observed=f"{len(charged)} new rows with credits",
            where="/rows",
        )
