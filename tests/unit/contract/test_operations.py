"""Operations: paths, capabilities with their placeholders filled, and kinds of action."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from knouds_harness.contract.document import shipped_document
from knouds_harness.contract.operations import Action

DOCUMENT = shipped_document()


@given(operation=st.sampled_from(DOCUMENT.operations), data=st.data())
def test_path_leads_back_to_operation_and_values(operation, data):
    values = {name: data.draw(st.text(min_size=1)) for name in operation.path_parameters}

    assert DOCUMENT.recognise(operation.method, operation.url_path(values)) == (operation, values)


@given(values=st.fixed_dictionaries({"slug": st.text(min_size=1)}))
@example(values={"slug": "a/b?c#d"})
def test_values_do_not_change_the_number_of_path_segments(values):
    path = DOCUMENT.operation_by_id["runWorkflow"].url_path(values)

    assert (path.count("/"), "?" in path, "#" in path) == (4, False, False)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/nope"),
        ("DELETE", "/api/whoami"),
        ("GET", "/api/workflows/"),
        ("GET", "/api/workflows/a/b"),
        ("GET", "/api/usage/models/"),
        ("GET", "/API/whoami"),
    ],
)
def test_unknown_path_is_not_recognised(method, path):
    assert DOCUMENT.recognise(method, path) is None


@pytest.mark.parametrize(
    ("operation_id", "action"),
    [
        ("getWhoami", Action.READ),
        ("listWorkflows", Action.READ),
        ("deleteWorkflow", Action.WRITE),
        ("runWorkflow", Action.RUN),
        ("runModel", Action.RUN),
        ("cancelExecution", Action.CANCEL),
    ],
)
def test_action_follows_the_verb_of_the_capability(operation_id, action):
    assert DOCUMENT.operation_by_id[operation_id].action is action


@pytest.mark.parametrize(
    ("operation_id", "status", "assumption"),
    [
        ("createWorkflow", 202, "workflows.create-answers-slug"),
        ("deleteWorkflow", 204, "workflows.write-success-body"),
        ("cancelExecution", 410, "execution.cancel-after-end"),
        ("listUsage", 416, "usage.garbled-query"),
        ("createWorkflow", 201, None),  # documented
        ("getWhoami", 202, None),  # against a source
        ("getWhoami", 418, None),
        ("runModel", 201, None),  # 200 is documented, though 202 is assumed
    ],
)
def test_unexpected_status_goes_against_an_assumption_if_undocumented(operation_id, status, assumption):
    assert DOCUMENT.operation_by_id[operation_id].assumption_about(status) == assumption
