"""Names that a target gives anew stand where the old ones stood."""

import json

import pytest
from run_records import exchange

from knouds_harness.contract.operations import Action
from knouds_harness.exchange.evidence import Request
from knouds_harness.suite.replay.id_substitution import newly_given, renamed, value_at


def test_new_name_replaces_the_old_one_where_it_is_whole():
    """In the path and in texts of the body, not where it is the beginning of another name."""
    request = Request(
        method="PUT",
        path="/api/workflows/twin/move",
        path_values={"slug": "twin"},
        action=Action.WRITE,
        body=json.dumps({"slug": "twin", "name": "twin-2"}).encode(),
    )

    again = renamed(request, {"twin": "twin-3"})

    assert again.path == "/api/workflows/twin-3/move"
    assert again.path_values == {"slug": "twin-3"}
    assert json.loads(again.body or b"") == {"slug": "twin-3", "name": "twin-2"}


def test_answers_give_names():
    """What one answer gave then and the other gives now; a refusal gives nothing."""
    then = exchange(1, "createWorkflow", status=201, body={"slug": "twin"})
    now = exchange(1, "createWorkflow", status=201, body={"slug": "twin-2"})
    refused = exchange(1, "createWorkflow", status=400, body={"slug": "twin-2"})

    assert newly_given(then, now) == {"twin": "twin-2"}
    assert newly_given(then, refused) == {}


@pytest.mark.parametrize(
    ("pointer", "value"),
    [("/a/b", 1), ("/list/1", "y"), ("/x~1y", 2), ("/a/c", None), ("/list/9", None), ("", "whole")],
)
def test_value_at_a_pointer(pointer, value):
    """None where nothing stands."""
    document = {"a": {"b": 1}, "list": ["x", "y"], "x/y": 2}

    assert value_at(document, pointer) == (document if value == "whole" else value)
