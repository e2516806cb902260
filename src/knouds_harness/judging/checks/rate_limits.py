"""How many requests an account may make: counted per account and route, in fixed windows of 60 s.

A check that compares two responses makes no claim if a new window may have begun between them. Whether a
refused request counts, and which headers an account without a limit gets, is undocumented.
"""

from collections.abc import Collection, Iterator, Sequence
from email.utils import parsedate_to_datetime
from typing import NamedTuple

from knouds_harness.body_bounds import whole_number
from knouds_harness.contract.operations import LIMIT_BY_TIER, WINDOW_S
from knouds_harness.exchange.evidence import Exchange
from knouds_harness.judging.claim import Claim, answer_is, check, header_is, is_limited_run
from knouds_harness.judging.context import Case
from knouds_harness.targets.needs import CONTROL, MAY_RUN, MAY_WRITE, rate_limits
from knouds_harness.targets.needs.keys import ADMIN_KEY, PRO_MODEL_KEY

ROUNDING_S = 2  # Date and Reset are whole seconds, each rounded its own way
MILLISECONDS = 10**11
"""Larger numbers in ``X-RateLimit-Reset`` are milliseconds."""
_REMAINING, _RESET = "X-RateLimit-Remaining", "X-RateLimit-Reset"
_FACT_BY_TIER = {"pro": "tier.rate-limit-pro", "business": "tier.rate-limit-business"}
_FIXED_WINDOW = "rate.window-is-fixed-60-s"
_LIMITED = (rate_limits.LIMITED_KEY,)
_FILLED = (rate_limits.FILLABLE_WINDOW,)


class WindowHeaders(NamedTuple):
    """The rate-limit headers of a response; None for one that is missing or not a whole number."""

    limit: int | None
    remaining: int | None
    reset_unix_s: int | None


def window_headers_of(exchange: Exchange) -> WindowHeaders:
    """Read the three rate-limit headers of a response."""
    names = ("X-RateLimit-Limit", _REMAINING, _RESET)
    return WindowHeaders(*(whole_number(exchange.header(name)) for name in names))


def server_unix_s(exchange: Exchange) -> float | None:
    """Return when the server responded, by its Date header; None without one."""
    try:
        return parsedate_to_datetime(exchange.header("date") or "").timestamp()
    except ValueError:
        return None


def seconds_left(exchange: Exchange, *, advanced_s: float) -> float | None:
    """Return how long the window still lasted, by the server's clock; None if unknown.

    ``advanced_s`` is how far the clock of the windows was moved ahead of the Date header.
    """
    now, reset = server_unix_s(exchange), window_headers_of(exchange).reset_unix_s
    return None if now is None or reset is None or reset >= MILLISECONDS else reset - now - advanced_s


def is_same_window(exchange: Exchange, earlier: Exchange) -> bool:
    """Return whether two admitted requests were told the same end of their window."""
    ends = _end_of(exchange), _end_of(earlier)
    return ends[0] is not None and ends[1] is not None and abs(ends[0] - ends[1]) <= 1


def _end_of(exchange: Exchange) -> int | None:
    """Return the end of the window that an admitted request was told; None for any other."""
    return window_headers_of(exchange).reset_unix_s if exchange.is_success else None


def _falls_by_one(exchange: Exchange, earlier: Exchange, *, expected: str) -> Iterator[Claim]:
    before, now = window_headers_of(earlier).remaining, window_headers_of(exchange).remaining
    if is_same_window(exchange, earlier) and before is not None and now is not None and before > 0:
        words = f"{expected}: {before - 1}, after {before}"
        yield header_is(exchange, _REMAINING, words, holds=now == before - 1)


@check("rate.remaining-falls", needs=_LIMITED)
def remaining_falls(exchange: Exchange, *, earlier: Exchange) -> Iterator[Claim]:
    """Each request lowers the remaining number by one."""
    yield from _falls_by_one(exchange, earlier, expected="one less")


@check("rate.remaining-falls", needs=_LIMITED, applies=is_limited_run)
def remaining_never_rises(exchange: Exchange, *, earlier_runs: Sequence[Exchange]) -> Iterator[Claim]:
    """Within a window, each run leaves less than every earlier one, whichever key or test sent that.

    ``earlier_runs`` are runs of the account on the route that had ended when this one was sent.
    """
    in_window = [window_headers_of(each).remaining for each in earlier_runs if is_same_window(exchange, each)]
    lowest = min((each for each in in_window if each is not None), default=None)
    now = window_headers_of(exchange).remaining
    if now is not None and lowest is not None:
        of_some = f"less than {lowest}, which an earlier run of the window left"
        expected = of_some if lowest else "429, as an earlier run left nothing of the window"
        yield header_is(exchange, _REMAINING, expected, holds=now < lowest)


@check("rate.remaining-falls", needs=_LIMITED)
def remaining_counts(exchange: Exchange, *, admitted: int, is_alone: bool) -> Iterator[Claim]:
    """What is left of a window is the limit less all admitted requests.

    ``admitted`` is the number of the test's own runs that the window admitted, this one included;
    ``is_alone`` says that no other client uses the account.
    """
    told = window_headers_of(exchange)
    if exchange.is_success and told.limit is not None and told.remaining is not None:
        left = told.limit - admitted
        holds = told.remaining == left or (told.remaining < left and not is_alone)
        expected = f"{'' if is_alone else 'at most '}{left}: {admitted} of {told.limit} are admitted"
        yield header_is(exchange, _REMAINING, expected, holds=holds)


@check("rate.separate-per-route", needs=(rate_limits.BUSINESS_KEY_FOR_BOTH,))
def separate_routes(exchange: Exchange, *, earlier: Exchange) -> Iterator[Claim]:
    """Model runs in between do not count against workflow runs."""
    yield from _falls_by_one(exchange, earlier, expected="one less than before the other route")


@check("rate.per-user-not-per-key", needs=(rate_limits.TWO_LIMITED_KEYS,))
def shared_by_keys(exchange: Exchange, *, earlier: Exchange, advanced_s: float) -> Iterator[Claim]:
    """A second key of the account continues the count of the first.

    A window of the second key's own would have more left, and might end at another time.
    """
    left = seconds_left(earlier, advanced_s=advanced_s)
    passed_s = (exchange.started_at - earlier.started_at).total_seconds()
    if left is not None and passed_s < left - ROUNDING_S:
        ends = window_headers_of(exchange).reset_unix_s, window_headers_of(earlier).reset_unix_s
        if exchange.is_success and ends[0] is not None:
            is_same, expected = is_same_window(exchange, earlier), f"{ends[1]}, as the first key was told"
            yield header_is(exchange, _RESET, expected, holds=is_same)
    yield from _falls_by_one(exchange, earlier, expected="one less than the first key was left")


@check("rate.per-user-not-per-key", needs=(rate_limits.LIMITED_KEY_AND_STRANGER,))
def separate_accounts(exchange: Exchange, *, earlier: Exchange) -> Iterator[Claim]:
    """Runs of another account in between do not count."""
    yield from _falls_by_one(exchange, earlier, expected="one less than before the other account")


def _is_throttled(case: Case) -> bool:

    return case.exchange.status == 429 and case.key is not None


@check(*_FACT_BY_TIER.values(), needs=(MAY_RUN,), applies=is_limited_run)
def told_limit(exchange: Exchange, *, tier: str) -> Iterator[Claim]:
    """The limit in the headers is the tier's."""
    told = window_headers_of(exchange).limit
    if exchange.is_success and told is not None:
        yield is_limit_of_tier(told, tier)


def is_limit_of_tier(told: int, tier: str) -> Claim:
    """Claim that ``X-RateLimit-Limit`` tells the limit of a tier."""
    limit, where = LIMIT_BY_TIER[tier], "header X-RateLimit-Limit"
    return Claim(f"{limit} for {tier}", f"{told}", holds=told == limit, where=where, fact=_FACT_BY_TIER[tier])


@check(*_FACT_BY_TIER.values(), needs=(MAY_RUN,))
def within_limit(exchange: Exchange, *, tier: str, number: int) -> Iterator[Claim]:
    """As many requests as the tier's limit are admitted in one window.

    The exchange is the last of the requests up to the limit, or the first of them that was refused.
    """
    observed = f"request {number} of the window: {exchange.answer}"
    yield all_admitted(tier, holds=exchange.status != 429, observed=observed)


def all_admitted(tier: str, *, holds: bool, observed: str) -> Claim:
    """Claim that a window admitted as many requests as the tier's limit."""
    expected = f"{LIMIT_BY_TIER[tier]} requests admitted"
    return Claim(expected, observed, holds=holds, fact=_FACT_BY_TIER[tier])


@check("rate.window-is-fixed-60-s", needs=_LIMITED, applies=lambda case: case.is_run)
def window_ends(exchange: Exchange, *, advanced_s: float) -> Iterator[Claim]:
    """A window ends at most 60 s from now, and not before the request was sent."""
    left = seconds_left(exchange, advanced_s=advanced_s)
    # The window that admitted the run may end during the run; a cached Date may be as old as the run.
    took_s = exchange.elapsed_ms / 1000
    if left is not None:
        expected = f"0 to {WINDOW_S} s from now, give or take the {took_s:.0f} s that the run took"
        holds = -ROUNDING_S - took_s <= left <= WINDOW_S + ROUNDING_S + took_s
        yield Claim(expected, f"{left:.0f} s from now", holds=holds, where=f"header {_RESET}")


@check("rate.window-is-fixed-60-s", needs=(*_LIMITED, CONTROL))
def window_stands(exchange: Exchange, *, earlier: Exchange) -> Iterator[Claim]:
    """Until its end, a window keeps that end and goes on counting.

    The exchange was sent shortly before the end that ``earlier`` was told.
    """
    before, now = window_headers_of(earlier), window_headers_of(exchange)
    told = (before.remaining, before.reset_unix_s, now.remaining, now.reset_unix_s)
    if not exchange.is_success or before.remaining is None or now.remaining is None or None in told:
        return
    observed = f"a window that ends at {now.reset_unix_s}, {now.remaining} left, {before.remaining} before"
    holds = is_same_window(exchange, earlier) and now.remaining < before.remaining
    yield Claim(f"still the window that ends at {before.reset_unix_s}", observed, holds=holds)


@check("rate.window-is-fixed-60-s", needs=_LIMITED, applies=is_limited_run)
def ends_apart(exchange: Exchange, *, earlier_runs: Sequence[Exchange]) -> Iterator[Claim]:
    """A run is told the same end of the window as earlier runs of the account, or one at least 60 s later."""
    ends = [each for run in earlier_runs if (each := _end_of(run)) is not None]
    end = _end_of(exchange)
    if ends and end is not None:
        yield is_same_or_later(end, ends)


def is_same_or_later(end_unix_s: int, earlier_unix_s: Collection[int]) -> Claim:
    """Claim that a window ends when an earlier one was said to end, or at least 60 s later."""
    others = [each for each in earlier_unix_s if abs(end_unix_s - each) > ROUNDING_S]
    too_near = [each for each in others if end_unix_s - each < WINDOW_S - ROUNDING_S]
    expected = f"{max(too_near or earlier_unix_s)} as before, or {WINDOW_S} s later"
    where = f"header {_RESET}"
    return Claim(expected, f"{end_unix_s}", holds=not too_near, where=where, fact=_FIXED_WINDOW)


@check("rate.window-is-fixed-60-s", needs=_FILLED)
def window_turned(exchange: Exchange, *, earlier: Exchange) -> Iterator[Claim]:
    """After a window's end, or the wait that a 429 asks for, a new window of at least 60 s has begun.

    ``earlier`` is a response in the window before: a window ends at least 60 s after the one before it. Only
    this request counts in the new one.
    """
    yield _unthrottled(exchange, "admitted: the window is over")
    now = window_headers_of(exchange)
    if exchange.is_success and now.limit is not None and now.remaining is not None:
        holds = now.remaining >= now.limit - 1  # more is a wrong count, and judged as that
        yield header_is(exchange, _REMAINING, f"{now.limit - 1}: all but this request", holds=holds)
    end, end_before = now.reset_unix_s, window_headers_of(earlier).reset_unix_s
    if exchange.is_success and end is not None and end_before is not None:
        expected = f"{end_before + WINDOW_S} or later: {WINDOW_S} s after the window before"
        yield header_is(exchange, _RESET, expected, holds=end - end_before >= WINDOW_S - ROUNDING_S)


@check("rate.window-is-fixed-60-s", needs=_FILLED)
def told_wait(exchange: Exchange) -> Iterator[Claim]:
    """A 429 asks to wait no longer than a window lasts."""
    wait_s = whole_number(exchange.header("retry-after"))
    if exchange.status == 429 and wait_s is not None:
        yield is_short_wait(wait_s)


def is_short_wait(wait_s: int) -> Claim:
    """Claim that a ``Retry-After`` is no longer than a window."""
    holds, where = wait_s <= WINDOW_S + ROUNDING_S, "header Retry-After"
    return Claim(f"at most {WINDOW_S} s", f"{wait_s} s", holds=holds, where=where, fact=_FIXED_WINDOW)


@check("rate.per-user-not-per-key", needs=(*_FILLED, rate_limits.TWO_LIMITED_KEYS))
def refused_for_every_key(exchange: Exchange, *, over: Exchange) -> Iterator[Claim]:
    """While a window is full, a second key of the account is refused too.

    ``over`` is the refusal that the first key got; nothing is claimed once its Retry-After has passed.
    """
    wait_s = whole_number(over.header("retry-after"))
    passed_s = (exchange.started_at - over.started_at).total_seconds()
    if over.status == 429 and wait_s is not None and passed_s < wait_s - ROUNDING_S:
        yield answer_is(exchange, "429, as for the first key", holds=exchange.status == 429)


@check("rate.per-user-not-per-key", needs=(*_FILLED, rate_limits.LIMITED_KEY_AND_STRANGER))
def others_admitted(exchange: Exchange, *, over: Exchange) -> Iterator[Claim]:
    """While a window is full, another account is still admitted."""
    if over.status == 429 and exchange.status is not None:
        yield _unthrottled(exchange, "admitted: it is another account")


@check("rate.separate-per-route", needs=(*_FILLED, PRO_MODEL_KEY))
def other_route_open(exchange: Exchange, *, over: Exchange) -> Iterator[Claim]:
    """While the window of workflow runs is full, a model run is refused for its tier, and not with a 429."""
    if over.status == 429 and exchange.status is not None:
        yield _unthrottled(exchange, "anything but 429: no model was run")


@check(
    "tier.rate-limit-enterprise",
    needs=(rate_limits.ENTERPRISE_AUTHOR, CONTROL),
    applies=lambda case: (
        _is_throttled(case) and case.known["tier"] == "enterprise" and case.known["role"] != "admin"
    ),
)
def enterprise(exchange: Exchange) -> Iterator[Claim]:
    """An enterprise account is never throttled."""
    yield _unthrottled(exchange, "no limit")


@check(
    "tier.admin-bypasses-gates",
    needs=(ADMIN_KEY, MAY_RUN, MAY_WRITE, CONTROL),
    applies=lambda case: _is_throttled(case) and case.known["role"] == "admin",
)
def administrator(exchange: Exchange) -> Iterator[Claim]:
    """An administrator is never throttled."""
    yield _unthrottled(exchange, "no limit")


def _unthrottled(exchange: Exchange, expected: str) -> Claim:
    return answer_is(exchange, expected, holds=exchange.status != 429)
