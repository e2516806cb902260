"""Operations: paths, kinds of action, and capabilities, compared with an independent oracle."""

import string

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from knouds_harness.contract.document import shipped_document
from knouds_harness.contract.operations import Action, is_capability, meets

DOCUMENT = shipped_document()


@given(operation=st.sampled_from(DOCUMENT.operations), value=st.text(min_size=1))
@example(operation=DOCUMENT.operation_by_id["runWorkflow"], value="a/b?c#d")
def test_path_leads_back_to_operation_and_values(operation, value):
    """Which stand in a segment of the path, whatever they are."""
    values = dict.fromkeys(operation.path_parameters, value)

    path = operation.url_path(values)

    assert DOCUMENT.recognise(operation.method, path) == (operation, values)
    assert path.count("/") == operation.path.count("/")
    assert {"?", "#"}.isdisjoint(path)


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


RESOURCES = ["workflow", "model", "execution", "webhook", "agent"]
VERBS = ["run", "read", "write", "cancel", "receive", "invoke"]


def names():
    return st.text(string.ascii_lowercase + string.digits + "-", min_size=1, max_size=8)


def capabilities():
    return st.one_of(
        st.just("*"),
        st.builds("{}:{}".format, st.sampled_from(RESOURCES), st.sampled_from(VERBS)),
        st.builds("{}:*".format, st.sampled_from(RESOURCES)),
        st.builds("{}:{}:run".format, st.sampled_from(["workflow", "model"]), names()),
    )


def is_word(text):
    return all(part and set(part) <= set(string.ascii_lowercase) for part in text.split("-"))


def is_written_like_a_capability(text):
    match text.split(":"):
        case [only]:
            return only == "*"
        case [resource, verb]:
            return is_word(resource) and (verb == "*" or is_word(verb))
        case ["workflow" | "model", name, "run"]:
            return bool(name) and set(name) <= set(string.ascii_lowercase + string.digits + "-")
    return False


@given(text=st.text(":*-az09 A\n") | capabilities())
@example(text="workflow:portrait:run\n")
@example(text="workflow:portrait:read")
@example(text="execution:portrait:run")
@example(text="workflow:*:run")
@example(text="workflow:run:")
def test_grammar_admits_exactly_the_five_forms(text):
    assert is_capability(text) == is_written_like_a_capability(text)


@given(held=st.frozensets(capabilities(), max_size=4), required=capabilities())
@example(held=frozenset({"workflow:portrait:run"}), required="workflow:portrait-hd:run")
@example(held=frozenset({"workflow:portrait:run"}), required="workflow:run")
@example(held=frozenset({"workflow:write"}), required="workflow:read")
@example(held=frozenset({"workflow:*"}), required="*")
@example(held=frozenset({"WORKFLOW:READ", "workflow:Read", " workflow:read"}), required="workflow:read")
def test_requirement_is_met_only_by_equality_wildcard_or_star(held, required):
    resource = required.split(":")[0]
    passing = {"*", required} | ({f"{resource}:*"} if ":" in required else set())

    assert meets(held, required) == (not passing.isdisjoint(held))
