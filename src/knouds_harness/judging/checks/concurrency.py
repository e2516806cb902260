"""Promises that hold for concurrent requests: some serial order explains the responses.

Each check models one promise and nothing else; its model allows all that the sources leave open
(docs/decisions/serial-orders.md).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from knouds_harness.contract.operations import FINAL, NEXT_BY_STATUS
from knouds_harness.exchange.evidence import Exchange, body_of, status_in
from knouds_harness.judging.checks.rate_limits import is_same_window, window_headers_of
from knouds_harness.judging.checks.runs import amount
from knouds_harness.judging.checks.workflows import summaries_of
from knouds_harness.judging.claim import Claim, check, header_is, member_is
from knouds_harness.judging.serial_order import Access, SerialModel, judge_history, register, steps_of
from knouds_harness.judging.workflow_model import accesses_of
from knouds_harness.targets.needs.keys import AUTHOR
from knouds_harness.targets.needs.rate_limits import FILLABLE_WINDOW, LIMITED_KEY
from knouds_harness.targets.needs.runs import CANCELLED_RUN, CHARGED_CANCELLED_RUN

_WRITES = (AUTHOR,)
_CANCELS = (CANCELLED_RUN,)
_ANY_IN_FLIGHT = "in flight"


def created_slug(exchange: Exchange) -> str | None:
    """Return the slug in the response to a create."""
    slug = body_of(exchange).get("slug")
    return slug if isinstance(slug, str) else None


@check("workflows.create-suffixes-taken-slug", needs=_WRITES)
def distinct_slugs(exchange: Exchange, *, others: Collection[str]) -> Iterator[Claim]:
    """Workflows of one name that are created at once get different slugs.

    ``others`` are the slugs that the other creates got.
    """
    slug = created_slug(exchange)
    if slug is not None:
        yield member_is(body_of(exchange), "slug", "one that no other create got", holds=slug not in others)


@check("workflows.update-takes-subset", needs=_WRITES)
def updates_in_some_order(
    _: Exchange, *, before: Exchange, history: Sequence[Exchange], members: Sequence[str]
) -> Iterator[Claim]:
    """A read shows what was last written, also if several members are updated at the same time.

    ``before`` is a read before all of them, ``history`` everything sent to the workflow since, ``members``
    are those that the updates name. The exchange is the last read.
    """
    yield from _members_in_some_order(members, before, history)


@check("workflows.move-sets-folder", needs=_WRITES)
def moves_in_some_order(_: Exchange, *, before: Exchange, history: Sequence[Exchange]) -> Iterator[Claim]:
    """A move takes effect, even with updates at the same time.

    The arguments are those of ``updates_in_some_order``.
    """
    yield from _members_in_some_order(["folderId"], before, history)


def _members_in_some_order(
    members: Collection[str], before: Exchange, history: Sequence[Exchange]
) -> Iterator[Claim]:
    initial = {name: json.dumps(value) for name, value in body_of(before).items() if name in members}

    def accesses(each: Exchange) -> Iterator[tuple[str, Access]]:
        return (access for access in _accesses(each, initial) if access[0] in initial)

    def said(each: Exchange, about: str) -> str:
        return _said(each, *(f"{name} {access.value}" for name, access in accesses(each) if name == about))

    if any(_operation(each) == "getWorkflow" and list(accesses(each)) for each in history):
        yield from _order_claims(history, register(lambda name: (initial[name],), accesses, said))


@check("workflows.delete-then-404", needs=_WRITES)
def deletes_in_some_order(_: Exchange, *, history: Sequence[Exchange]) -> Iterator[Claim]:
    """A workflow exists until it is deleted, and not afterwards, even if it is written at the same time.

    ``history`` is everything sent to it since it certainly existed. The exchange is the last read.
    """
    if any(_operation(each) == "deleteWorkflow" and each.is_success for each in history):
        model: SerialModel[Exchange] = register(
            lambda _: (True,), lambda each: _accesses(each, ()), lambda each, _: _said(each)
        )
        yield from _order_claims(history, model)


@check("workflows.list-own-and-templates", needs=_WRITES)
def lists_in_some_order(
    _: Exchange, *, history: Sequence[Exchange], slugs: Collection[str]
) -> Iterator[Claim]:
    """A list that is read while workflows are written holds each existing workflow, once.

    ``history`` is everything that was sent, ``slugs`` are the workflows that existed before. The exchange is
    the last list.
    """
    created = (created_slug(each) for each in history if _operation(each) == "createWorkflow")
    known = {*slugs, *filter(None, created)}

    def presence(each: Exchange) -> Iterator[tuple[str, Access]]:
        if _operation(each) == "createWorkflow":
            if (slug := created_slug(each)) is not None:
                yield slug, Access(is_write=True, value=1)
        elif _operation(each) == "listWorkflows":
            listed = Counter(str(summary.get("slug")) for summary in summaries_of(each) or ())
            for slug in known if each.is_success else ():
                yield slug, Access(is_write=False, value=listed[slug])
        else:
            for name, access in _accesses(each, ()):
                if not name:
                    yield each.request.path_values["slug"], access._replace(value=int(bool(access.value)))

    def said(each: Exchange, slug: str) -> str:
        times = [f"{slug} {access.value} times" for name, access in presence(each) if name == slug]
        return _said(each, *times)

    model: SerialModel[Exchange] = register(lambda slug: (int(slug in slugs),), presence, said)
    yield from _order_claims(history, model)


@check("execution.final-is-absorbing", "execution.edges", needs=_CANCELS)
def cancels_in_some_order(_: Exchange, *, history: Sequence[Exchange]) -> Iterator[Claim]:
    """Concurrent cancels of one execution lead to one final status, and no earlier status returns.

    ``history`` holds every poll and cancel of the execution. The exchange is the last poll.
    """
    shown = [each for each in history if status_in(each) is not None]
    steps = {each.id: status_in(each) or "" for each in shown}

    def ends(state: str, each: Exchange) -> list[str]:
        status = steps[each.id] if steps[each.id] in FINAL else _ANY_IN_FLIGHT
        return [status] if state in (_ANY_IN_FLIGHT, status) else []

    def edges(state: str, each: Exchange) -> list[str]:
        return [steps[each.id]] if steps[each.id] in NEXT_BY_STATUS[state] else []

    def said(each: Exchange, _: str) -> str:
        return _said(each, steps[each.id])

    if any(steps[each.id] in FINAL for each in shown):
        model: SerialModel[Exchange] = SerialModel(
            initial=lambda _: (_ANY_IN_FLIGHT,), step=ends, describe=said
        )
        yield from _order_claims(shown, model, fact="execution.final-is-absorbing")
    in_flight = [each for each in shown if steps[each.id] not in FINAL]
    if in_flight:
        model = SerialModel(initial=lambda _: ("processing",), step=edges, describe=said)
        yield from _order_claims(in_flight, model, fact="execution.edges")


@check("execution.cancelled-is-charged", needs=(CHARGED_CANCELLED_RUN,))
def charged_once(
    exchange: Exchange, *, rows: Sequence[Mapping[str, Any]], most_credits: float
) -> Iterator[Claim]:
    """A run that gets several cancels at once is charged as one run.

    The exchange is the last poll; ``rows`` are the run's usage rows, ``most_credits`` is the cost of one run.
    Nothing is claimed of a run that was not charged: another check does.
    """
    charges = [amount(row.get("creditsCost")) for row in rows]
    charged_credits = sum(each for each in charges if each is not None)
    if status_in(exchange) in FINAL and charged_credits:
        expected = f"at most {most_credits:g} credits, what one run costs"
        observed = f"{charged_credits:g} credits in {len(rows)} usage rows"
        yield Claim(expected, observed, holds=charged_credits <= most_credits)


@check("run.too-few-credits-is-402")
def no_overspending(_: Exchange, *, charged_credits: float, had_credits: float) -> Iterator[Claim]:
    """Concurrent runs do not spend more credits than the account has.

    The exchange is the last of the admitted runs, ``charged_credits`` what these cost together.
    """
    expected = f"at most {had_credits:g} credits charged, and a 402 for the rest"
    holds = charged_credits <= had_credits
    yield Claim(expected, f"{charged_credits:g} credits charged", holds=holds, where="/cost")


@check("rate.over-limit-is-429", "tier.rate-limit-pro", needs=(FILLABLE_WINDOW,))
def burst(_: Exchange, *, answers: Sequence[Exchange], left: int) -> Iterator[Claim]:
    """Of concurrent requests, exactly as many are admitted as the window had left.

    ``answers`` are all responses; the exchange is one of the admitted requests.
    """
    admitted = sum(each.is_success for each in answers)
    yield no_more_admitted(admitted, left)
    if all(each.is_success or each.status == 429 for each in answers):
        expected = f"{left} admitted, as many as the window had left"
        holds = admitted >= min(left, len(answers))
        yield Claim(expected, f"{admitted} admitted", holds=holds, fact="tier.rate-limit-pro")


def no_more_admitted(admitted: int, left: int) -> Claim:
    """Claim that a window admitted no more requests than it had left."""
    expected, fact = f"{left} admitted, and a 429 for the rest", "rate.over-limit-is-429"
    return Claim(expected, f"{admitted} admitted", holds=admitted <= left, fact=fact)


@check("rate.remaining-falls", needs=(LIMITED_KEY,))
def all_counted(exchange: Exchange, *, earlier: Exchange, between: Sequence[Exchange]) -> Iterator[Claim]:
    """Each of several concurrent requests counts.

    ``earlier`` was sent before them, the exchange after them; whether a refused request counts is
    undocumented.
    """
    before, now = window_headers_of(earlier).remaining, window_headers_of(exchange).remaining
    all_admitted = all(each.is_success for each in between)
    if not is_same_window(exchange, earlier) or before is None or now is None or not all_admitted:
        return
    if before > len(between):
        left = before - len(between) - 1
        expected = f"{left}: {before} before, {len(between)} at once, and this one"
        yield header_is(exchange, "X-RateLimit-Remaining", expected, holds=now == left)


def _order_claims(
    history: Sequence[Exchange], model: SerialModel[Exchange], *, fact: str = ""
) -> Iterator[Claim]:
    verdict = judge_history(model, steps_of(history))
    if verdict.is_consistent is not None:
        found, expected = verdict.contradiction, "answers that some order of these requests explains"
        picture, observed = (found.picture(), str(found)) if found else ("", "such answers")
        yield Claim(expected, observed, holds=verdict.is_consistent, fact=fact, picture=picture)


def _said(exchange: Exchange, *values: str) -> str:
    return f"{' '.join([_operation(exchange), *values])}: {exchange.answer}"


def _operation(exchange: Exchange) -> str:
    return exchange.request.operation_id or ""


def _accesses(exchange: Exchange, members: Collection[str]) -> Iterator[tuple[str, Access]]:
    request = exchange.request
    shown = body_of(exchange)
    return accesses_of(request.operation_id, exchange.status, request.members, shown, members=members)
