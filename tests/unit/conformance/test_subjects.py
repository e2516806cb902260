"""Subjects: made once, whoever asks first, and by the next one where that failed."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from knouds_harness.conformance.side_by_side import Turn
from knouds_harness.conformance.subjects import Subjects

WITHIN_S = 10


def answering(bodies, turn, asked):
    """A probe that answers creates with these bodies, while others have the turn."""

    def send(*_):
        asked.release()
        with turn.passed_on():
            body = bodies.pop(0)()
        return SimpleNamespace(json_or_none=lambda: body, status=201, code=None, failure=None)

    return SimpleNamespace(
        send=send, need=lambda _: "full", client=SimpleNamespace(while_waiting=turn.passed_on)
    )


def test_tests_side_by_side_share_what_the_first_one_makes():
    """The second asks while the first one's request is on its way, and does not send another."""
    turn, asked, may_answer = Turn(), threading.Semaphore(0), threading.Event()

    def first_body():
        assert may_answer.wait(WITHIN_S)
        return {"slug": "harness-scratch"}

    subjects = Subjects(answering([first_body], turn, asked))

    def ask():
        with turn.taken():
            return subjects.scratch_slug

    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(ask)
        assert asked.acquire(timeout=WITHIN_S)
        second = threads.submit(ask)
        with turn.taken():  # the second has asked, or will when the first one's answer is on its way
            may_answer.set()

        assert first.result(WITHIN_S) == second.result(WITHIN_S) == "harness-scratch"


def test_what_could_not_be_made_is_tried_again():
    """A create that fails once does not leave all later tests without a workflow."""
    turn = Turn()
    bodies = [dict, lambda: {"slug": "harness-scratch"}]
    subjects = Subjects(answering(bodies, turn, threading.Semaphore(0)))

    with pytest.raises(pytest.skip.Exception, match="a workflow to write to"):
        _ = subjects.scratch_slug

    assert subjects.scratch_slug == "harness-scratch"
