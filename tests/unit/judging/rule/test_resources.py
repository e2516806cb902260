"""What earlier answers tell of a resource: nothing of what was under way at the same time."""

from dataclasses import replace

from run_records import exchange

from knouds_harness.exchange.evidence import NO_SUCH_WORKFLOW
from knouds_harness.judging.rule.resources import KnownResources
from knouds_harness.targets.resources import Model, Workflow

USERS = {"full": "ada", "stranger": "bob"}


def known(*noted, **profile):
    resources = KnownResources(**profile, user_of=USERS.get)
    for each in noted:
        resources.note(each)
    return resources


def created(number, persona="full", **sent):
    return exchange(
        number, "createWorkflow", status=201, body={"slug": "portrait"}, sent=sent, persona=persona
    )


READ = exchange(9, "getWorkflow", status=404, body={})
DELETED = exchange(5, "deleteWorkflow", body={})


def test_created_workflow_is_its_creators_until_it_is_deleted():
    found = known(created(1, publicPlayground=True)).of(READ)
    assert (found.exists, found.owner, found.is_public) == (True, "ada", True)

    gone = known(created(1), DELETED).of(READ)
    assert (gone.exists, gone.is_deleted) == (False, True)


def test_request_beside_a_delete_may_come_first_or_last():
    beside = replace(READ, started_at=DELETED.started_at, elapsed_ms=50.0)

    found = known(created(1), DELETED).of(beside)

    assert (found.exists, found.is_deleted, found.owner) == (None, None, "ada")


def test_delete_without_an_answer_may_have_taken_effect():
    lost = exchange(5, "deleteWorkflow", status=None)

    assert known(created(1), lost).of(READ).exists is None


def test_later_changes_are_not_known_yet():
    assert known(created(10)).of(READ).exists is None


def test_name_that_is_given_twice_belongs_to_no_one():
    found = known(created(1), created(3, persona="stranger")).of(READ)

    assert (found.exists, found.owner) == (None, None)


def test_profile_says_what_is_there():
    workflow = Workflow(slug="portrait", owner="bob", template=True)
    found = known(workflows={"portrait": workflow}).of(READ)
    assert (found.exists, found.owner, found.is_template) == (True, "bob", True)

    model = Model(name="portrait", needs_tier="enterprise", cost_credits=2)
    found = known(models={"portrait": model}).of(exchange(9, "runModel"))
    assert (found.exists, found.needs_tier, found.is_paid, found.is_polled) == (
        True,
        "enterprise",
        True,
        False,
    )


def test_some_names_nothing_has():
    request = replace(READ.request, path_values={"slug": NO_SUCH_WORKFLOW})

    assert known().of(replace(READ, request=request)).exists is False


def test_execution_is_its_submitters_and_ends():
    submit = exchange(1, "runWorkflow", status=202, body={"executionId": "portrait"}, persona="stranger")
    poll = exchange(3, "getExecution", body={"status": "failed"}, persona="stranger")

    found = known(submit, poll).of(exchange(9, "cancelExecution"))

    assert (found.owner, found.has_ended) == ("bob", True)


def test_account_has_a_workflow_while_it_is_not_deleted():
    assert known(created(1)).has_workflow("ada", READ) is True
    assert known(created(1), DELETED).has_workflow("ada", READ) is None
    assert known().has_workflow("ada", READ) is None
