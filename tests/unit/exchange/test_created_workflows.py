"""Workflows that a run created, and how that is proven: no other workflow may be changed."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from run_records import exchange

from knouds_harness.errors import NotCreatedHere
from knouds_harness.exchange.created_workflows import CreatedWorkflows, marked, with_marked_name
from knouds_harness.exchange.creation_record import Ledger
from knouds_harness.targets.profile import Target
from knouds_harness.targets.resources import Workflow

NAME = "Harness 0123456789ab draft"
SLUG = "harness-0123456789ab-draft"
TARGET = Target(
    name="mine", base_url="http://127.0.0.1:9", workflows={"portrait": Workflow(slug="portrait", owner="ada")}
)


@pytest.fixture
def lines():
    return []


@pytest.fixture
def created(lines):
    return CreatedWorkflows(target=TARGET, ledger=Ledger(write=lambda line: lines.append(json.loads(line))))


def create(created, slug, *, name=NAME, shown=None, status=201):
    """Create a workflow: the response has this slug, and reading it back shows this."""
    creation = created.admit("POST", "/api/workflows", {"name": name}, persona="full", user="ada")
    created.settle(creation, status, {"slug": slug}, read_back=lambda _: shown)


def test_name_is_in_the_ledger_before_the_request(created, lines):
    created.admit("POST", "/api/workflows", json.dumps({"name": NAME}).encode(), persona="full", user="ada")

    assert [each["event"] for each in lines] == ["run", "sending"]
    assert (lines[0]["base_url"], lines[1]["text"]) == (TARGET.base_url, NAME)


@pytest.mark.parametrize(
    ("slug", "shown"), [(SLUG, None), ("harness-0123456789ab-draft-2", None), ("w-17", {"name": NAME})]
)
def test_proven_workflow_may_be_written(created, slug, shown):
    """Its slug has the token, or it is new and reading it back shows exactly the name."""
    created.note_listed("ada", [{"slug": "portrait"}, {"slug": "clip"}])

    create(created, slug, shown=shown)

    assert created.may_write(slug)


@pytest.mark.parametrize(
    ("slug", "listed"),
    [
        ("portrait", []),
        ("clip", [{"slug": "clip"}]),
        ("Odd Clip", [{"slug": "Odd Clip"}, 7]),
        ("w-17", None),
        ("w-17", {}),
    ],
)
def test_older_workflow_is_never_ours(created, slug, listed):
    """Even if it reads back with the name: it is in the profile, was listed, or no list was read."""
    if listed is not None:
        created.note_listed("otto" if listed == {} else "ada", listed)
    create(created, slug, shown={"name": NAME})

    created.settle_by_list("ada", "full", [{"slug": slug, "name": NAME}])

    assert created.found(NAME, [{"slug": slug, "name": NAME}]) is None
    assert created.ours == []
    with pytest.raises(NotCreatedHere):
        created.admit("DELETE", f"/api/workflows/{slug}", None, persona="full", user="ada")


def test_older_workflows_are_kept_in_the_ledger(created, lines):
    created.note_listed("ada", [{"slug": "w-17"}])
    create(created, "w-18", status=502)
    created.note_listed("otto", [{"slug": "w-18"}])

    read = CreatedWorkflows(target=TARGET, events=lines)
    read.settle_by_list("ada", "full", [{"slug": f"w-{number}", "name": NAME} for number in (17, 18, 19)])

    assert [each.slug for each in read.ours] == ["w-19"]


def test_workflow_whose_slug_changes_with_its_name_is_found(created):
    name = "Harness ba9876543210 renamed"
    create(created, SLUG)

    created.admit("PUT", f"/api/workflows/{SLUG}", {"name": name}, persona="full", user="ada")
    created.settle_by_list("ada", "full", [{"slug": "harness-ba9876543210-renamed", "name": name}])

    assert [each.slug for each in created.ours][1:] == ["harness-ba9876543210-renamed"]


@pytest.mark.parametrize(
    "slug", ["clip?0123456789ab", "../clip/0123456789ab", "clip#0123456789ab", "0123456789ab/clip"]
)
def test_invalid_slug_is_never_ours(created, slug):
    """In a path it may lead to another workflow, even if it holds the token."""
    create(created, slug, shown={"name": NAME})

    assert created.ours == []


@pytest.mark.parametrize("shown", [None, {"name": "Portrait"}, {"name": f"{NAME} 2"}, [], "text"])
@pytest.mark.parametrize("slug", ["portrait", "w-17", "Not a slug"])
def test_unproven_workflow_is_never_written(created, slug, shown):
    create(created, slug, shown=shown)

    for method, end in (("PUT", ""), ("PUT", "/move"), ("DELETE", ""), ("DELETE", "/")):
        with pytest.raises(NotCreatedHere):
            created.admit(method, f"/api/workflows/{slug}{end}", {}, persona="full", user="ada")


@given(slug=st.text("abcdef0123456789-", min_size=1))
@example(slug="0123456789ab")
@example(slug="0123456789a")
def test_slug_is_ours_only_with_the_token(slug):
    created = CreatedWorkflows(target=TARGET)

    create(created, slug)

    assert created.may_write(slug) == ("0123456789ab" in slug)


def test_unchanged_document_may_be_written_back(created):
    """To a workflow of the profile; no other write is allowed."""
    created.note(exchange(1, "getWorkflow", body={"slug": "portrait", "name": "Portrait", "folderId": None}))

    created.admit("PUT", "/api/workflows/portrait", {"name": "Portrait"}, persona="full", user="ada")
    created.admit("PUT", "/api/workflows/portrait/move", {"folderId": None}, persona="full", user="ada")
    with pytest.raises(NotCreatedHere):
        created.admit("PUT", "/api/workflows/portrait", {"name": "Other"}, persona="full", user="ada")


def test_ledger_says_what_is_left(created, lines):
    slugs = ["harness-0123456789ab-a", "harness-0123456789ab-b"]
    for slug in slugs:
        create(created, slug)
    created.note_deleted(slugs[0])

    read = CreatedWorkflows(target=TARGET, events=lines)

    assert not read.record.is_done
    assert [each.slug for each in read.ours] == slugs[1:]


def test_sent_name_as_a_server_may_store_it_is_still_ours(created):
    """Trimmed, composed, and with other line ends; any other difference makes it a renamed workflow."""
    create(created, SLUG, name=f"  {NAME} e\u0301\nb ")

    assert created.may_delete(SLUG, {"slug": SLUG, "name": f"{NAME} \xe9\r\nb"})
    for other in ("Customer launch 2027", f"{NAME} e b", NAME, "", None, 7):
        assert not created.may_delete(SLUG, {"slug": SLUG, "name": other})


@pytest.mark.parametrize("listed", [[], [{"slug": SLUG}]])
def test_workflow_with_another_slug_or_listed_before_may_not_be_deleted(created, listed):
    create(created, SLUG)
    created.proof.listed["ada"] = frozenset(each["slug"] for each in listed)

    assert created.may_delete(SLUG, {"slug": SLUG, "name": NAME}) == (not listed)
    assert not created.may_delete(SLUG, {"slug": "portrait", "name": NAME})
    assert not created.may_delete("portrait", {"slug": "portrait", "name": NAME})


@pytest.mark.parametrize("name", ["Harness 0123456789ac again", "as text", "", 7])
def test_name_that_this_process_sent_may_be_deleted(created, name):
    """Also one without a token, as tests send; cleanup later knows only those with a token."""
    create(created, SLUG)

    created.admit("PUT", f"/api/workflows/{SLUG}", {"name": name}, persona="full", user="ada")

    assert created.may_delete(SLUG, {"name": name})


@pytest.mark.parametrize("end", ["", '"}', '", "a": ' + "[" * 5000, '", "n": 1e400}', '", "b": "\\ud800"}'])
def test_name_in_a_body_that_is_not_read_as_json_finds_the_workflow(created, end):
    """A server may read more than the harness does, and answer nothing that can be read."""
    created.note_listed("ada", [])
    body = f'{{"description": "x", "name" : "{NAME} \\"b\\"{end or chr(34)}'.encode()
    creation = created.admit("POST", "/api/workflows", body, persona="full", user="ada")
    created.settle(creation, 201, None)

    created.settle_by_list("ada", "full", [{"slug": "w-17", "name": f'{NAME} "b"'}])

    assert [each.slug for each in created.ours] == ["w-17"]


@given(
    events=st.lists(
        st.fixed_dictionaries(
            {"event": st.sampled_from(["run", "listed", "done", "sending", "created", "deleted", "x"])},
            optional={
                name: st.sampled_from([None, 1, "portrait", "prod-pipeline", NAME, [], ["a", 1], {}, True])
                for name in ("number", "slug", "slugs", "user", "text", "member", "token", "left", "persona")
            },
        )
    )
)
@example(
    events=[
        {"event": "sending", "number": 1, "member": "name", "text": "Production", "token": "x"},
        {"event": "created", "number": 1, "slug": "prod-pipeline"},
    ]
)
def test_no_ledger_lets_a_workflow_be_deleted_that_shows_no_sent_name(events):
    """Whatever a ledger says that its user trusts: only what shows a name with a token may be deleted."""
    created = CreatedWorkflows(target=TARGET, events=events)

    for slug, name in (("prod-pipeline", "Production"), ("portrait", NAME), ("prod-pipeline", "portrait")):
        assert not created.may_delete(slug, {"slug": slug, "name": name})


def test_creation_missing_in_the_list_is_reported_as_left(created):
    """A success without a slug of the run may have created something."""
    created.note_listed("ada", [])
    create(created, "clip?0123456789ab")
    create(created, None, name="Harness 0123456789ac draft")

    created.settle_by_list(
        "ada", "full", [{"slug": "harness-0123456789ac-draft", "name": "Harness 0123456789ac draft"}]
    )

    assert [each.slug for each in created.ours] == ["harness-0123456789ac-draft"]
    assert [each.slug for each in created.unproven] == ["clip?0123456789ab"]


def test_copy_of_a_deleted_workflow_is_found(created):
    create(created, SLUG)
    created.note_deleted(SLUG)

    created.settle_by_list("ada", "full", [{"slug": "harness-0123456789ab-draft-2", "name": NAME}])

    assert [each.slug for each in created.ours] == ["harness-0123456789ab-draft-2"]


def test_renamed_creation_without_a_response_is_reported_as_left(created):
    """A user may have renamed it; a copy beside the one that was found is not the run's."""
    for name in (NAME, "Harness 0123456789ac draft"):
        created.admit("POST", "/api/workflows", {"name": name}, persona="full", user="ada")
    listed = {
        SLUG: "kept",
        "harness-0123456789ac-draft": "Harness 0123456789ac draft",
        "harness-0123456789ac-draft-copied": "Harness 0123456789ac draft copied",
    }

    created.settle_by_list("ada", "full", [{"slug": slug, "name": name} for slug, name in listed.items()])

    assert [each.slug for each in created.unproven] == [SLUG]
    assert [each.slug for each in created.ours] == ["harness-0123456789ac-draft"]


@pytest.mark.parametrize(
    ("document", "is_usable"),
    [({"name": "0", "tags": []}, True), ({"name": ""}, False), ({"name": 7}, False), ({"tags": 7}, False)],
)
def test_marked_document_has_a_token_and_its_other_members(document, is_usable):
    """In the name, if that is usable; else in the description of a create, and not in an update."""
    create, update = marked(document), with_marked_name(document)

    assert "Harness " in create["name" if is_usable else "description"]
    assert create.keys() == document.keys() | (set() if is_usable else {"description"})
    assert (update != document) == is_usable
    assert not is_usable or update["name"].endswith(" 0")
    assert (marked(7), with_marked_name(None)) == (7, None)
