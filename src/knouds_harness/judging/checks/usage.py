"""Whether usage shows an account's runs: pages with the rows that were asked for, and a row of each run."""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final

from knouds_harness.contract.shapes import as_json
from knouds_harness.exchange.evidence import Exchange
from knouds_harness.exchange.usage import (
    MAX_LIMIT,
    Row,
    fits,
    listed_models,
    model_ids_of,
    rows_in,
    rows_of,
    rows_of_run,
    run_of,
)
from knouds_harness.judging.checks.runs import amount
from knouds_harness.judging.claim import Claim, answers_to, check, member_is
from knouds_harness.judging.context import Case
from knouds_harness.printable import counted
from knouds_harness.targets.needs import MAY_RUN
from knouds_harness.targets.needs.keys import ANY_KEY, TWO_ACCOUNTS
from knouds_harness.targets.needs.runs import ANY_RUN, CHEAPEST_RUN, FAILING_RUN
from knouds_harness.targets.needs.workflows import RUN_AND_STRANGER

DEFAULT_LIMIT = 50
_MOST_IDS = 5
_WHOLE = re.compile(r"[1-9][0-9]{0,8}")
_PROVIDER_MARKS = (":", "/")  # names of models that can be run have lowercase letters, digits, hyphens only


def _identity(row: Row) -> str:
    return str(row.get("id"))


_FILTERS: Final = ("status", "modelId", "workflowSlug")
_PARAMETERS: Final = ("limit", "offset", *_FILTERS)


def _ids(identities: Sequence[str]) -> str:
    shown = ", ".join(identities[:_MOST_IDS])
    more = f" and {len(identities) - _MOST_IDS} more" if len(identities) > _MOST_IDS else ""
    return f"rows {shown}{more}" if identities else "no rows"


def as_told(rows: Sequence[Row]) -> str:
    """Say how many rows there are, and whose run the first one tells."""
    members = ("id", "requestId", "userId", "workflowSlug")
    told = [
        f"{name} {as_json(row[name])}" for row in rows[:1] for name in members if row.get(name) is not None
    ]
    return ": ".join([counted(len(rows), "row"), *filter(None, [", ".join(told)])])


def _of_page(
    exchange: Exchange, expected: str, observed: str, *, holds: bool, fact: str = ""
) -> Iterator[Claim]:
    """Claim something about a page of rows; nothing about any other response."""
    if rows_in(exchange) is not None:
        asked = "&".join(f"{name}={value}" for name, value in exchange.request.query if name in _PARAMETERS)
        expected += f" (asked with ?{asked})" if asked else ""
        yield Claim(expected, observed, holds=holds, where="/rows", fact=fact)


_shows_usage = answers_to("listUsage")
_shows_models = answers_to("listUsageModels")


def asked_limit(case: Case) -> int | None:
    """Return the limit in the query; None unless it is a positive whole number."""
    limit = case.asked.query.get("limit", "")
    return int(limit) if _WHOLE.fullmatch(limit) else None


def _total(case: Case) -> int | None:
    """Return the total that a page requested without parameters tells."""
    total = case.shown.get("total")
    return total if type(total) is int and not case.asked.query else None


def _filters(case: Case) -> Mapping[str, str]:
    """Return the filters in the query; empty if it is undocumented whether they filter."""
    filters = {name: case.asked.query[name] for name in _FILTERS if case.asked.query.get(name)}
    is_documented = filters.get("status", "failed") in ("processing", "completed", "failed")
    return filters if is_documented else {}


def _shows_users(case: Case) -> bool:
    rows = rows_of(case.exchange) if _shows_usage(case) else ()
    return bool(rows) and all(isinstance(row.get("userId"), str) for row in rows)


def _as_first_row(case: Case) -> Mapping[str, object]:
    return {"user_id": str(rows_of(case.exchange)[0].get("userId"))}


@check("usage.own-rows-only", needs=(ANY_KEY,), applies=_shows_users, if_unknown=_as_first_row)
def own_user(exchange: Exchange, *, user_id: str) -> Iterator[Claim]:
    """Every row belongs to the key's account, as whoami names it."""
    others = [row for row in rows_of(exchange) if str(row.get("userId")) != user_id]
    yield from _of_page(exchange, "rows of the key's own account", as_told(others), holds=not others)


@check("usage.own-rows-only", needs=(RUN_AND_STRANGER,))
def no_foreign_run(exchange: Exchange, *, foreign: Collection[str]) -> Iterator[Claim]:
    """A run of another account is not listed.

    ``foreign`` holds the request ids of such runs.
    """
    shown = [row for row in rows_of(exchange) if row.get("requestId") in foreign]
    yield from _of_page(exchange, "no run of another account", as_told(shown), holds=not shown)


@check("usage.own-rows-only", needs=(TWO_ACCOUNTS,))
def no_row_of_two(exchange: Exchange, *, theirs: Collection[tuple[str, ...]]) -> Iterator[Claim]:
    """No run is listed for two accounts: rows with the same id, request and time are the same run.

    ``theirs`` are the other account's runs, as ``run_of`` tells them apart.
    """
    shared = [row for row in rows_of(exchange) if run_of(row) in theirs]
    yield from _of_page(exchange, "no row that another account has", as_told(shared), holds=not shared)


@check("usage.run-has-a-row", needs=(ANY_KEY,), applies=_shows_usage)
def one_row_of_each_run(exchange: Exchange) -> Iterator[Claim]:
    """No run has two rows, whatever happened since, such as a delivery that came again.

    The check only shows breaches: that each run has a row is not seen in a page.
    """
    rows = {_identity(row): str(row["requestId"]) for row in rows_of(exchange) if row.get("requestId")}
    several = [times for times in Counter(rows.values()).values() if times > 1]
    if several:
        observed = f"{max(several)} rows with the same requestId"
        yield from _of_page(exchange, "one row of each run", observed, holds=False)


@check("usage.no-canvas-rows", needs=(ANY_KEY,), applies=_shows_usage)
def no_canvas_rows(exchange: Exchange) -> Iterator[Claim]:
    """No row comes from the canvas."""
    sources = {str(row["source"]) for row in rows_of(exchange) if "source" in row}
    elsewhere = sorted(source for source in sources if not source.startswith("api"))
    observed = f"rows from {', '.join(elsewhere)}"
    yield from _of_page(exchange, "rows of API runs only", observed, holds=not elsewhere)


@check(
    "usage.no-provider-ids", needs=(ANY_KEY,), applies=lambda case: _shows_usage(case) or _shows_models(case)
)
def no_provider_ids(exchange: Exchange) -> Iterator[Claim]:
    """No row and no list of models names a model by its provider's internal id."""
    ids = {model_id for row in rows_of(exchange) for model_id in model_ids_of(row)}
    ids.update(listed_models(exchange) or ())
    internal = sorted(each for each in ids if any(mark in each for mark in _PROVIDER_MARKS))
    if exchange.status == 200:
        yield Claim("names of models", ", ".join(internal), holds=not internal)


@check(
    "usage.limit-is-kept",
    "usage.limit-at-most-500",
    needs=(ANY_KEY,),
    applies=_shows_usage,
    reads=lambda case: {"limit": asked_limit(case)},
)
def limit(exchange: Exchange, *, limit: int) -> Iterator[Claim]:
    """No more rows come back than `limit` asks for, and never more than 500."""
    yield from at_most(exchange, limit, fact="usage.limit-is-kept")
    yield from at_most(exchange, MAX_LIMIT, fact="usage.limit-at-most-500")


def at_most(exchange: Exchange, most: int, *, fact: str = "") -> Iterator[Claim]:
    """Claim that a page has at most this many rows."""
    count = len(rows_of(exchange))
    yield from _of_page(exchange, f"at most {most} rows", f"{count} rows", holds=count <= most, fact=fact)


@check(
    "usage.limit-defaults-to-50",
    needs=(ANY_KEY,),
    applies=_shows_usage,
    reads=lambda case: {"total": _total(case)},
)
def default_limit(exchange: Exchange, *, total: int) -> Iterator[Claim]:
    """Without a limit, 50 rows come back, or all if there are fewer.

    ``total`` is the number of all rows.
    """
    count, most = len(rows_of(exchange)), min(DEFAULT_LIMIT, total)
    yield from _of_page(exchange, f"{most} of {total} rows", f"{count} rows", holds=count == most)


@check("usage.offset-skips", needs=(ANY_KEY,))
def offset(
    exchange: Exchange, *, before: Sequence[Row], after: Sequence[Row], offset: int, limit: int
) -> Iterator[Claim]:
    """A page with an offset skips that many rows of the list.

    ``before`` and ``after`` are the whole list, read before and after the page. Even if rows were added in
    between, the page shows no row twice, and skips no row of ``before`` between two others.
    """
    whole, grown = ([_identity(row) for row in rows] for rows in (before, after))
    page, listed = [_identity(row) for row in rows_of(exchange)], set(whole)
    if [each for each in grown if each in listed] != whole:
        return
    known = [each for each in page if each in listed]
    if whole != grown:
        part = whole[whole.index(known[0]) : whole.index(known[-1]) + 1] if known else []
        expected = f"no row twice, and {len(part)} consecutive rows of the list before"
        observed = f"{len(page)} rows, {len(set(page))} different, {len(known)} of the list before"
        holds = known == part and len(set(page)) == len(page)
        yield from _of_page(exchange, expected, observed, holds=holds)
    else:
        wanted = whole[offset : offset + limit]
        expected = f"{_ids(wanted)}: from number {offset + 1} of {len(whole)} on"
        yield from _of_page(exchange, expected, _ids(page), holds=page == wanted)


@check(
    "usage.filters",
    needs=(ANY_KEY,),
    applies=lambda case: _shows_usage(case) and _filters(case),
    if_unknown=lambda case: {"before": (), "after": (), "filters": _filters(case)},
)
def filtered(
    exchange: Exchange, *, before: Sequence[Row], after: Sequence[Row], filters: Mapping[str, str]
) -> Iterator[Claim]:
    """A filtered page has all rows that fit, and no others.

    ``before`` and ``after`` are the whole list, read before and after the page, as runs may begin or end in
    between.
    """
    page = rows_of(exchange)
    wrong = [row for row in page if not fits(row, filters)]
    asked = " and ".join(f"{name} {value}" for name, value in filters.items())
    observed = f"{len(wrong)} rows of {len(page)} without"
    yield from _of_page(exchange, f"rows with {asked}", observed, holds=not wrong)
    if len(page) >= MAX_LIMIT or filters.get("status") == "processing":
        return  # the next page may hold more; how a run that is being cancelled shows is undocumented
    shown = set(map(_identity, page))
    if len(after) % MAX_LIMIT:  # else the list may be longer
        others = shown - set(map(_identity, (*before, *after)))
        observed = f"{len(others)} rows of {len(page)} are not"
        expected = "rows that are listed without the filter, too"
        yield from _of_page(exchange, expected, observed, holds=not others)
    fitting = [{_identity(row) for row in rows if fits(row, filters)} for rows in (before, after)]
    lost = set.intersection(*fitting) - shown
    observed = f"{len(lost)} of {len(fitting[1])} are missing"
    yield from _of_page(exchange, f"every row with {asked}", observed, holds=not lost)


@check("usage.page-shape", needs=(ANY_KEY,))
def total(exchange: Exchange, *, before: Sequence[Row], after: Sequence[Row]) -> Iterator[Claim]:
    """The total is the number of all rows, however few the page holds."""
    said = exchange.members.get("total") if rows_in(exchange) is not None else None
    if isinstance(said, int) and not isinstance(said, bool):
        holds = len(before) <= said <= len(after) or len(before) > len(after)
        yield member_is(exchange.members, "total", f"{len(after)}", holds=holds)


@check(
    "usage.models-are-distinct", needs=(ANY_KEY,), applies=_shows_models, if_unknown=lambda _: {"used": ()}
)
def distinct_models(exchange: Exchange, *, used: Collection[str]) -> Iterator[Claim]:
    """Usage models lists each model of the account's history, once.

    ``used`` are the ids in the rows; whether models of canvas runs are listed too is undocumented.
    """
    listed = listed_models(exchange)
    if listed is None:
        return
    repeated = sorted(each for each, times in Counter(listed).items() if times > 1)
    yield Claim("each id once", f"{', '.join(repeated)} more than once", holds=not repeated)
    missing = sorted(set(used) - set(listed))
    yield Claim("every model id of the account's rows", f"{', '.join(missing)} not listed", holds=not missing)


# --- the row of a run


@check("run.charged-per-generator", needs=(FAILING_RUN,))
def failed_is_charged_once(_: Exchange, *, rows: Sequence[Row], price_credits: float) -> Iterator[Claim]:
    """A failed run is charged at most its price; whether it is charged at all is undocumented.

    The exchange is the run; ``rows`` may belong to it, and ``price_credits`` is the most that it may cost.
    """
    charged: dict[str, float] = defaultdict(float)
    for row in rows:
        if row.get("status") == "failed" and (credits_cost := amount(row.get("creditsCost"))) is not None:
            charged[str(row.get("requestId"))] += credits_cost
    for told in filter(None, charged.values()):
        expected = f"at most {price_credits:g}, the price of one run"
        yield Claim(expected, f"{told:g}, as usage says of the failed run", holds=told <= price_credits)


@check("usage.run-has-a-row", "usage.slim-has-no-workflow", needs=(ANY_RUN,))
def row_of_run(
    _: Exchange,  # the evidence; the arguments say what it asked for
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
    expected = f"a row of {workflow_slug or model_id}{', one for the run' if request_id else ''}"
    observed = f"{len(fitting)} such rows, {len(new)} new ones in all"
    holds = len(fitting) == 1 if request_id else bool(fitting)
    yield Claim(expected, observed, holds=holds, fact="usage.run-has-a-row")
    if ending is not None and fitting:
        statuses = [str(row.get("status")) for row in fitting]
        expected, observed = f"status {ending}, as the run ended", f"status {', '.join(statuses):.80}"
        holds = ending in statuses
        yield Claim(expected, observed, holds=holds, where="/rows", fact="usage.run-has-a-row")
    if workflow_slug is None and fitting:
        slim = [row for row in fitting if row.get("source") == "api-slim" and row.get("workflowSlug") is None]
        observed = f"{fitting[0].get('source')}, workflowSlug {as_json(fitting[0].get('workflowSlug'))}"
        expected, fact = "source api-slim and no workflowSlug", "usage.slim-has-no-workflow"
        yield Claim(expected, observed, holds=bool(slim), fact=fact)


@check("run.charge-equals-usage", "usage.run-has-a-row", needs=(CHEAPEST_RUN,))
def reconciled(_: Exchange, *, cost_credits: Sequence[float], rows: Sequence[Row]) -> Iterator[Claim]:
    """Over many runs, the costs in their responses equal those in the account's new rows.

    The exchange is one of the runs, ``cost_credits`` the costs in all responses; ``rows`` are the new rows of
    completed runs of the model. With more rows than runs, another client ran it too: nothing is claimed,
    unless there are exactly twice as many.
    """
    if len(rows) > len(cost_credits) and len(rows) != 2 * len(cost_credits):
        return
    expected, holds = f"a row for each of {len(cost_credits)} runs", len(rows) == len(cost_credits)
    yield Claim(expected, f"{len(rows)} rows", holds=holds, fact="usage.run-has-a-row")
    charges = [each for each in (amount(row.get("creditsCost")) for row in rows) if each is not None]
    if len(charges) == len(cost_credits) and any((*charges, *cost_credits)):
        expected = f"{sum(charges):g} credits for {len(charges)} runs, as their usage rows say"
        holds = all(map(math.isclose, sorted(charges), sorted(cost_credits)))
        observed = f"{sum(cost_credits):g} credits"
        yield Claim(expected, observed, holds=holds, where="/cost", fact="run.charge-equals-usage")


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
        expected = "no new row with credits: what was sent in between was refused"
        yield Claim(expected, f"{len(charged)} new rows with credits", holds=False, where="/rows")
