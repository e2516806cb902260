"""A run that is waited for and one that is not are refused for the same reasons."""

from dataclasses import replace

import pytest

from knouds_harness.exchange.usage import MAX_LIMIT
from knouds_harness.judging.checks import usage, validation
from knouds_harness.suite.support.usage_rows import is_used_by_others, read_page
from knouds_harness.suite.untested import Untested
from knouds_harness.targets.needs.runs import WORKFLOW_CALL

ASYNC = ("async", "true")


def to_be_refused(request):
    """The request again, which has to be refused, so that nothing is counted for it."""
    return replace(request, cost_credits=0.0)


def in_other_form(request):
    """The request to be waited for, or not."""
    query = tuple(each for each in request.query if each != ASYNC)
    return replace(request, query=query if ASYNC in request.query else (*query, ASYNC))


@pytest.mark.proves(validation.refused_in_either_form, usage.refused_run_is_not_charged)
@pytest.mark.shows("run.inputs-not-object-is-invalid-inputs", WORKFLOW_CALL)
def test_run_that_is_refused_in_one_form_is_refused_in_the_other(tester):
    """Each refusal of a run that the tests before have met holds for its other form, and costs nothing."""
    fact_by_id = {each.id: tester.refused_by(each) for each in tester.runs.refused()}
    refused = [each for each in tester.runs.refused() if fact_by_id[each.id]]
    if not refused:
        raise Untested("a run that was refused")
    senders = [tester.client.persona(each.request.persona) for each in refused if each.status != 401]
    reader_by_user = {sender.user: sender for sender in senders}
    before = {user: read_page(tester, reader, limit=MAX_LIMIT) for user, reader in reader_by_user.items()}

    accepted, others = False, []
    try:
        for exchange in refused:
            others.append(tester.send_request(to_be_refused(in_other_form(exchange.request))))
            again = tester.send_request(to_be_refused(exchange.request))
            accepted |= others[-1].is_success or again.is_success
        if not accepted:  # else it is rightly charged
            for user, reader in reader_by_user.items():
                page = read_page(tester, reader, limit=MAX_LIMIT)
                claims = list(usage.refused_run_is_not_charged.judge(page, before=before[user]))
                if claims and is_used_by_others(tester, reader, page):
                    raise Untested(f"an account that nobody else uses: {user} has runs that are not ours")
                tester.judge(usage.refused_run_is_not_charged, page, before=before[user])
    finally:  # what was accepted may have used up the credits, which ends the test
        tester.recorder.steps.end_sequence()  # a finding below rests on two requests, not on all
        for exchange, other in zip(refused, others, strict=False):
            tester.judge(
                validation.refused_in_either_form, other, refused=exchange, refused_by=fact_by_id[exchange.id]
            )
