"""Rate-limit windows of targets whose clock cannot be moved: waited for, filled, or left alone."""

from contextlib import suppress
from datetime import UTC, datetime
from email.utils import formatdate
from types import SimpleNamespace
from typing import Any

import pytest
from exchanges import exchange

from knouds_harness.judging.checks.rate_limits import ends_apart
from knouds_harness.suite.request_failures import RateLimitRetry
from knouds_harness.suite.support.rate_limit_window import RateLimitWindow
from knouds_harness.suite.untested import Untested

START_UNIX_S = 1_795_000_000
LIMIT = 100


class Target:
    """A server with one bucket, whose clock moves while the harness waits; others may use it too."""

    def __init__(self, *, used=0, elapsed_ms=10.0, others=0, headers=True, dates=True, window_s=60, more=0):
        self.now_unix_s, self.dates = START_UNIX_S, dates
        self.window_s, self.more = window_s, more
        self.ends_unix_s, self.used = START_UNIX_S + 30, used
        self.elapsed_ms, self.others, self.headers = elapsed_ms, others, headers
        self.waits_s = []
        self.claims = []
        self.own = []

    def wait(self, seconds):
        self.waits_s.append(seconds)
        self.now_unix_s += seconds

    def run(self, *_, **__):
        if self.now_unix_s >= self.ends_unix_s:
            self.ends_unix_s, self.used = self.now_unix_s + self.window_s, self.others
        self.used += 1
        headers = {"date": formatdate(self.now_unix_s, usegmt=True)} if self.dates else {}
        if self.headers:
            headers["x-ratelimit-limit"] = str(LIMIT)
            headers["x-ratelimit-remaining"] = str(max(0, LIMIT - self.used + self.more))
            headers["x-ratelimit-reset"] = str(int(self.ends_unix_s))
        if self.used > LIMIT:
            headers["retry-after"] = str(int(self.ends_unix_s - self.now_unix_s))
        answer = exchange(429 if self.used > LIMIT else 200, {}, headers=headers)
        object.__setattr__(answer, "elapsed_ms", self.elapsed_ms)
        object.__setattr__(answer, "started_at", datetime.fromtimestamp(self.now_unix_s, UTC))
        self.claims += ends_apart.judge(answer, earlier_runs=self.own[-4:])  # as of every run
        self.own.append(answer)
        return answer


def window(server, *, price_credits=0.0, left_credits=1000.0, requests_per_s=None):
    limits = SimpleNamespace(requests_per_s=requests_per_s)
    tester = SimpleNamespace(
        target=SimpleNamespace(control=None, limits=limits, found_by_need={}),
        most_at_once=4,
        wait=server.wait,
        rate_limit_retry=RateLimitRetry(pass_time=server.wait),
        advanced_s=0.0,
        runs=SimpleNamespace(of=lambda *_: server.own),
        price=lambda _: price_credits,
        client=SimpleNamespace(guard=SimpleNamespace(budget=SimpleNamespace(left_credits=left_credits))),
        send_together=lambda *_, times: [server.run() for _ in range(times)],
        judge=lambda check, *exchanges, **others: server.claims.extend(check.judge(*exchanges, **others)),
    )
    test_data = SimpleNamespace(run=server.run, running=lambda *_: ("runWorkflow", None, None))
    parts: dict[str, Any] = {
        "tester": tester,
        "test_data": test_data,
        "persona": SimpleNamespace(user="dana"),
        "workflow": None,
    }
    return RateLimitWindow(**parts)


def used_window(runs, **how):
    """Return a server in a new window, which only this check has used so far."""
    server = Target(**how)
    opened = window(server)
    server.ends_unix_s = START_UNIX_S
    for _ in range(runs):
        server.run()
    return server, opened


def filled(opened):
    """Fill a window, whose limit has to fit exactly; return how many requests it had counted at first."""
    first, counted = opened.begin()
    answers = opened.fill(first, LIMIT - counted)
    assert {each.status for each in answers} == {200}
    assert opened.run().status == 429
    return counted


@pytest.mark.parametrize("dates", [True, False], ids=["Date", "no Date"])
@pytest.mark.parametrize("used", [0, 40, LIMIT, LIMIT + 7])
def test_new_window_is_waited_for(used, dates):
    """Whatever was sent before: the next request is the first of its window, and the limit fits exactly."""
    server = Target(used=used, dates=dates)
    opened = window(server)

    assert filled(opened) == 1
    assert server.waits_s == [pytest.approx(31, abs=0.02)]
    assert all(claim.holds for claim in server.claims)


@pytest.mark.parametrize("are_refused_counted", [True, False])
def test_window_that_only_this_check_used_is_filled_at_once(are_refused_counted):
    """Whether refused requests count is open, and makes no difference."""
    server, opened = used_window(20)
    refused = exchange(400, {}, headers={"date": formatdate(server.now_unix_s, usegmt=True)})
    server.own += [refused] * 5
    server.used += 5 if are_refused_counted else 0
    server.wait(10)
    server.waits_s.clear()

    assert filled(opened) == (26 if are_refused_counted else 21)
    assert server.waits_s == []


@pytest.mark.parametrize(("others", "seconds"), [(1, 10), (0, 50)])
def test_window_used_by_others_or_ending_soon_is_waited_out(others, seconds):
    """The use by others is unknown, and too little time is left to fill it."""
    server, opened = used_window(20)
    server.used += others
    server.wait(seconds)
    server.waits_s.clear()

    _, counted = opened.begin()

    assert counted == 1
    assert server.waits_s == [61 - seconds]


@pytest.mark.parametrize("own", [1, 20])
def test_remaining_that_is_one_too_high_is_cited_and_the_window_filled(own):
    """The finding is about Remaining, and not about a window that ends one run early."""
    server, opened = used_window(own, more=1)

    assert filled(opened) == own + 1
    wrong = [claim for claim in server.claims if not claim.holds]
    assert {(each.fact, each.where) for each in wrong} == {
        ("rate.remaining-falls", "header X-RateLimit-Remaining")
    }
    assert wrong[0].observed == f"{LIMIT - own}"


@pytest.mark.parametrize("more", [1, -1])
def test_window_with_an_uncertain_count_is_waited_out(more):
    """After a refused run, Remaining may be off by one, or count that run as well."""
    server, opened = used_window(20)
    server.own.append(exchange(400, {}, headers={"date": formatdate(server.now_unix_s, usegmt=True)}))
    server.used += more == 1
    server.more = more
    waited_before = len(server.waits_s)

    with suppress(Untested):  # in the next window, one that is too high is surely wrong
        assert opened.begin()[1] == 1

    assert len(server.waits_s) > waited_before
    assert [claim.holds for claim in server.claims].count(False) == (more == 1)


def test_failed_run_makes_the_count_uncertain():
    server = Target()
    opened = window(server)
    first, _ = opened.begin()
    opened.tester.send_together = lambda *_, **__: [server.run(), exchange(500, {}), server.run()]

    with pytest.raises(Untested, match="one was answered 500"):
        opened.fill(first, 15)


@pytest.mark.parametrize("others", [0, 3])
def test_short_window_is_a_breach_even_if_others_use_it(others):
    """A window that ends after 30 s is not taken for a shared one."""
    server = Target(window_s=30, others=others)

    with pytest.raises(Untested, match="no other client uses"):
        window(server).begin()

    ends = [claim for claim in server.claims if claim.where == "header X-RateLimit-Reset"]
    assert [claim.holds for claim in ends] == [False, False]


@pytest.mark.parametrize(
    ("server", "options", "missing"),
    [
        (Target(others=3), {}, "no other client uses"),
        (Target(headers=False), {}, "headers that say when"),
        (Target(elapsed_ms=3000.0), {}, "runs quick enough"),
        (Target(), {"requests_per_s": 1.5}, "runs quick enough"),
        (Target(), {"price_credits": 20.0}, "1980 needed, 1000 left"),
    ],
)
def test_window_that_cannot_be_filled_is_untested(server, options, missing):
    """Other clients, slow runs, a low rate and too few credits do not count against the target."""
    opened = window(server, **options)

    with pytest.raises(Untested, match=missing):
        opened.fill(opened.begin()[0], LIMIT - 1)

    assert server.used <= LIMIT // 2
