"""The progress of a run, sent once a second from the counts of its processes."""

import os
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from load_workload import options, second_of
from locust.env import Environment

from knouds_harness.errors import ExitCode
from knouds_harness.exchange.redaction import Redactor
from knouds_harness.load.collection.metrics import RunMetrics
from knouds_harness.load.collection.rows import Waiting
from knouds_harness.load.collection.seconds import Error, Second, now_unix_s
from knouds_harness.load.leader.results import RunResults
from knouds_harness.load.leader.workers import Health
from knouds_harness.load.workload.preflight import LoadSetup
from knouds_harness.runs.load_progress import Listener, ProgressMessage, tell
from knouds_harness.runs.operation_load import RequestStatus


@pytest.fixture
def health():
    return Health(cpu_share=0.2, spent_credits=12.0, in_flight=3)


@pytest.fixture
def pipe():
    ends = os.pipe()
    yield ends
    for each in ends:
        os.close(each)


@pytest.fixture
def listener(pipe):
    return Listener(pipe[0])


@pytest.fixture
def metrics():
    metrics = RunMetrics()
    metrics.begin(now_unix_s() - 10)
    return metrics


@pytest.fixture
def progress(tmp_path, metrics, health):
    asked: Any = options("--rate", "50", "--users", "100", "--credits", "100")
    others: Any = {"workers": SimpleNamespace(health=lambda: health), "evidence": None}
    results = RunResults(
        Environment(), LoadSetup(options=asked), metrics=metrics, redactor=Redactor(), **others
    )
    return lambda *newest: results.progress(newest, folder=tmp_path)


def test_progress_has_all_requests_and_the_recent_rate(progress, metrics):
    for unix_s in range(100, 120):
        metrics.add(second_of(unix_s, ok=10 if unix_s < 110 else 50))

    now = progress()

    assert (now.asked_per_s, now.recent_per_s) == (50, 50)
    assert now.requests == 10 * 10 + 10 * 50


def test_counts_are_as_new_as_the_clock(progress, metrics):
    """They include seconds that are not over, or wait for late parts; rate and times do not."""
    metrics.add(second_of(100, ok=10))
    error = Error("a", RequestStatus.FAILED, 500, "X")

    now = progress(second_of(101, ok=5), replace(second_of(102, failed=2), errors=Counter({error: 2})))

    assert (now.requests, now.by_status["ok"], now.by_status["failed"]) == (17, 15, 2)
    assert [(each.code, each.count) for each in now.errors] == [("X", 2)]
    assert metrics.ended.total() == 10


def test_requests_that_wait_for_long_are_told(progress, health):
    health.waiting = (Waiting("a", 1.5, 4), Waiting("b", 7.2, 3))

    now = progress()

    assert (now.waiting, now.longest_wait_s) == (7, 7.2)


def test_end_of_the_load_is_told_while_answers_are_awaited(progress, metrics):
    assert progress().ended_at_s is None

    metrics.end(metrics.start_unix_s + 6)

    assert progress().ended_at_s == 6


def test_warning_names_a_target_that_has_become_slow(progress, metrics, health):
    """Rather than ask for more users."""
    health.due, health.dropped, health.waiting = 100, 50, (Waiting("a", 4.0, 50),)
    metrics.at_first.record(0.012, 50)

    (limit,) = progress().limits

    assert "The target is slow: half of the requests take over 4,000 ms, and at first took 12.0 ms." in limit


def test_errors_are_grouped_most_frequent_first(progress, metrics):
    rare, frequent = (
        Error("a", RequestStatus.FAILED, 500, "X"),
        Error("b", RequestStatus.THROTTLED, 429, "Y"),
    )
    errors = Counter({rare: 1, frequent: 5, frequent._replace(operation="a"): 5})
    metrics.add(Second(unix_s=100, errors=errors))

    assert [(each.code, each.count) for each in progress().errors] == [("Y", 10), ("X", 1)]


def test_message_is_received_as_it_was_sent(pipe, listener, progress, metrics):
    metrics.add(second_of(100, ok=10))
    tell(pipe[1], ProgressMessage(progress=progress()))
    metrics.add(second_of(101, failed=1))
    tell(pipe[1], ProgressMessage(progress=progress(), exit_code=ExitCode.BREACH))

    told = listener.hear()

    assert told.has_begun
    assert told.exit_code == ExitCode.BREACH
    assert told.progress is not None
    assert told.progress.by_status["failed"] == 1
    assert told.progress.percentiles_ms["50"] == pytest.approx(1.0, rel=0.001)
    assert (told.progress.spent_credits, told.progress.most_credits, told.progress.in_flight) == (12, 100, 3)


def test_verdict_survives_later_messages(pipe, listener, progress):
    tell(pipe[1], ProgressMessage(exit_code=ExitCode.KEPT))
    tell(pipe[1], ProgressMessage(progress=progress()))

    assert listener.hear().exit_code == ExitCode.KEPT


def test_incomplete_line_waits_for_its_end(pipe, listener):
    os.write(pipe[1], b'{"exit_')
    assert listener.hear() == ProgressMessage()

    os.write(pipe[1], b'code": 4}\n')
    assert listener.hear() == ProgressMessage(exit_code=4)


def test_closed_pipe_is_ignored(pipe):
    os.dup2(os.open(os.devnull, os.O_RDONLY), pipe[0])  # its number stays, or gevent would take it

    tell(pipe[1], ProgressMessage())
