"""Workflows that a run created, and how that is proven: no other workflow may be changed."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from run_records import exchange

from knouds_harness.errors import NotCreatedHere
from knouds_harness.exchange.created_workflows import CreatedWorkflows
from knouds_harness.exchange.workflow_names import fresh_name, marked
from knouds_harness.targets.profile import Target
from knouds_harness.targets.resources import Workflow

NAME = "Harness 0123456789ab draft"
TARGET = Target(
    name="mine", base_url="http://127.0.0.1:9", workflows={"portrait": Workflow(slug="portrait", owner="ada")}
)


@pytest.fixture
def lines():
    return []


@pytest.fixture
def created(lines):
    return CreatedWorkflows(target=TARGET, write=lambda line: lines.append(json.loads(line)))


def create(created, slug, *, name=NAME, shown=None, status=201):
    """Create a workflow: the response has this slug, and reading it back shows this."""
    creation = created.admit("POST", "/api/workflows", {"name": name}, persona="full", user="ada")
    created.settle(creation, status, {"slug": slug}, read_back=lambda _: shown)


def test_name_is_in_the_ledger_before_the_request(created, lines):
    created.admit("POST", "/api/workflows", json.dumps({"name": NAME}).encode(), persona="full", user="ada")

    assert [each["event"] for each in lines] == ["run", "sending"]
    assert (lines[0]["base_url"], lines[1]["text"]) == (TARGET.base_url, NAME)


@pytest.mark.parametrize(
    ("slug", "shown"),
    [("harness-0123456789ab-draft", None), ("harness-0123456789ab-draft-2", None), ("w-17", {"name": NAME})],
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


def test_older_workflows_are_kept_in_the_ledger(created, lines, tmp_path):
    created.note_listed("ada", [{"slug": "w-17"}])
    create(created, "w-18", status=502)
    created.note_listed("otto", [{"slug": "w-18"}])
    file = tmp_path / "created.jsonl"
    file.write_text("".join(f"{json.dumps(each)}\n" for each in lines))

    read = CreatedWorkflows.read(file)
    read.settle_by_list("ada", "full", [{"slug": f"w-{number}", "name": NAME} for number in (17, 18, 19)])

    assert [each.slug for each in read.ours] == ["w-19"]


def test_workflow_whose_slug_changes_with_its_name_is_found(created):
    name = "Harness ba9876543210 renamed"
    create(created, "harness-0123456789ab-draft")

    created.admit(
        "PUT", "/api/workflows/harness-0123456789ab-draft", {"name": name}, persona="full", user="ada"
    )
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

    for method, path in (
        ("PUT", f"{slug}"),
        ("PUT", f"{slug}/move"),
        ("DELETE", slug),
        ("DELETE", f"{slug}/"),
    ):
        with pytest.raises(NotCreatedHere):
            created.admit(method, f"/api/workflows/{path}", {}, persona="full", user="ada")


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


def test_truncated_ledger_is_read_up_to_its_last_line(tmp_path):
    """Created and not deleted workflows are left, and the ledger can be continued."""
    file = tmp_path / "created.jsonl"
    lines: list[bytes] = []
    created = CreatedWorkflows(target=TARGET, write=lines.append)
    names = [fresh_name("a"), fresh_name("b")]
    for name in names:
        create(created, name.lower().replace(" ", "-"), name=name)
    created.note_deleted(names[0].lower().replace(" ", "-"))
    file.write_bytes(b"".join(lines) + b'{"event": "sen')

    read = CreatedWorkflows.read(file)
    read.finish(left=1)

    assert not read.is_done
    assert read.may_write(names[1].lower().replace(" ", "-"))
    assert json.loads(file.read_text().splitlines()[-1])["left"] == 1


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
    created.note_listed("ada", [])
    create(created, "harness-0123456789ab-draft")
    created.note_deleted("harness-0123456789ab-draft")

    created.settle_by_list("ada", "full", [{"slug": "harness-0123456789ab-draft-2", "name": NAME}])

    assert [each.slug for each in created.ours] == ["harness-0123456789ab-draft-2"]


def test_renamed_creation_without_a_response_is_reported_as_left(created):
    """A user may have renamed it; a copy beside the one that was found is not the run's."""
    for name in (NAME, "Harness 0123456789ac draft"):
        created.admit("POST", "/api/workflows", {"name": name}, persona="full", user="ada")
    listed = {
        "harness-0123456789ab-draft": "kept",
        "harness-0123456789ac-draft": "Harness 0123456789ac draft",
        "harness-0123456789ac-draft-copied": "Harness 0123456789ac draft copied",
    }

    created.settle_by_list("ada", "full", [{"slug": slug, "name": name} for slug, name in listed.items()])

    assert [each.slug for each in created.unproven] == ["harness-0123456789ab-draft"]
    assert [each.slug for each in created.ours] == ["harness-0123456789ac-draft"]


@pytest.mark.parametrize(
    "document", [{}, {"name": ""}, {"name": 7}, {"name": "A b"}, {"name": None, "tags": 7}]
)
def test_marked_document_has_a_token_and_its_other_members(document):
    """The token is in the name, or in the description if the name is invalid."""
    assert "Harness " in str(marked(document).get("description", marked(document).get("name")))
    assert set(document) <= set(marked(document))
