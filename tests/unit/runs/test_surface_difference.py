"""Comparison of two surfaces: gone, new, changed, and unknown."""

import pytest

from knouds_harness.contract.document import shipped_document
from knouds_harness.runs.results import Answers, Place, Surface
from knouds_harness.runs.surface_difference import surface_differences

DOCUMENT = shipped_document()
OBJECT = Place(types=("object",), is_always=True, is_drift=False)


def place(*types, is_always=True):
    return Place(types=types, is_always=is_always, is_drift=True)


def answers(members=None, **parts):
    return Answers(members={"": OBJECT, "/user": OBJECT, **(members or {})}, **parts)


def surface(by_status, operation="getWhoami"):
    return Surface(operations={operation: by_status})


def changes(old, new, *, operation="getWhoami"):
    old, new = (
        each if isinstance(each, Surface) else surface({"200": each}, operation) for each in (old, new)
    )
    return [(each.kind.value, each.place, each.says) for each in surface_differences(old, new, DOCUMENT)]


def test_same_surface_has_no_difference():
    both = answers({"/user/team": place("string")}, values={"/user/tier": ("pro",)})

    assert changes(both, both) == []


def test_missing_member_that_was_always_there_is_gone():
    old, new = answers({"/user/team": place("string")}), answers()

    assert changes(old, new) == [
        ("breaking", "getWhoami/200/user/team", "The member is gone: it was always there.")
    ]
    assert changes(new, old) == [("additive", "getWhoami/200/user/team", "The member is new (string).")]


def test_missing_member_that_was_sometimes_there_is_unknown():
    old = answers({"/user/team": place("string", is_always=False)})

    assert changes(old, answers())[0][0] == "unknown"


def test_missing_optional_member_is_unknown():
    """The document makes a summary's cover optional."""
    members = {"": place("array"), "/*": OBJECT}
    old, new = Answers(members={**members, "/*/cover": place("string")}), Answers(members=members)

    ((kind, where, says),) = changes(old, new, operation="listWorkflows")

    assert (kind, where) == ("unknown", "listWorkflows/200/*/cover")
    assert "lets it be missing" in says


def test_missing_member_of_unseen_items_is_not_gone():
    """An empty list shows nothing about its items."""
    old = answers({"/teams": place("array"), "/teams/*": OBJECT, "/teams/*/name": place("string")})

    assert changes(old, answers({"/teams": place("array")})) == []


def test_only_the_outermost_missing_member_is_named():
    old = answers({"/team": place("object"), "/team/name": place("string")})

    assert [where for _, where, _ in changes(old, answers())] == ["getWhoami/200/team"]


@pytest.mark.parametrize(("member", "kind"), [("email", "breaking"), ("team", "unknown")])
def test_member_that_is_sometimes_missing_breaks_if_required(member, kind):
    old = answers({f"/user/{member}": place("string")})
    new = answers({f"/user/{member}": place("string", is_always=False)})

    assert [each[0] for each in changes(old, new)] == [kind]


@pytest.mark.parametrize(
    ("was", "now", "kinds"),
    [
        (["string"], ["number"], ["breaking"]),
        (["string"], ["number", "string"], ["breaking"]),
        (["number", "string"], ["string"], []),
        (["null"], ["string"], ["additive"]),
        (["string"], ["null", "string"], ["unknown"]),
    ],
)
def test_undocumented_type_may_only_narrow(was, now, kinds):
    old, new = answers({"/user/team": place(*was)}), answers({"/user/team": place(*now)})

    assert [kind for kind, *_ in changes(old, new)] == kinds


@pytest.mark.parametrize(("types", "kinds"), [(["null", "string"], []), (["array", "string"], ["breaking"])])
def test_documented_type_is_not_a_change(types, kinds):
    """A folder is a string or null, whichever was seen."""
    old, new = answers({"/folderId": place("string")}), answers({"/folderId": place(*types)})

    assert [kind for kind, *_ in changes(old, new, operation="getWorkflow")] == kinds


def test_missing_header_that_was_always_there_is_gone():
    old = answers(headers={"x-request-id": place(), "x-ratelimit-limit": place()})

    assert [(kind, where) for kind, where, _ in changes(old, answers())] == [
        ("breaking", "getWhoami/200/headers/x-request-id"),
        ("unknown", "getWhoami/200/headers/x-ratelimit-limit"),
    ]
    assert {kind for kind, *_ in changes(answers(), old)} == {"additive"}


@pytest.mark.parametrize(
    ("was", "now", "kinds"),
    [
        (["LEGACY_KEY_RETIRED", "UNAUTHORIZED"], ["UNAUTHORIZED"], ["unknown"]),
        (["LEGACY_KEY_RETIRED"], ["UNAUTHORIZED"], ["unknown", "additive"]),
        (["LEGACY_KEY_RETIRED"], ["KEY_TOO_OLD"], ["breaking", "additive"]),
        (["KEY_ASLEEP"], ["KEY_TIRED"], ["breaking", "additive"]),
        (["UNAUTHORIZED"], ["INVALID_API_KEY"], ["additive", "additive"]),
    ],
    ids=["not provoked", "another cause", "renamed", "renamed, undocumented", "renamed, assumed only"],
)
def test_code_is_gone_if_an_undocumented_one_replaced_it(was, now, kinds):
    old, new = (surface({"401": Answers(codes=tuple(codes))}) for codes in (was, now))

    assert [kind for kind, *_ in changes(old, new)] == kinds


def test_value_of_an_open_set_is_never_gone():
    old, new = answers(values={"/user/tier": ("pro",)}), answers(values={"/user/tier": ("gold",)})

    assert changes(old, new) == [
        ("unknown", "getWhoami/200/user/tier", "Seen then and not now: pro."),
        ("additive", "getWhoami/200/user/tier", "New in an open set: gold."),
    ]


def test_status_that_was_not_seen_is_not_gone():
    old, new = surface({"200": answers(), "401": Answers()}), surface({"200": answers(), "429": Answers()})

    assert [(kind, where) for kind, where, _ in changes(old, new)] == [
        ("unknown", "getWhoami/401"),
        ("additive", "getWhoami/429"),
    ]


def test_success_with_another_status_is_a_breaking_change():
    old, new = surface({"201": answers()}), surface({"200": answers()})

    assert changes(old, new) == [
        ("breaking", "getWhoami/201", "Succeeds with 200 now."),
        ("additive", "getWhoami/200", "The status is new."),
    ]


def test_same_change_of_several_statuses_is_one_line():
    old = surface({status: answers({"/docs": place("string")}) for status in ("401", "429")})
    new = surface({status: answers() for status in ("401", "429")})

    assert [where for _, where, _ in changes(old, new)] == ["getWhoami/401,429/docs"]


def test_operation_of_only_one_run_is_unknown():
    whoami, health = surface({"200": answers()}), surface({"200": answers()}, "getHealth")

    assert [(kind, where) for kind, where, _ in changes(whoami, health)] == [
        ("unknown", "getWhoami"),
        ("unknown", "getHealth"),
    ]


def test_deliveries_are_compared_by_event():
    one = answers({"/region": place("string")}, headers={"x-attempt": place()})
    old = Surface(webhooks={"execution.completed": one, "execution.failed": one})
    new = Surface(webhooks={"execution.completed": answers()})

    assert [(kind, where) for kind, where, _ in changes(old, new)] == [
        ("breaking", "webhooks/execution.completed/headers/x-attempt"),
        ("breaking", "webhooks/execution.completed/region"),
        ("unknown", "webhooks/execution.failed"),
    ]


def test_operation_missing_in_the_document_is_compared():
    """A run of another version may have it."""
    old = surface({"200": answers({"/a": place("string")})}, "listTeams")

    assert [kind for kind, *_ in changes(old, surface({"200": answers()}, "listTeams"))] == ["breaking"]
