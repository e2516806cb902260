"""The model of several users' workflows: what it expects, and what it leaves open."""

import pytest

from knouds_harness.judging.workflow_model import WorkflowModel


@pytest.fixture
def model():
    return WorkflowModel()


def test_own_taken_slugs_are_skipped(model):
    model.create("ada", "twin", {})
    model.create("ada", "twin-2", {})

    assert model.allowed_slugs("ada", "Twin") == ("twin-3",)
    assert model.allowed_slugs("ada", "Twin 2") == ("twin-2-2",)


def test_slugs_of_other_users_may_be_skipped(model):
    """Whether slugs are shared by all accounts is open."""
    model.create("ada", "twin", {})

    assert model.allowed_slugs("sam", "Twin") == ("twin", "twin-2")


def test_deleted_slug_may_be_free_again(model):
    """Whether a deleted slug stays taken is open."""
    model.create("ada", "twin", {})
    model.create("ada", "twin-2", {})
    model.delete("twin-2")

    assert model.allowed_slugs("ada", "Twin") == ("twin-2", "twin-3")
    assert model.deleted() == {"twin-2"}


def test_slug_that_was_created_again_is_not_deleted(model):
    model.create("ada", "twin", {})
    model.delete("twin")
    model.create("ada", "twin", {})

    assert model.deleted() == frozenset()


def test_write_changes_what_it_names(model):
    """Only a move sets the folder."""
    model.create("ada", "twin", {"name": "Twin", "tags": ["a"], "description": "x", "folderId": "f1"})
    before = model["twin"].is_public

    model.update("twin", {"description": "y", "publicPlayground": False, "slug": "other", "folderId": "f2"})
    changed = {"name": "Twin", "tags": ["a"], "description": "y", "publicPlayground": False}
    assert model["twin"].members == changed
    assert (before, model["twin"].is_public) == (None, False)

    model.move("twin", None)
    assert model["twin"].members == {**changed, "folderId": None}


def test_each_user_has_their_own_workflows(model):
    model.create("ada", "one", {})
    model.create("sam", "two", {})

    assert model.kept_by("ada") == {"one"}
    assert model.kept_by_others("ada") == {"two"}
    assert model.kept_by("nobody") == frozenset()


def test_creator_of_a_user_is_the_first_one_read(model):
    """A number counts, null does not."""
    model.note_creator("ada", None)
    assert model.creator("ada") is None

    model.note_creator("ada", "usr_ada")
    model.note_creator("ada", "usr_sam")
    model.note_creator("sam", "usr_sam")
    model.note_creator("bea", 44)

    assert model.creator("ada") == "usr_ada"
    assert model.other_creators("ada") == {"usr_sam", 44}
