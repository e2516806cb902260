"""Workflow documents: list, create, get, update, move, delete, schema."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knouds_sandbox.state.workflow_documents import make_slug


@given(name=st.text())
def test_slug_has_slug_characters_only(name):
    """Whatever the name, the slug is lowercase letters, digits and single hyphens between them."""
    slug = make_slug(name)

    assert slug
    assert set(slug) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert slug.strip("-") == slug


def test_list_shows_own_and_templates(ask):
    """The list holds one's own workflows and other people's templates."""
    slugs = {line["slug"] for line in ask("GET", "/api/workflows", "stranger").json()}

    assert slugs == {"stranger-private", "starter-template"}


def test_summary_has_its_members(ask):
    """A summary has what the page names; its cost is null without a generator."""
    summaries = {line["slug"]: line for line in ask("GET", "/api/workflows", "full").json()}

    assert {
        "name",
        "description",
        "tags",
        "isTemplate",
        "hidden",
        "archived",
        "createdBy",
        "updatedAt",
    } <= set(summaries["portrait"])
    assert summaries["portrait"]["estimatedCreditCost"] == 8
    assert summaries["no-generator"]["estimatedCreditCost"] is None
    assert summaries["in-folder"]["folderId"] == "folder-2026"


def test_document_round_trips(ask_fresh):
    """What get answers can be sent back to create."""
    document = ask_fresh("GET", "/api/workflows/portrait", "full").json()

    created = ask_fresh("POST", "/api/workflows", "full", json=document).json()

    own = {"slug", "updatedAt"}
    assert {k: v for k, v in created.items() if k not in own} == {
        k: v for k, v in document.items() if k not in own
    }
    assert created["slug"] == "portrait-2"


def test_taken_slugs_get_the_next_suffix(ask_fresh):
    """-2, -3, … is appended while the slug is taken, and a freed one is used again."""
    slugs = [
        ask_fresh("POST", "/api/workflows", "full", json={"name": "A b"}).json()["slug"] for _ in range(3)
    ]
    ask_fresh("DELETE", "/api/workflows/a-b-2", "full")

    again = ask_fresh("POST", "/api/workflows", "stranger", json={"name": "A  B!"}).json()["slug"]

    assert slugs == ["a-b", "a-b-2", "a-b-3"]
    assert again == "a-b-2"


def test_creator_cannot_be_forged(ask_fresh):
    """The creator is whoever holds the key."""
    body = {"name": "Mine", "createdBy": "usr_someone", "slug": "other"}

    created = ask_fresh("POST", "/api/workflows", "full", json=body).json()

    assert created["createdBy"] == ask_fresh("GET", "/api/whoami", "full").json()["user"]["id"]
    assert created["slug"] == "mine"


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        None,
        "text",
        {"name": ""},
        {"name": "  "},
        {"name": 3},
        {"name": None},
        {"name": "x", "tags": "a"},
        {"name": "x", "tags": [1]},
        {"name": "x", "nodes": {}},
        {"name": "x", "nodes": [{"id": "n"}]},
        {"name": "x", "nodes": [{"id": "n", "type": "t", "position": {"x": True, "y": 0}, "data": {}}]},
        {"name": "x", "edges": [{"id": "e", "source": "a"}]},
        {"name": "x", "edges": [{"id": "e", "source": "a", "target": "b", "sourceHandle": 1}]},
        {"name": "x", "viewport": []},
        {"name": "x", "viewport": {"x": 0, "y": 0}},
        {"name": "x", "publicPlayground": "yes"},
        {"name": "x", "folderId": 3},
        {"name": "x" * 10_001},
    ],
)
def test_misshapen_document_is_refused(ask, assert_refused, body):
    """A create without a usable document is an INVALID_BODY."""
    assert_refused(ask("POST", "/api/workflows", "full", json=body), 400, "INVALID_BODY")


def test_free_account_creates_one(ask_fresh, assert_refused):
    """The second workflow of a free account is refused."""
    assert ask_fresh("POST", "/api/workflows", "free", json={"name": "First"}).status_code == 201

    assert_refused(
        ask_fresh("POST", "/api/workflows", "free", json={"name": "Second"}), 403, "WORKFLOW_LIMIT_REACHED"
    )


def test_update_takes_a_subset_and_keeps_the_slug(ask_fresh):
    """Update changes what it is given, and never the slug."""
    before = ask_fresh("GET", "/api/workflows/portrait", "full").json()

    ask_fresh("PUT", "/api/workflows/portrait", "full", json={"name": "Renamed", "slug": "renamed"})

    after = ask_fresh("GET", "/api/workflows/portrait", "full").json()
    assert after == before | {"name": "Renamed", "updatedAt": after["updatedAt"]}


@pytest.mark.parametrize("folder", ["folder-1", None])
def test_move_sets_the_folder(ask_fresh, folder):
    """Move sets folderId in document and summary."""
    ask_fresh("PUT", "/api/workflows/in-folder/move", "full", json={"folderId": folder})

    summaries = {line["slug"]: line for line in ask_fresh("GET", "/api/workflows", "full").json()}
    assert ask_fresh("GET", "/api/workflows/in-folder", "full").json()["folderId"] == folder
    assert summaries["in-folder"]["folderId"] == folder


@pytest.mark.parametrize("body", [{}, [], {"folderId": 3}, {"folderId": ""}, {"folderId": []}])
def test_move_without_folder_is_refused(ask, assert_refused, body):
    """A move says where to."""
    assert_refused(ask("PUT", "/api/workflows/portrait/move", "full", json=body), 400, "INVALID_BODY")


def test_deleted_workflow_is_gone(ask_fresh, assert_refused):
    """After delete there is no such workflow, in any way."""
    assert ask_fresh("DELETE", "/api/workflows/portrait", "full").status_code == 200

    for method, path in (("GET", ""), ("GET", "/schema"), ("DELETE", ""), ("POST", "/run")):
        assert_refused(ask_fresh(method, f"/api/workflows/portrait{path}", "full"), 404, "NOT_FOUND")


@pytest.mark.parametrize("persona", ["full", "admin"])
@pytest.mark.parametrize(("method", "path"), [("PUT", ""), ("PUT", "/move"), ("DELETE", ""), ("GET", "")])
def test_foreign_workflow_does_not_exist(ask, assert_refused, persona, method, path):
    """Someone else's private workflow is a 404, for administrators too."""
    body = {"folderId": None}

    assert_refused(
        ask(method, f"/api/workflows/stranger-private{path}", persona, json=body), 404, "NOT_FOUND"
    )


def test_foreign_template_is_read_but_not_written(ask, assert_refused):
    """A template is everyone's to read."""
    assert ask("GET", "/api/workflows/starter-template", "full").status_code == 200
    assert ask("GET", "/api/workflows/starter-template/schema", "full").status_code == 200
    assert_refused(ask("DELETE", "/api/workflows/starter-template", "full"), 403, "FORBIDDEN")


def test_schema_describes_every_kind_of_field(ask):
    """Each field has a name and a type; values are the defaults."""
    schema = ask("GET", "/api/workflows/all-fields/schema", "full").json()

    assert [field["type"] for field in schema["fields"]] == [
        "text",
        "textarea",
        "number",
        "slider",
        "pills",
        "toggle",
        "image",
        "video",
    ]
    assert schema["values"] == {field["name"]: field["default"] for field in schema["fields"]}
    assert schema["estimatedCreditCost"] == 6


def test_schema_is_empty_without_request_input(ask):
    """No Request Input node, no fields."""
    assert ask("GET", "/api/workflows/no-input/schema", "full").json()["fields"] == []


def test_public_schema_is_for_public_playgrounds(ask, assert_refused):
    """The public schema shows no cost, and nothing of a private workflow."""
    assert "estimatedCreditCost" not in ask("GET", "/api/workflows/public-card/public-schema").json()
    assert_refused(ask("GET", "/api/workflows/portrait/public-schema"), 404, "NOT_FOUND")
