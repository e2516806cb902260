"""Usage rows: one's own, over the API, page by page."""

import pytest


@pytest.fixture
def rows(ask):
    """Rows of ada's history as the query selects them."""
    return lambda query="": ask("GET", f"/api/usage?{query}", "read-only").json()["rows"]


def test_row_has_its_members(rows, ask):
    """A row is what the page describes."""
    user_id = ask("GET", "/api/whoami", "full").json()["user"]["id"]
    row = rows("status=failed")[0]

    assert row == {
        "id": row["id"],
        "userId": user_id,
        "workflowSlug": None,
        "modelIds": ["failing-model"],
        "status": "failed",
        "source": "api-slim",
        "cost": 0.0,
        "userCost": 0.0,
        "creditsCost": 0,
        "durationMs": row["durationMs"],
        "errorCode": "EXECUTION_FAILED",
        "requestId": row["requestId"],
        "createdAt": row["createdAt"],
    }


def test_canvas_runs_and_provider_ids_do_not_show(rows, ask):
    """Only API runs, only public model ids."""
    models = {model for row in rows() for model in row["modelIds"]}

    assert models == {"seedream-v5", "claude-sonnet", "failing-model", "seedance-2-0-full-access"}
    assert set(ask("GET", "/api/usage/models", "full").json()["models"]) == models


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("status=completed", 2),
        ("status=cancelled", 1),
        ("status=processing", 0),
        ("status=nonsense", 4),
        ("modelId=claude-sonnet", 1),
        ("modelId=fal:seedance/v2", 0),
        ("workflowSlug=portrait", 1),
        ("workflowSlug=portrait&status=failed", 0),
        ("limit=2", 2),
        ("limit=0", 0),
        ("limit=-1", 4),
        ("limit=x", 4),
        ("limit=1e3", 4),
        ("limit=99999999999999999999", 4),
        ("offset=3", 1),
        ("offset=99999999999999999999", 4),
        ("offset=999999999999999", 0),
        ("limit=%00&offset=%ff&status=%ff", 4),
    ],
)
def test_query_selects(rows, query, count):
    """Filters narrow, limit and offset page, and what is garbled is ignored."""
    assert len(rows(query)) == count


def test_page_says_where_it_is(ask):
    """A page carries its number, its size and the total."""
    page = ask("GET", "/api/usage?limit=2&offset=2", "full").json()

    assert (page["page"], page["pageSize"], page["total"], len(page["rows"])) == (2, 2, 4, 2)


def test_limit_is_at_most_500(ask):
    """More is clamped."""
    assert ask("GET", "/api/usage?limit=501", "full").json()["pageSize"] == 500
    assert ask("GET", "/api/usage", "full").json()["pageSize"] == 50
