"""Workflows are kept as they were written, under one slug and by one owner."""

import re

import pytest

from knouds_harness.exchange.created_workflows import fresh_name
from knouds_harness.exchange.evidence import Call, body_of, objects_in
from knouds_harness.judging.checks import schemas, times, workflows
from knouds_harness.judging.workflow_model import WRITABLE_MEMBERS, WorkflowModel, slug_from_name
from knouds_harness.suite.support.workflow_authoring import (
    draft,
    folder_of,
    known_graph,
    make_own_graph,
    move,
    moved_by,
    read,
    run_free,
    write,
)
from knouds_harness.suite.untested import Untested
from knouds_harness.targets.needs.keys import AUTHOR, AUTHOR_WHO_RUNS, FREE_KEY, TWO_AUTHORS
from knouds_harness.targets.needs.workflows import FILED_WORKFLOW, OWN_WORKFLOW

pytestmark = [pytest.mark.sequence, pytest.mark.independent]
OTHER_SLUG = "With Another Slug"


# --- create


@pytest.mark.proves(workflows.made_slug)
@pytest.mark.parametrize("words", ["lower", "Title Case Words", "UPPER", "mIxEd 2", "42", OTHER_SLUG])
def test_slug_is_made_from_the_name(tester, test_data, words):
    """A free name becomes the slug, in lowercase with hyphens, whatever slug stands in the body."""
    owner, name = tester.need(AUTHOR), fresh_name(words)
    other = {"slug": slug_from_name(fresh_name("elsewhere"))} if words == OTHER_SLUG else {}
    created, slug = test_data.make(owner, {"name": name, **other})

    tester.judge(
        workflows.made_slug, created, slug=slug, allowed=WorkflowModel().allowed_slugs(owner.user, name)[:1]
    )


@pytest.mark.proves(schemas.body)
@pytest.mark.shows("workflows.slug-charset")
@pytest.mark.parametrize("words", ["snake_case.dotted", "Größe, 漢字 ✓", " a -- b & <c> "])
def test_slug_of_any_name_has_its_characters(tester, test_data, words):
    """Whatever the name, its slug has lowercase letters, digits and hyphens only; what it is then is open."""
    owner = tester.need(AUTHOR)
    _, slug = test_data.create(owner, {"name": fresh_name(words)})

    if slug is not None:  # to refuse such a name is no breach
        read(tester, owner, slug)


@pytest.mark.proves(workflows.suffixed_slug)
def test_taken_slugs_get_suffixes(tester, test_data):
    """A taken slug is followed by -2, then -3, and so on, past single digits."""
    owner, name, model = tester.need(AUTHOR), fresh_name("Twin"), WorkflowModel()
    slug = test_data.make_workflow(owner, name=name)
    model.create(owner.user, slug, {"name": name})

    for _ in range(10):
        allowed = model.allowed_slugs(owner.user, name)
        created, slug = test_data.make(owner, {"name": name})
        tester.judge(workflows.suffixed_slug, created, slug=slug, allowed=allowed)
        model.create(owner.user, slug, {"name": name})


@pytest.mark.proves(workflows.suffixed_slug)
def test_suffix_that_is_a_name_is_taken_too(tester, test_data):
    """A suffix is passed over where another name has made that very slug; other spellings are one name."""
    owner, name, model = tester.need(AUTHOR), fresh_name("Twin"), WorkflowModel()

    for each in (f"{name} 2", name, name.upper(), f"{name} 2"):
        allowed = model.allowed_slugs(owner.user, each)
        created, slug = test_data.make(owner, {"name": each})
        tester.judge(workflows.suffixed_slug, created, slug=slug, allowed=allowed)
        model.create(owner.user, slug, {"name": each})


@pytest.mark.proves(workflows.suffixed_slug, workflows.untouched)
@pytest.mark.needs(TWO_AUTHORS)
def test_same_name_of_another_account(tester, test_data):
    """Two accounts may use one name: neither gets or changes the other's workflow."""
    (owner, stranger), model = tester.need(TWO_AUTHORS), WorkflowModel()
    document = {"name": fresh_name("Shared"), "description": "the first"}
    slug = test_data.make_workflow(owner, **document)
    model.create(owner.user, slug, document)
    before = workflows.kept_members(read(tester, owner, slug).json_or_none())
    allowed = model.allowed_slugs(stranger.user, document["name"])
    test_data.make_workflow(stranger, name=fresh_name("Theirs"))  # which shows that this account may create

    created, other_slug = test_data.create(stranger, {**document, "description": "the second"})

    tester.judge(workflows.suffixed_slug, created, slug=other_slug or created.answer, allowed=allowed)
    tester.judge(workflows.untouched, read(tester, owner, slug), before=before)


@pytest.mark.proves(workflows.creator, workflows.creator_may)
def test_creator_is_not_forged(tester, test_data):
    """CreatedBy is whoever created the workflow, whatever the body of a create or update says."""
    (owner, stranger), model = tester.need(TWO_AUTHORS), WorkflowModel()
    for persona in (stranger, owner):
        slug = test_data.make_workflow(persona, name=fresh_name("Signed"))
        exchange = read(tester, persona, slug)
        document = exchange.json_or_none()
        model.note_creator(persona.user, document.get("createdBy") if isinstance(document, dict) else None)
    others = model.other_creators(owner.user)
    known = {"own": model.creator(owner.user), "others": others}
    tester.judge(workflows.creator, exchange, own=None, others=others)

    for forged in others:
        _, copy_slug = test_data.create(owner, {"name": fresh_name("Forged"), "createdBy": forged})
        if copy_slug is not None:  # to refuse a forged creator is no breach
            exchange = read(tester, owner, copy_slug)
            tester.judge(workflows.creator, exchange, **known)
        write(tester, owner, slug, {"createdBy": forged, "description": "forged"})
        exchange = read(tester, owner, slug)
        tester.judge(workflows.creator, exchange, **known)


@pytest.mark.proves(workflows.creator_may)
@pytest.mark.records("deleteWorkflow-deleted")
def test_creator_may_read_and_write(tester, test_data):
    """The creator may read and write the workflow at once, its schema included."""
    both = TWO_AUTHORS.met_by(tester.target)
    owner = both.second if both else tester.need(AUTHOR)
    slug = test_data.make_workflow(owner, name=fresh_name("Owned"))

    read(tester, owner, slug)
    read(tester, owner, slug, "getWorkflowSchema")
    write(tester, owner, slug, {"description": "mine"})
    move(tester, owner, slug, None)
    test_data.delete(owner, slug)


@pytest.mark.needs(OWN_WORKFLOW)
@pytest.mark.proves(workflows.stored)
@pytest.mark.records("createWorkflow-whole-document", 200, 201, is_named=True)
def test_whole_document_makes_the_round_trip(tester, test_data):
    """A workflow as read and sent back to create is read back whole: words, nodes, edges and viewport."""
    owner = tester.need(AUTHOR)
    graph = known_graph(tester)
    description = "Read, sent, read, by one whose words are many. " * 5 + 'Größe, 漢字\n✓ "1 < 2"'
    words = {
        "name": fresh_name("Tom & Ann's Größe, 漢字"),
        "description": description,
        "tags": ["harness", "copy"],
    }
    nodes = moved_by(12.25, graph["nodes"])  # what is no whole number is kept as well
    document = {**words, **graph, "nodes": nodes, "viewport": {"x": -12.5, "y": 340, "zoom": 0.75}}
    created, slug = test_data.make(owner, document)
    tester.keep("createWorkflow-whole-document", created)
    tester.judge(workflows.stored, read(tester, owner, slug), sent=document)

    document_as_read = read(tester, owner, slug).json_or_none()
    if not isinstance(document_as_read, dict):
        return
    again = {**document_as_read, "name": fresh_name("Copy again")}
    created, copy_slug = test_data.create(owner, again)
    if copy_slug is None:
        tester.judge(workflows.stored, created, sent={})
    else:
        tester.judge(
            workflows.stored, read(tester, owner, copy_slug), sent={**document, "name": again["name"]}
        )


@pytest.mark.proves(workflows.copied_fields)
def test_copy_asks_for_the_same_fields(tester, test_data):
    """The schema of a workflow that was read and sent back to create is the original's."""
    owner, (reader, original) = tester.need(AUTHOR), tester.need(OWN_WORKFLOW)
    slug = test_data.make_workflow(owner, name=fresh_name("Copy"), **known_graph(tester))
    fields = body_of(read(tester, reader, original.slug, "getWorkflowSchema")).get("fields")

    if isinstance(fields, list):
        tester.judge(workflows.copied_fields, read(tester, owner, slug, "getWorkflowSchema"), fields=fields)


@pytest.mark.proves(workflows.stored, workflows.updated, workflows.update_accepted)
def test_nodes_edges_and_tags_are_all_kept(tester, test_data):
    """Of nodes, edges and tags all are kept, also more than the target's own workflows show, part by part."""
    owner = tester.need(AUTHOR)
    slug, document = make_own_graph(tester, test_data, owner)
    shown = read(tester, owner, slug)
    tester.judge(workflows.stored, shown, sent=document)

    expected = workflows.kept_members(shown.json_or_none())
    for changes in (
        {"tags": ["one", "two", "three", "four"]},
        {"nodes": moved_by(7.5, document["nodes"])},
        {"edges": [{**edge, "id": f"{edge['id']}-again"} for edge in document["edges"]]},
    ):
        exchange = write(tester, owner, slug, changes)
        tester.judge(workflows.update_accepted, exchange)
        expected |= changes if exchange.is_success else {}
        tester.judge(workflows.updated, read(tester, owner, slug), expected=expected)


@pytest.mark.proves(workflows.second_of_free_account)
@pytest.mark.records("createWorkflow-second-of-free-account", 403, 402, 409)
def test_free_account_creates_one_workflow(tester, test_data):
    """A free account that has a workflow may not create another one."""
    key = tester.need(FREE_KEY)
    if tester.mint is not None:  # what a profile's account has made already is not known
        account = tester.mint.open_account("free")
        key = tester.mint.mint({"workflow:read", "workflow:write"}, account=account)
    call = Call(json={"name": fresh_name("First")})

    first = tester.send_together("createWorkflow", key, call, times=4)

    created = [exchange for exchange in first if exchange.is_success]
    if not created:  # a free account's key may be good for nothing
        raise Untested(f"a workflow to write to: creating one was answered {first[0].answer}")
    for exchange in created[1:]:
        tester.judge(workflows.second_of_free_account, exchange)
    for name in (fresh_name("Second"), fresh_name("Third")):
        second, _ = test_data.create(key, {"name": name})
        tester.judge(workflows.second_of_free_account, second)


# --- update, move, delete


@pytest.mark.proves(workflows.updated, workflows.update_accepted)
@pytest.mark.needs(OWN_WORKFLOW)
@pytest.mark.records("updateWorkflow-written")
@pytest.mark.parametrize("member", [*WRITABLE_MEMBERS, "several", "emptied", "undescribed", "none"])
def test_update_changes_what_it_names(tester, test_data, member):
    """An update takes any subset of the fields: what it names is new, the rest is as before."""
    owner = tester.need(AUTHOR)
    slug, before = draft(tester, test_data, owner)
    new = {
        "name": fresh_name("Renamed"),
        "description": "As it is now.",
        "tags": ["after"],
        "nodes": moved_by(40, before.get("nodes", [])),
        "edges": [{**edge, "id": f"{edge.get('id')}-harness"} for edge in objects_in(before.get("edges"))],
        "viewport": {"x": 1, "y": -2.5, "zoom": 2},
        "publicPlayground": not before.get("publicPlayground"),
    }
    named: dict[str, dict[str, object]] = {
        "several": {name: new[name] for name in ("description", "tags", "viewport")},
        "emptied": {"tags": [], "nodes": [], "edges": []},
        "undescribed": {"description": ""},
        "none": {},
    }
    changes = named[member] if member in named else {member: new[member]}

    exchange = write(tester, owner, slug, changes)

    if member not in ("undescribed", "none"):  # whether these are taken is not said
        tester.judge(workflows.update_accepted, exchange)
    expected = {**before, **(changes if exchange.is_success else {})}
    expected.pop("slug", None)
    tester.judge(workflows.updated, read(tester, owner, slug), expected=expected)


@pytest.mark.proves(times.of_the_last_write)
def test_updated_at_is_the_time_of_the_update(tester, test_data):
    """Each update sets updatedAt to the time of the server's clock, which is later than before."""
    owner = tester.need(AUTHOR)
    slug = test_data.make_workflow(owner)
    before = read(tester, owner, slug)
    keeps_fractions = re.search(r"\.\d*[1-9]", str(body_of(before).get("updatedAt"))) is not None
    tester.wait(0.05 if keeps_fractions else 1.1)  # until the next time is a later one

    written = write(tester, owner, slug, {"description": "Later."})

    tester.judge(times.of_the_last_write, read(tester, owner, slug), written=written, before=before)


@pytest.mark.proves(workflows.slug_stays)
@pytest.mark.parametrize(
    "members",
    [("name",), ("slug",), ("slug", "description"), ("name", "slug"), ("slug", "folderId")],
    ids="-".join,
)
def test_slug_never_changes(tester, test_data, members):
    """Neither a new name nor a slug in the body, of a move too, moves a workflow from its slug."""
    owner = tester.need(AUTHOR)
    slug = test_data.make_workflow(owner, name=fresh_name("Fixed"))
    new = {
        "name": fresh_name("Renamed"),
        "slug": slug_from_name(fresh_name("elsewhere")),
        "description": "Sent along.",
        "folderId": None,
    }
    operation_id = "moveWorkflow" if "folderId" in members else "updateWorkflow"
    body = {member: new[member] for member in members}

    tester.send(operation_id, owner, Call(path_values={"slug": slug}, json=body))

    tester.judge(workflows.slug_stays, read(tester, owner, slug), slug=slug)


@pytest.mark.needs(OWN_WORKFLOW, FILED_WORKFLOW)
@pytest.mark.records("moveWorkflow-to-root")
@pytest.mark.proves(workflows.moved, workflows.listed_folder, workflows.move_accepted, workflows.updated)
def test_move_sets_the_folder(tester, test_data):
    """A move sets the folder, there and back, and nothing else; the list agrees, and an update leaves it."""
    owner, _ = tester.need(FILED_WORKFLOW)
    slug, before = draft(tester, test_data, owner, "Moved")

    for exchange in moved_to(tester, owner, slug, before, folder_of(tester)):
        tester.judge(workflows.move_accepted, exchange)


@pytest.mark.proves(workflows.moved, workflows.listed_folder, workflows.updated)
def test_move_to_a_folder_of_our_own(tester, test_data):
    """The same holds of a folder that no workflow of the target shows, where the target takes one."""
    owner = tester.need(AUTHOR)
    slug = test_data.make_workflow(owner, name=fresh_name("Moved"), description="Not yet.")
    before = workflows.kept_members(read(tester, owner, slug).json_or_none())

    for exchange in moved_to(tester, owner, slug, before, f"harness-{fresh_name('folder')[8:20]}"):
        if not exchange.is_success:
            raise Untested(f"a folder: a move to one of our own was answered {exchange.answer}")


def moved_to(tester, owner, slug, before, folder_id):
    """Move a workflow into a folder, once more, and to the root, and judge what becomes of it each time.

    Yields:
        The answer to each move, before it is judged what it did.
    """
    for destination in (folder_id, folder_id, None):
        yield move(tester, owner, slug, destination)
        shown = read(tester, owner, slug)
        tester.judge(workflows.moved, shown, expected={**before, "folderId": destination})
        tester.judge(
            workflows.listed_folder,
            tester.send("listWorkflows", owner),
            slug=slug,
            name=before.get("name"),
            folder_id=destination,
        )
        changes = {"description": f"Written in {destination}."}
        write(tester, owner, slug, changes)
        before |= changes
        left = {**before, "folderId": body_of(shown).get("folderId", destination)}
        tester.judge(workflows.updated, read(tester, owner, slug), expected=left)


@pytest.mark.runs
@pytest.mark.proves(workflows.gone, workflows.listed, workflows.creator_may_run)
@pytest.mark.records("getWorkflow-deleted", 404, is_named=True)
@pytest.mark.parametrize("which", ["first", "second"])
def test_deleted_workflow_is_gone(tester, test_data, which):
    """A deleted workflow is a 404 for whatever is asked of it, and not listed; its siblings stay."""
    owner = tester.need(AUTHOR)
    name = fresh_name("Deleted")
    slugs = [test_data.make_workflow(owner, name=name) for _ in range(2)]
    slug, sibling = slugs if which == "first" else slugs[::-1]
    write(tester, owner, slug, {"publicPlayground": True})
    can_run = AUTHOR_WHO_RUNS.missing(tester.target) is None and owner.holds("workflow:run")
    if can_run:
        run_free(tester, owner, slug)

    test_data.delete(owner, slug)

    tester.keep("getWorkflow-deleted", read(tester, owner, slug))
    read(tester, owner, slug, "getWorkflowSchema")
    read(tester, None, slug, "getPublicWorkflowSchema")
    write(tester, owner, slug, {"description": "back?"})
    move(tester, owner, slug, None)
    if can_run:
        run_free(tester, owner, slug)
    read(tester, owner, slug)
    listed = tester.send("listWorkflows", owner)
    tester.judge(workflows.listed, listed, own={sibling}, deleted={slug})
    read(tester, owner, sibling)
