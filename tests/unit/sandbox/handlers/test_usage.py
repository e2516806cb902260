"""Usage rows of one's own, over the API, page by page."""

import pytest


@pytest.fixture
def rows(ask):
    return lambda query="": ask("GET", f"/api/usage?{query}", "read-only").json()["rows"]


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
def test_query_filters_and_pages(rows, query, count):
    assert len(rows(query)) == count
