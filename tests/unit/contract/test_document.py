"""JSON pointers in the document and in bodies."""

import pytest

from knouds_harness.contract.document import value_at


@pytest.mark.parametrize(
    ("pointer", "value"),
    [("/a/b", 1), ("/list/1", "y"), ("/x~1y", 2), ("/a/c", None), ("/list/9", None), ("", "whole")],
)
def test_value_at_a_json_pointer(pointer, value):
    """None if there is none."""
    document = {"a": {"b": 1}, "list": ["x", "y"], "x/y": 2}

    assert value_at(document, pointer) == (document if value == "whole" else value)
