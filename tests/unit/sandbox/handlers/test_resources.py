"""Behaviour that no source documents, of runs, executions and workflows; the suite tests the rest."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knouds_sandbox.state.workflows import make_slug


@pytest.mark.parametrize(
    ("count", "cost"), [(1, 8), (3, 24), (99, 64), (-1, 8), (1e300, 64), (10**400, 64), (True, 8)]
)
def test_each_image_is_charged(ask, count, cost):
    """An invalid count is taken for the nearest valid one."""
    run = ask("POST", "/api/workflows/portrait/run", "full", json={"inputs": {"count": count}}).json()

    assert (run["success"], run["cost"], len(run["result"]["images"])) == (True, cost, cost // 8)
    assert isinstance(run["ms"], float)


@given(name=st.text())
def test_slug_has_slug_characters_only(name):
    slug = make_slug(name)

    assert slug
    assert set(slug) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert slug.strip("-") == slug


NODE = {"id": "n", "type": "t", "position": {"x": True, "y": 0}, "data": {}}
EDGE = {"id": "e", "source": "a"}


@pytest.mark.parametrize(
    "body",
    [
        *({}, [], None, "text", {"name": ""}, {"name": "  "}, {"name": 3}),
        {"name": "x", "tags": "a"},
        {"name": "x", "tags": [1]},
        {"name": "x", "nodes": {}},
        {"name": "x", "nodes": [{"id": "n"}]},
        {"name": "x", "nodes": [NODE]},
        {"name": "x", "edges": [EDGE]},
        {"name": "x", "edges": [{**EDGE, "target": "b", "sourceHandle": 1}]},
        {"name": "x", "viewport": []},
        {"name": "x", "viewport": {"x": 0, "y": 0}},
        {"name": "x", "publicPlayground": "yes"},
        {"name": "x", "folderId": 3},
        {"name": "x", "description": "x" * 10_001},
    ],
)
def test_malformed_document_is_refused(ask, assert_refused, body):
    assert_refused(ask("POST", "/api/workflows", "full", json=body), 400, "INVALID_BODY")


@pytest.mark.parametrize("body", [{}, [], {"folderId": 3}, {"folderId": ""}, {"folderId": []}])
def test_move_without_folder_is_refused(ask, assert_refused, body):
    assert_refused(ask("PUT", "/api/workflows/portrait/move", "full", json=body), 400, "INVALID_BODY")


@pytest.mark.parametrize(
    ("query", "rows"),
    [
        ("status=nonsense", 4),
        ("limit=0", 0),
        *((f"limit={limit}", 4) for limit in ("-1", "x", "1e3", "9" * 20)),
        *((f"offset={offset}", rows) for offset, rows in (("9" * 20, 4), ("9" * 15, 0))),
        ("limit=%00&offset=%ff&status=%ff", 4),
    ],
)
def test_malformed_query_is_ignored(ask, query, rows):
    assert len(ask("GET", f"/api/usage?{query}", "stranger").json()["rows"]) == rows
