"""The checks of workflows hold and fail as they should; nothing that is open fails them."""

from typing import Any

import pytest
from exchanges import assert_breaks, exchange, named, rows

from knouds_harness.judging.checks import capabilities, workflows

FIRST_NODE = {"id": "a", "type": "t", "position": {"x": 0, "y": 0}, "data": {"deep": [1, {"er": True}]}}
SECOND_NODE = {"id": "b", "type": "t", "position": {"x": 1, "y": 0}, "data": {}}
EDGE = {"id": "e", "source": "a", "target": "b", "sourceHandle": None, "targetHandle": "in"}
DOCUMENT = {
    "slug": "harbour",
    "name": "Harbour",
    "description": "Paints.",
    "tags": ["sea", "sky"],
    "nodes": [FIRST_NODE, SECOND_NODE],
    "edges": [EDGE],
    "viewport": {"x": 0, "y": 0, "zoom": 1},
    "publicPlayground": False,
    "createdBy": "usr_ada",
    "folderId": None,
    "updatedAt": "2026-11-25T00:00:00.000Z",
}


def broken(check, answer, **known):
    return {(claim.fact, claim.where) for claim in check.judge(answer, **known) if not claim.holds}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"addedLater": 1},
        {"tags": ["sky", "sea"]},
        {"nodes": [SECOND_NODE, {**FIRST_NODE, "selected": False}]},
        {"edges": [{name: value for name, value in EDGE.items() if name != "sourceHandle"}]},
        {"viewport": {"x": 0.0, "y": 0, "zoom": 1.0, "unit": "px"}},
        {"updatedAt": "2030-01-01T00:00:00Z"},
    ],
)
def test_open_differences_hold(changes):
    """New members, the order of nodes, edges and tags, and how whole numbers are written."""
    answer = exchange(200, {**DOCUMENT, **changes}, operation_id="getWorkflow")

    assert broken(workflows.stored, answer, sent=workflows.kept_members(DOCUMENT)) == set()


def test_undocumented_members_may_differ():
    """Servers may add them to documents and their parts, with new values in each response."""
    traced = [{**each, "trace": 1} for each in (FIRST_NODE, SECOND_NODE)]
    viewport: Any = DOCUMENT["viewport"]
    before = {**DOCUMENT, "nodes": traced, "servedIn": 1, "viewport": {**viewport, "trace": 1}}
    answer = exchange(200, {**DOCUMENT, "servedIn": 2}, operation_id="getWorkflow")

    assert broken(workflows.stored, answer, sent=before) == set()
    assert broken(capabilities.nothing_changed, answer, before=before) == set()


def test_member_that_was_left_out_is_changed_by_a_refused_request():
    before = workflows.kept_members({name: DOCUMENT[name] for name in DOCUMENT if name != "description"})
    answer = exchange(200, {**DOCUMENT, "description": "After."}, operation_id="getWorkflow")

    assert broken(workflows.untouched, answer, before=before) == {
        ("workflows.foreign-write-is-refused", "/description")
    }


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"description": ""}, "/description"),
        ({"tags": ["sea"]}, "/tags"),
        ({"tags": ["sea", "sea"]}, "/tags"),
        ({"tags": "sea,sky"}, "/tags"),
        ({"nodes": [FIRST_NODE]}, "/nodes"),
        ({"nodes": [FIRST_NODE, {**SECOND_NODE, "id": "c"}]}, "/nodes/1"),
        ({"nodes": [{**FIRST_NODE, "data": {}}, SECOND_NODE]}, "/nodes/0/data/deep"),
        (
            {"nodes": [{**FIRST_NODE, "data": {"deep": [1, {"er": 1}]}}, SECOND_NODE]},
            "/nodes/0/data/deep/1/er",
        ),
        ({"edges": [{**EDGE, "source": "b"}]}, "/edges/0/source"),
        ({"viewport": {"x": 0, "y": 0, "zoom": 2}}, "/viewport/zoom"),
        ({"viewport": [0, 0, 1]}, "/viewport"),
        ({"publicPlayground": 0}, "/publicPlayground"),
    ],
)
def test_lost_member_is_named(changes, where):
    answer = exchange(200, {**DOCUMENT, **changes}, operation_id="getWorkflow")

    assert broken(workflows.stored, answer, sent=workflows.kept_members(DOCUMENT)) == {
        ("workflows.get-round-trips", where)
    }


CASES = {
    **{
        f"a created slug follows the rule: {check.id}": rows(
            check,
            ("twin-2", ("twin-2",), False),
            ("twin-2", ("twin", "twin-2"), False),
            ("twin-1", ("twin-2",), True),
            ("twin2", ("twin-2",), True),
            ("Twin-2", ("twin-2",), True),
            answer=exchange(201, operation_id="createWorkflow"),
        )
        for check in (workflows.made_slug, workflows.suffixed_slug)
    },
    "the creator is the owner, and no other user": rows(
        workflows.creator,
        (exchange(200, {**DOCUMENT, "createdBy": "usr_ada"}), None, {"usr_sam"}, False),
        (exchange(200, {**DOCUMENT, "createdBy": "usr_ada"}), "usr_ada", {"usr_sam"}, False),
        (exchange(200, {**DOCUMENT, "createdBy": "usr_sam"}), None, {"usr_sam"}, True),
        (exchange(200, {**DOCUMENT, "createdBy": "usr_sam"}), "usr_ada", set(), True),
        (exchange(200, {**DOCUMENT, "createdBy": 44}), 44, {45}, False),
        (exchange(200, {**DOCUMENT, "createdBy": 45}), None, {"usr_sam", 45}, True),
        (exchange(200, {**DOCUMENT, "createdBy": None}), "usr_ada", {"usr_sam"}, False),
    ),
}


@pytest.mark.parametrize(("check", "answer", "known", "facts"), named(CASES))
def test_check_finds_what_is_broken(check, answer, known, facts):
    assert_breaks(check, answer, known, facts)


LIST = [
    {"slug": "own", "isTemplate": False, "folderId": None},
    {"slug": "template", "isTemplate": True, "folderId": "f"},
    {"slug": "unknown", "isTemplate": False, "folderId": None},
]


@pytest.mark.parametrize(
    ("known", "facts"),
    [
        ({"own": {"own"}, "templates": {"template"}, "foreign": {"theirs"}, "deleted": {"gone"}}, set()),
        ({"own": {"own", "lost"}}, {"workflows.list-own-and-templates"}),
        ({"templates": {"lost"}}, {"workflows.list-own-and-templates"}),
        ({"templates": {"unknown"}}, {"workflows.list-own-and-templates"}),
        ({"foreign": {"unknown"}}, {"workflows.list-own-and-templates"}),
        ({"deleted": {"unknown"}}, {"workflows.delete-then-404"}),
    ],
)
def test_list_shows_own_workflows_and_templates(known, facts):
    """Own ones must be listed, foreign ones must not; of the rest no claim is made."""
    assert {fact for fact, _ in broken(workflows.listed, exchange(200, LIST), **known)} == facts


def test_malformed_list_is_not_judged_here():
    """envelopes.json-object judges whether the list is an array."""
    assert list(workflows.listed.judge(exchange(200, {"workflows": []}), own={"own"})) == []


def test_schema_describes_its_workflow():
    """By name and description; no claim if these were never written."""
    answer = exchange(200, {"name": "Harbour", "description": ""}, operation_id="getWorkflowSchema")

    assert broken(workflows.schema_describes, answer, expected={"name": "Harbour"}) == set()
    assert broken(workflows.schema_describes, answer, expected=DOCUMENT) == {("schema.shape", "/description")}


WORDS = {"slug": "harbour", "name": "Harbour", "description": "At dusk.", "tags": ["sea", "night"]}


@pytest.mark.parametrize(
    ("written", "changes", "where"),
    [
        ({}, {}, set()),
        ({}, {"description": None}, {"/*/description"}),
        ({"description": ""}, {"description": None}, set()),
        ({}, {"name": "Harbour, as it was"}, {"/*/name"}),
        ({}, {"tags": ["night", "sea"]}, set()),  # in another order
        ({}, {"tags": ["sea"]}, {"/*/tags"}),
        ({}, {"createdBy": None}, {"/*/createdBy"}),
        ({}, {"createdBy": "Ada"}, set()),
        ({}, {"slug": "another", "name": "Another"}, set()),
    ],
)
def test_summary_has_the_texts_of_the_workflow(written, changes, where):
    """The form of the creator, and of no description, is open."""
    document = {**WORDS, "createdBy": "usr_1", **written}

    claims = workflows.summarised.judge(exchange(200, [{**document, **changes}]), document=document)

    assert {claim.where for claim in claims if not claim.holds} == where
