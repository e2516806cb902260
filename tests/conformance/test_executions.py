"""Executions go the documented ways: submit, poll, cancel, end."""

from __future__ import annotations

from functools import partial

import pytest

from knouds_harness.conformance.charges import is_without_row, row_of_request, row_once_settled
from knouds_harness.conformance.checks import executions as checks
from knouds_harness.conformance.checks import refusals, usage
from knouds_harness.conformance.history import await_rows
from knouds_harness.conformance.needs import (
    FAILING_POLLED_MODEL,
    MAY_CANCEL,
    OWN_POLLED_WORKFLOW,
    POLLED_MODEL,
    STRANGER_KEY,
    once,
)
from knouds_harness.conformance.probe import UNTESTED, Call
from knouds_harness.conformance.statuses import body_of, status_in, statuses_in
from knouds_harness.conformance.trails import Executions, is_cancel

SAMPLES = 5
POLLS_AFTER_CANCEL = 3
PAUSE_S = 0.1
KEPT_S = 4.0


@pytest.fixture(scope="module")
def executions(probe, subjects):
    """Executions that the tests share; the marker ``spends`` stands where each is made first."""
    return Executions(probe, subjects)


def statuses_after_cancel(trail):
    """What polls showed after the first cancel."""
    return statuses_in(trail.exchanges[trail.cancelled_at + 1 :])


@pytest.mark.spends.with_args(lambda target: once(POLLED_MODEL)(target) * SAMPLES)
@pytest.mark.proves(checks.submit_is_quick)
def test_submit_is_quick(probe, executions):
    """A submit is answered in under 500 ms."""
    submits = [trail.submitted for trail in executions.samples]

    probe.judge(checks.submit_is_quick, submits[-1], elapsed_ms=[each.elapsed_ms for each in submits])


@pytest.mark.proves(checks.fresh_id)
def test_fresh_ids(probe, executions):
    """Each submit gets an executionId that no earlier one got."""
    earlier: set[object] = set()
    for trail in executions.samples:
        probe.judge(checks.fresh_id, trail.submitted, earlier=frozenset(earlier))
        earlier.add(body_of(trail.submitted).get("executionId"))


@pytest.mark.proves(checks.cancel_in_flight)
def test_cancel_in_flight(probe, executions):
    """An execution in flight is cancelled on request."""
    for trail in executions.cancelled_samples:
        cancel = trail.exchanges[trail.cancelled_at]
        probe.judge(checks.cancel_in_flight, cancel, after=statuses_after_cancel(trail))


@pytest.mark.proves(checks.cancels_take_effect)
def test_cancels_take_effect(probe, executions):
    """Of several accepted cancels, one at least shows in what polls say."""
    accepted = [each for each in executions.cancelled_samples if body_of(each.exchanges[each.cancelled_at])]
    if accepted:
        cancel = accepted[-1].exchanges[accepted[-1].cancelled_at]
        after_each = [statuses_after_cancel(each) for each in accepted]
        probe.judge(checks.cancels_take_effect, cancel, after_each=after_each)


@pytest.mark.proves(checks.cancelled_again)
def test_cancelled_again(probe, executions):
    """An execution in flight is not unknown to a second cancel."""
    for trail in executions.cancelled_samples:
        second = [i for i, each in enumerate(trail.exchanges) if is_cancel(each)][1:]
        for place in second:
            before, after = status_in(trail.exchanges[place - 1]), status_in(trail.exchanges[place + 1])
            if before and after:
                probe.judge(checks.cancelled_again, trail.exchanges[place], before=before, after=after)


@pytest.mark.proves(checks.cancels_do_not_fail)
def test_cancels_do_not_fail(probe, executions):
    """Cancelling does not make each run fail that completes when it is left alone."""
    accepted = [each for each in executions.cancelled_samples if body_of(each.exchanges[each.cancelled_at])]
    if accepted:
        alone = next(each for each in executions.left_alone if each.resource == accepted[-1].resource)
        cancel = accepted[-1].exchanges[accepted[-1].cancelled_at]
        endings = [each.ending for each in accepted]
        probe.judge(checks.cancels_do_not_fail, cancel, endings=endings, alone=alone.ending)


@pytest.mark.proves(checks.cancelled_is_charged)
def test_cancelled_is_charged(probe, executions):
    """A cancelled run that has a price is charged as one that nobody cancelled is."""

    def row_of(trail):
        return row_once_settled(probe, trail.resource, partial(row_of_request, request_id=trail.request_id))

    row_alone = row_of(executions.to_end(executions.of_model))
    for trail in executions.cancelled_samples:
        if trail.ending == "cancelled" and probe.price(trail.resource) > 0:
            row = row_of(trail)
            is_missing = row is None and is_without_row(probe, trail.resource, trail.request_id)
            probe.judge(
                checks.cancelled_is_charged, trail.last, row=row, is_missing=is_missing, alone=row_alone
            )
            if is_missing:
                break  # the others would be waited for as long


@pytest.mark.spends.with_args(once(OWN_POLLED_WORKFLOW))
@pytest.mark.proves(checks.workflow_submit)
def test_workflow_submit(probe, executions):
    """A workflow's submit carries the slug of the workflow that was run."""
    trail = executions.of_workflow

    probe.judge(checks.workflow_submit, trail.submitted, slug=trail.resource.slug)


@pytest.mark.spends.with_args(once(POLLED_MODEL))
@pytest.mark.proves(checks.poll_url)
def test_poll_url(probe, executions):
    """What a submit's pollUrl leads to is the execution submitted."""
    submitted = executions.of_model.submitted
    url = body_of(submitted).get("pollUrl")

    if isinstance(url, str) and url.startswith("/") and url.isascii() and url.isprintable():
        probe.judge(checks.poll_url, probe.send_elsewhere("GET", url, executions.owner), submitted=submitted)


@pytest.mark.proves(checks.fails)
def test_what_fails_ends_as_failed(probe, executions):
    """An execution of a model that always fails ends as failed."""
    probe.need(FAILING_POLLED_MODEL)

    probe.judge(checks.fails, executions.left_alone[-1].last)


@pytest.mark.spends.with_args(once(FAILING_POLLED_MODEL))
@pytest.mark.proves(checks.ends_in_time)
def test_ends_in_time(probe, executions):
    """An execution has ended when the profile's deadline is over."""
    for trail in executions.left_alone:
        probe.judge(checks.ends_in_time, trail.last, deadline_s=trail.resource.deadline_s)


@pytest.mark.proves(usage.row_of_run)
def test_workflow_run_has_a_row(probe, executions):
    """An asynchronous run of a workflow has a row that ends as it did."""
    workflow = probe.need(OWN_POLLED_WORKFLOW)
    trail = next(each for each in executions.left_alone if each.resource == workflow)
    if not isinstance(trail.request_id, str):
        pytest.skip(f"{UNTESTED}a submit that names its request")
    what = {"known": (), "workflow_slug": workflow.slug, "model_id": None, "request_id": trail.request_id}
    what |= {"ending": trail.ending}

    def is_enough(rows):
        return all(each.holds for each in usage.row_of_run.judge(trail.submitted, rows=rows, **what))

    rows = await_rows(probe, executions.owner, is_enough)

    probe.judge(usage.row_of_run, trail.submitted, rows=rows, **what)


@pytest.mark.proves(refusals.FOREIGN_EXECUTION)
def test_ended_execution_of_another(probe, executions):
    """Someone else's execution is a 404 when it has ended as well."""
    for trail in executions.left_alone:
        call = Call(path_values={"id": str(body_of(trail.submitted).get("executionId"))})
        exchange = probe.send("getExecution", probe.need(STRANGER_KEY), call)
        probe.judge(refusals.FOREIGN_EXECUTION, exchange)


@pytest.mark.proves(checks.edges)
def test_edges(probe, executions):
    """A status changes only as documented, polled on after the end too."""
    cancelled = executions.cancelled_samples if MAY_CANCEL.find(probe.target) else []

    watched = executions.watched([*executions.left_alone, *cancelled[:2]])

    for trail in (*watched, *cancelled[2:]):
        probe.judge(checks.edges, trail.last, statuses=statuses_in(trail.exchanges))


@pytest.mark.proves(checks.end_stands, checks.cancel_after_end)
def test_cancel_after_end(probe, executions):
    """Cancelling an ended execution is a 409, 400 or 200, and leaves its status alone."""
    trails = [executions.polled(each) for each in (*executions.left_alone, *executions.cancelled_samples[:1])]
    ended = [trail for trail in trails if trail.ending is not None]
    cancelled = [executions.cancelled(trail) for trail in ended]
    for trail in cancelled:
        probe.judge(checks.cancel_after_end, trail.last)
    for _ in range(POLLS_AFTER_CANCEL):
        for before, trail in zip(ended, cancelled, strict=True):
            probe.judge(checks.end_stands, executions.polled(trail).last, ending=before.ending)
        probe.wait(PAUSE_S)


@pytest.mark.proves(checks.stays_known)
@pytest.mark.parametrize("pause_s", [0.0, pytest.param(KEPT_S, marks=pytest.mark.thorough)])
def test_ended_execution_stays_known(probe, executions, pause_s):
    """An execution is there for its owner as long as this run looks, ended some seconds ago too."""
    trails = list(executions.left_alone)
    if MAY_CANCEL.find(probe.target):
        trails += executions.cancelled_samples
    probe.wait(pause_s)
    for trail in map(executions.polled, trails):
        shown = None
        for poll in trail.polls:
            if shown is not None:
                probe.judge(checks.stays_known, poll, shown=shown)
            shown = status_in(poll) or shown
