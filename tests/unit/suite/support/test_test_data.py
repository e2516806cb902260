"""TestData are created once, by the first test that needs one; after a failure, the next test tries."""

import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from knouds_harness.suite.concurrent_tests import RunLock
from knouds_harness.suite.support.test_data import TestData
from knouds_harness.suite.untested import Untested

WITHIN_S = 10


def answering(bodies, lock, asked):
    """Make a tester whose creates get these bodies; others get the lock meanwhile."""

    def send(*_):
        asked.release()
        with lock.released():
            body = bodies.pop(0)()
        request = SimpleNamespace(operation_id="createWorkflow")
        return SimpleNamespace(
            json_or_none=lambda: body,
            members=body if isinstance(body, dict) else {},
            status=201,
            is_success=True,
            code=None,
            answer="201",
            request=request,
        )

    return SimpleNamespace(
        send=send,
        need=lambda _: "full",
        idle=lock.idle,
        client=SimpleNamespace(
            created=SimpleNamespace(may_write=lambda slug: slug.startswith("harness"), found=lambda *_: None)
        ),
    )


def test_concurrent_tests_share_one_workflow():
    lock, asked, may_answer = RunLock(), threading.Semaphore(0), threading.Event()

    def first_body():
        assert may_answer.wait(WITHIN_S)
        return {"slug": "harness-scratch"}

    test_data = TestData(answering([first_body], lock, asked))

    def ask():
        with lock.held():
            return test_data.scratch_slug

    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(ask)
        assert asked.acquire(timeout=WITHIN_S)
        second = threads.submit(ask)
        with lock.held():  # the second has asked, or will when the first one's answer is on its way
            may_answer.set()

        assert first.result(WITHIN_S) == second.result(WITHIN_S) == "harness-scratch"


def test_failed_create_is_tried_again():
    """Otherwise later tests would have no workflow."""
    lock = RunLock()
    bodies = [dict, list, lambda: {"slug": "harness-scratch"}]
    test_data = TestData(answering(bodies, lock, threading.Semaphore(0)))

    with pytest.raises(Untested, match="a workflow to write to"):
        _ = test_data.scratch_slug

    assert test_data.scratch_slug == "harness-scratch"
