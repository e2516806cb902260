"""What a legal server may make of a value is no difference; what loses or changes it is one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from run_records import exchange

from knouds_harness.judging.rule.values import as_kept, documented_body, first_difference

DOCUMENT = documented_body(exchange(1, "getWorkflow"))


def differs(sent, shown, documented=DOCUMENT):
    return first_difference(sent, shown, documented=documented) is not None


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ({"name": "cut at a space "}, {"name": "cut at a space"}),
        ({"name": "  both ends\n"}, {"name": "both ends"}),
        ({"name": "e\u0301"}, {"name": "é"}),
        ({"description": "a\r\nb\rc"}, {"description": "a\nb\nc"}),
        ({"description": ""}, {}),
        ({"description": ""}, {"description": None}),
        ({"publicPlayground": False}, {}),
        ({"publicPlayground": None}, {"publicPlayground": False}),
        ({"tags": []}, {}),
        ({"tags": ["a ", "b"]}, {"tags": ["b", "a"]}),
        ({"viewport": {"x": 5, "y": 0.1, "zoom": 1}}, {"viewport": {"x": 5.0, "y": 1e-1, "zoom": 1}}),
        ({"updatedAt": "2026-01-01T01:00:00.123+01:00"}, {"updatedAt": "2026-01-01T00:00:00Z"}),
        ({"mine": 1}, {}),
        ({"name": "a"}, {"name": "a", "more": 1}),
    ],
)
def test_legal_server_may_do_this(sent, shown):
    assert not differs(sent, shown)


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ({"name": "cut in the middle"}, {"name": "cut in the"}),
        ({"name": "two  spaces"}, {"name": "two spaces"}),
        ({"name": "Größe"}, {"name": "Grosse"}),
        ({"name": "Tom & Ann"}, {"name": "Tom &amp; Ann"}),
        ({"name": "ﬁ"}, {"name": "fi"}),
        ({"description": "kept"}, {}),
        ({"publicPlayground": True}, {}),
        ({"publicPlayground": False}, {"publicPlayground": 0}),
        ({"publicPlayground": False}, {"publicPlayground": True}),
        ({"tags": ["a", "b"]}, {"tags": ["a"]}),
        (
            {"viewport": {"x": 0.1, "y": 0, "zoom": 1}},
            {"viewport": {"x": 0.10000000000000002, "y": 0, "zoom": 1}},
        ),
        ({"updatedAt": "2026-01-01T01:00:00+01:00"}, {"updatedAt": "2026-01-01T01:00:00Z"}),
        ({"nodes": [{"id": "a", "data": {"empty": ""}}]}, {"nodes": [{"id": "a", "data": {}}]}),
        ({"nodes": [{"id": "a", "data": {"zero": 0}}]}, {"nodes": [{"id": "a", "data": {"zero": False}}]}),
    ],
)
def test_legal_server_may_not_do_this(sent, shown):
    assert differs(sent, shown)


@given(st.recursive(st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(), st.lists))
def test_spelling_is_found_once(value):
    """What is kept of a value is kept of what is kept."""
    assert as_kept(as_kept(value)) == as_kept(value)
