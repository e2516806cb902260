"""Whatever JSON value is sent, it is taken or refused, and nothing fails.

Runs here cost nothing: their workflow generates nothing, or their inputs are no object.
"""

import pytest

from knouds_harness.exchange.created_workflows import fresh_name
from knouds_harness.exchange.evidence import Call, body_of, objects_in
from knouds_harness.judging.checks import envelopes
from knouds_harness.suite.generation.unusual_requests import TEXTS, VALUES, as_document, as_inputs, each_sent
from knouds_harness.suite.support.workflow_authoring import move, read
from knouds_harness.targets.needs.keys import AUTHOR
from knouds_harness.targets.needs.rate_limits import FREE_RUNNER
from knouds_harness.targets.needs.runs import MODEL_CALL, WORKFLOW_CALL

pytestmark = [pytest.mark.independent, pytest.mark.proves(envelopes.no_server_error, envelopes.envelope)]


@pytest.mark.needs(FREE_RUNNER)
def test_inputs_may_hold_any_json_value(tester, test_data):
    """Inputs may hold any JSON value: a run succeeds, is refused, or its provider fails."""
    owner = tester.need(FREE_RUNNER)
    call = Call(path_values={"slug": test_data.cheapest_workflow(owner).slug})

    for exchange in each_sent(
        lambda names: tester.send("runWorkflow", owner, call.having(raw=as_inputs(names))), VALUES
    ):
        tester.judge(envelopes.no_server_error, exchange)


@pytest.mark.parametrize("need", [WORKFLOW_CALL, MODEL_CALL], ids=["workflow", "model"])
def test_refused_inputs_of_any_value(tester, need):
    """Inputs that are a list are refused, whatever JSON value it holds."""
    key, resource = tester.need(need)

    def send(names):
        call = Call(path_values=resource.path_values, raw=as_inputs(names, in_a_list=True))
        return tester.send(resource.run_operation, key, call)

    for exchange in each_sent(send, VALUES, is_refused=True):
        tester.judge(envelopes.no_server_error, exchange)


@pytest.mark.needs(AUTHOR)
@pytest.mark.parametrize("operation_id", ["createWorkflow", "updateWorkflow"])
def test_documents_may_hold_any_json_value(tester, test_data, operation_id):
    """A workflow's texts and the data of its nodes may hold any JSON value, and what is taken can be read."""
    owner = tester.need(AUTHOR)
    slug = test_data.make_workflow(owner)
    node = a_node(tester, owner)

    def send(names):
        path_values = {"slug": slug} if operation_id == "updateWorkflow" else {}
        raw = as_document(names, name=fresh_name("Any value"), node=node)
        return tester.send(operation_id, owner, Call(path_values=path_values, raw=raw))

    for exchange in each_sent(send, VALUES):
        tester.judge(envelopes.no_server_error, exchange)
        shown = body_of(exchange).get("slug", slug)
        if (exchange.status or 500) < 300 and isinstance(shown, str):
            tester.judge(envelopes.no_server_error, read(tester, owner, shown))
    tester.judge(envelopes.no_server_error, tester.send("listWorkflows", owner))


@pytest.mark.needs(AUTHOR)
def test_move_may_name_any_text_as_folder(tester, test_data):
    """A move may name any text."""
    owner = tester.need(AUTHOR)
    call = Call(path_values={"slug": test_data.make_workflow(owner)})

    for exchange in each_sent(
        lambda names: tester.send(
            "moveWorkflow",
            owner,
            call.having(raw=f'{{"folderId": "{"".join(TEXTS[name] for name in names)}"}}'.encode()),
        ),
        TEXTS,
    ):
        tester.judge(envelopes.no_server_error, exchange)
    move(tester, owner, call.path_values["slug"], None)


def a_node(tester, owner):
    """A node that the target's own workflows show; one of a documented type where they show none."""
    for workflow in tester.target.workflows.values():
        if workflow.owner == owner.user:
            nodes = objects_in(body_of(read(tester, owner, workflow.slug)).get("nodes"))
            return nodes[0] if nodes else DOCUMENTED_NODE
    return DOCUMENTED_NODE


DOCUMENTED_NODE = {"id": "harness", "type": "requestInput", "position": {"x": 0, "y": 0}, "data": {}}
