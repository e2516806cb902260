"""The names of what a run creates."""

import pytest

from knouds_harness.exchange.workflow_names import marked


@pytest.mark.parametrize(
    "document", [{}, {"name": ""}, {"name": 7}, {"name": "A b"}, {"name": None, "tags": 7}]
)
def test_marked_document_has_a_token_and_what_it_had(document):
    """In its name, or where that is none, in its description."""
    assert "Harness " in str(marked(document).get("description", marked(document).get("name")))
    assert set(document) <= set(marked(document))
