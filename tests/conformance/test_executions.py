"""Executions go the documented ways: submit, poll, cancel, end."""

from functools import partial

import pytest

from knouds_harness.exchange.evidence import Call, body_of, status_in, statuses_in
from knouds_harness.judging.checks import envelopes, schemas, usage
from knouds_harness.judging.checks import executions as checks
from knouds_harness.suite.support.execution_traces import is_cancel
from knouds_harness.suite.support.usage_rows import (
    await_rows,
    is_without_row,
    row_of_request,
    row_once_settled,
)
from knouds_harness.suite.untested import Untested
from knouds_harness.targets.needs.runs import (
    ASYNC_MODEL_RUN,
    ASYNC_WORKFLOW_RUN,
    CANCELLED_MODEL_RUN,
    CANCELLED_RUN,
    CHARGED_CANCELLED_RUN,
    FAILING_ASYNC_RUN,
    FAILING_MODEL_RUN,
    FREE_ASYNC_RUN,
    is_paid,
    once,
)
from knouds_harness.targets.needs.workflows import READ_BY_STRANGER
from knouds_harness.targets.resources import Model

POLLS_AFTER_CANCEL = 3
PAUSE_S = 0.1
KEPT_S = 4.0


pytestmark = pytest.mark.waits


def statuses_after_cancel(trace):
    return statuses_in(trace.exchanges[trace.cancelled_at + 1 :])


def recorded(story, *names, needs):
    return pytest.mark.records(*names, needs=needs, is_named=True, story=story)


def keep_execution(tester, trace):
    """Have polls judged, and name the answers about an execution as those of the outcome that it had."""
    for poll in trace.polls:
        tester.judge(checks.poll_url, poll, submitted=trace.submitted)
    if isinstance(trace.resource, Model):
        how = {"completed": "", "failed": "-to-fail", "cancelled": "-to-cancel"}.get(trace.ending, "-endless")
        tester.keep(f"runModel-accepted{how}", trace.submitted)
        tester.keep(f"getExecution-{trace.ending}", trace.last)
        for poll in trace.polls if trace.ending == "completed" else ():
            if status_in(poll) == "processing":
                tester.keep("getExecution-processing", poll)
        for cancel in filter(is_cancel, trace.exchanges if trace.ending == "cancelled" else ()):
            tester.keep("cancelExecution-in-flight", cancel)
    elif trace.ending == "completed":
        tester.keep("runWorkflow-accepted", trace.submitted)
        tester.keep("getExecution-workflow-completed", trace.last)


@pytest.mark.shares("sample", "samples", unless=FREE_ASYNC_RUN)
@pytest.mark.proves(checks.submit_is_quick)
def test_submit_is_answered_in_under_half_a_second(tester, executions):
    """A submit is answered in under 500 ms."""
    submits = executions.submits

    tester.judge(checks.submit_is_quick, submits[-1], elapsed_ms=[each.elapsed_ms for each in submits])


@pytest.mark.shares("sample", "samples", unless=FREE_ASYNC_RUN)
@pytest.mark.proves(checks.fresh_id)
def test_each_submit_gets_a_new_execution_id(tester, executions):
    """Each submit gets an executionId that no earlier one got."""
    earlier: set[object] = set()
    for submitted in executions.submits:
        tester.judge(checks.fresh_id, submitted, earlier=frozenset(earlier))
        earlier.add(body_of(submitted).get("executionId"))


@pytest.mark.shares("sample")
@pytest.mark.proves(checks.cancel_in_flight)
@recorded(
    "cancelled-run",
    "runModel-accepted-to-cancel",
    "cancelExecution-in-flight",
    "getExecution-cancelled",
    needs=(CANCELLED_MODEL_RUN,),
)
def test_execution_in_flight_is_cancelled_on_request(tester, executions):
    """An execution in flight is cancelled on request."""
    for trace in executions.cancelled_samples:
        cancel = trace.exchanges[trace.cancelled_at]
        tester.judge(checks.cancel_in_flight, cancel, after=statuses_after_cancel(trace))
        keep_execution(tester, trace)


@pytest.mark.shares("sample", "samples")
@pytest.mark.proves(checks.cancels_take_effect)
def test_accepted_cancel_shows_in_the_polls(tester, executions):
    """Of several accepted cancels, one at least shows in what polls say."""
    accepted = [each for each in executions.cancelled_samples if body_of(each.exchanges[each.cancelled_at])]
    if accepted:
        cancel = accepted[-1].exchanges[accepted[-1].cancelled_at]
        after_each = [statuses_after_cancel(each) for each in accepted]
        tester.judge(checks.cancels_take_effect, cancel, after_each=after_each)


@pytest.mark.shares("sample")
@pytest.mark.proves(checks.cancelled_again)
def test_second_cancel_still_knows_the_execution(tester, executions):
    """An execution in flight is not unknown to a second cancel."""
    for trace in executions.cancelled_samples:
        second = [i for i, each in enumerate(trace.exchanges) if is_cancel(each)][1:]
        for place in second:
            before, after = status_in(trace.exchanges[place - 1]), status_in(trace.exchanges[place + 1])
            if before and after:
                tester.judge(checks.cancelled_again, trace.exchanges[place], before=before, after=after)


@pytest.mark.shares("sample", "samples", "of_any")
@pytest.mark.proves(checks.cancels_do_not_fail)
def test_cancelling_does_not_make_runs_fail(tester, executions):
    """Cancelling does not make each run fail that completes when it is left alone."""
    accepted = [each for each in executions.cancelled_samples if body_of(each.exchanges[each.cancelled_at])]
    if accepted:
        same = [each for each in executions.left_alone if each.resource == accepted[-1].resource]
        cancel = accepted[-1].exchanges[accepted[-1].cancelled_at]
        endings = [each.last for each in accepted]
        for alone in same:
            tester.judge(checks.cancels_do_not_fail, cancel, endings=endings, alone=alone.last)


def one_at_a_price(target):
    """One more cancelled run, if what tests share costs nothing."""
    found = CANCELLED_RUN.find(target)
    return [] if found is None or is_paid(found.resource) else once(CHARGED_CANCELLED_RUN)(target)


@pytest.mark.shares("sample")
@pytest.mark.spends.with_args(one_at_a_price)
@pytest.mark.proves(checks.cancelled_is_charged)
def test_cancelled_run_is_charged_as_any_other(tester, executions):
    """A cancelled run that has a price is charged as one that nobody cancelled is."""

    def row_of(trace):
        return row_once_settled(tester, trace.run, partial(row_of_request, request_id=trace.request_id))

    cancelled = executions.cancelled_at_a_price
    alone = next((each for each in executions.left_alone if each.resource == cancelled[0].resource), None)
    row_alone = row_of(alone) if alone else None
    for trace in cancelled:
        if trace.ending == "cancelled" and tester.price(trace.resource) > 0:
            row = row_of(trace)
            is_missing = row is None and is_without_row(tester, trace.run, trace.request_id)
            tester.judge(
                checks.cancelled_is_charged, trace.last, row=row, is_missing=is_missing, alone=row_alone
            )
            if is_missing:
                break  # the others would be waited for as long


@pytest.mark.shares("of_workflow")
@pytest.mark.proves(checks.workflow_submit, schemas.submitted)
def test_submit_of_a_workflow_carries_its_slug(tester, executions):
    """A workflow's submit carries the slug of the workflow that was run, and has the documented shape."""
    trace = executions.of_workflow

    tester.judge(schemas.submitted, trace.submitted)
    tester.judge(checks.workflow_submit, trace.submitted, slug=trace.resource.slug)


@pytest.mark.shares("of_any")
@pytest.mark.proves(checks.poll_url)
def test_poll_url_leads_to_the_execution(tester, executions):
    """What a submit's pollUrl leads to is the execution submitted."""
    submitted = executions.of_any.submitted
    url = body_of(submitted).get("pollUrl")

    if isinstance(url, str) and url.startswith("/") and url.isascii() and url.isprintable():
        tester.judge(
            checks.poll_url, tester.send_elsewhere("GET", url, executions.of_any.reader), submitted=submitted
        )


@pytest.mark.shares("of_failing")
@pytest.mark.proves(checks.fails)
def test_what_fails_ends_as_failed(tester, executions):
    """An execution of a model that always fails ends as failed."""
    tester.need(FAILING_ASYNC_RUN)

    tester.judge(checks.fails, executions.left_alone[-1].last)


@pytest.mark.shares("of_any")
@pytest.mark.proves(checks.ends_in_time)
def test_execution_ends_before_its_deadline(tester, executions):
    """An execution has ended when the profile's deadline is over."""
    if all(trace.resource.deadline_s is None for trace in executions.left_alone):
        names = sorted({trace.resource.name for trace in executions.left_alone})
        raise Untested(f"deadline_s of {', '.join(names)}", "profile")
    for trace in executions.left_alone:
        tester.judge(checks.ends_in_time, trace.last, deadline_s=trace.resource.deadline_s)


@pytest.mark.shares("of_workflow")
@pytest.mark.proves(usage.row_of_run)
@pytest.mark.needs(ASYNC_WORKFLOW_RUN)
@pytest.mark.shows("usage.run-has-a-row")
def test_workflow_run_has_a_row(tester, executions):
    """An asynchronous run of a workflow has a row that ends as it did."""
    _, workflow = tester.need(ASYNC_WORKFLOW_RUN)
    trace = next(each for each in executions.left_alone if each.resource == workflow)
    if not isinstance(trace.request_id, str):
        raise Untested("a submit that names its request")
    what = {"known": (), "workflow_slug": workflow.slug, "model_id": None, "request_id": trace.request_id}
    what |= {"ending": trace.ending}

    def is_enough(rows):
        return all(each.holds for each in usage.row_of_run.judge(trace.submitted, rows=rows, **what))

    rows = await_rows(tester, trace.reader, is_enough)

    tester.judge(usage.row_of_run, trace.submitted, rows=rows, **what)


@pytest.mark.shares("of_any")
@pytest.mark.proves(envelopes.foreign_execution)
@pytest.mark.needs(READ_BY_STRANGER)
def test_ended_execution_of_another_account_is_not_found(tester, executions):
    """Someone else's execution is a 404 when it has ended as well."""
    _, stranger = tester.need(READ_BY_STRANGER)
    for trace in executions.ended:
        if trace.reader.user != stranger.user:
            call = Call(path_values={"id": str(body_of(trace.submitted).get("executionId"))})
            tester.send("getExecution", stranger, call)


@pytest.mark.shares("of_any")
@pytest.mark.proves(checks.edges)
@recorded(
    "completed-workflow-run",
    "runWorkflow-accepted",
    "getExecution-workflow-completed",
    needs=(ASYNC_WORKFLOW_RUN,),
)
@recorded("failed-run", "runModel-accepted-to-fail", "getExecution-failed", needs=(FAILING_MODEL_RUN,))
def test_status_changes_only_as_documented(tester, executions):
    """A status changes only as documented, polled on after the end too."""
    for trace in (*executions.watched, *executions.cancelled_if_any[2:]):
        tester.judge(checks.edges, trace.last, statuses=statuses_in(trace.exchanges))
        keep_execution(tester, trace)


@pytest.mark.shares("of_any")
@pytest.mark.proves(checks.end_stands, checks.cancel_after_end)
@recorded(
    "completed-run",
    "runModel-accepted",
    "getExecution-processing",
    "getExecution-completed",
    needs=(ASYNC_MODEL_RUN,),
)
@recorded(
    "completed-run", "cancelExecution-ended", "getExecution-still-completed", needs=(CANCELLED_MODEL_RUN,)
)
def test_cancel_after_the_end_leaves_the_status_alone(tester, executions):
    """Cancelling an ended execution is a 409, 400 or 200, and leaves its status alone."""
    _ = executions.watched  # until nobody has cancelled them
    own = [each for each in executions.left_alone if each.reader.holds("execution:cancel")]
    traces = [executions.polled(each) for each in (*own, *executions.cancelled_if_any[:1])]
    ended = [trace for trace in traces if trace.ending is not None]
    cancelled = [executions.cancelled(trace) for trace in ended]
    for before, trace in zip(ended, cancelled, strict=True):
        tester.judge(checks.cancel_after_end, trace.last)
        keep_execution(tester, before)
        if isinstance(trace.resource, Model) and before.ending == "completed":
            tester.keep("cancelExecution-ended", trace.last)
    for _ in range(POLLS_AFTER_CANCEL):
        for before, trace in zip(ended, cancelled, strict=True):
            poll = executions.polled(trace).last
            tester.judge(checks.end_stands, poll, ending=before.ending)
            if isinstance(trace.resource, Model) and before.ending == "completed":
                tester.keep("getExecution-still-completed", poll)
        tester.wait(PAUSE_S)


@pytest.mark.shares("of_any")
@pytest.mark.proves(checks.stays_known)
@pytest.mark.parametrize("pause_s", [0.0, pytest.param(KEPT_S, marks=pytest.mark.thorough)])
def test_ended_execution_can_still_be_polled(tester, executions, pause_s):
    """An execution is there for its owner as long as this run looks, ended some seconds ago too."""
    traces = [*executions.ended, *executions.cancelled_if_any]
    tester.wait(pause_s)
    for trace in traces:
        executions.polled(trace)
