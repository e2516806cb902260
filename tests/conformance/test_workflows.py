"""Workflows are kept as they were written, under one slug and by one owner: step by step, then at random."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, multiple, rule

from knouds_harness.conformance.checks import workflows
from knouds_harness.conformance.claims import answer
from knouds_harness.conformance.lifecycle import WRITABLE_MEMBERS, Lifecycle, slug_from_name
from knouds_harness.conformance.needs import (
    ADMIN_KEY,
    FOREIGN_TEMPLATE,
    FREE_KEY,
    FULL_KEY,
    MAY_WRITE,
    OWN_FILED_WORKFLOW,
    OWN_WORKFLOW,
    STRANGER_KEY,
)
from knouds_harness.conformance.probe import UNTESTED, Call

MOST_STEPS = 10
GRAPH_MEMBERS = ("nodes", "edges", "viewport")


def fresh_name(words):
    """A workflow's name whose slug nobody holds; letters, digits and single spaces only."""
    return f"Harness {uuid.uuid4().hex[:12]} {words}"


def make(subjects, owner, document):
    """Create a workflow that is deleted in the end; the test counts as untested where that is refused."""
    created, slug = subjects.create(owner, document)
    if slug is None:
        pytest.skip(f"{UNTESTED}a workflow to write to: creating one was answered {answer(created)}")
    return created, slug


def read(probe, owner, slug, operation_id="getWorkflow"):
    """Read one workflow, or what an operation says of it."""
    return probe.send(operation_id, owner, Call(path_values={"slug": slug}))


def write(probe, owner, slug, changes):
    """Update a workflow."""
    return probe.send("updateWorkflow", owner, Call(path_values={"slug": slug}, json=changes))


def move(probe, owner, slug, folder_id):
    """Move a workflow."""
    return probe.send("moveWorkflow", owner, Call(path_values={"slug": slug}, json={"folderId": folder_id}))


def known_graph(probe):
    """Nodes, edges and viewport that the target knows: those of a workflow of the profile."""
    document = read(probe, probe.need(FULL_KEY), probe.need(OWN_WORKFLOW).slug).json_or_none()
    members = document if isinstance(document, dict) else {}
    if not all(member in members for member in GRAPH_MEMBERS):
        pytest.skip(f"{UNTESTED}a workflow whose nodes can be read")
    return {member: members[member] for member in GRAPH_MEMBERS}


def folder_of(probe):
    """A folder that exists."""
    filed = read(probe, probe.need(FULL_KEY), probe.need(OWN_FILED_WORKFLOW).slug).json_or_none()
    folder_id = filed.get("folderId") if isinstance(filed, dict) else None
    if not isinstance(folder_id, str):
        pytest.skip(f"{UNTESTED}a folder: the workflow with in_folder = true is in none")
    return folder_id


# --- create


@pytest.mark.proves(workflows.made_slug)
@pytest.mark.parametrize("words", ["lower", "Title Case Words", "UPPER", "mIxEd 2", "42", "A b C d E"])
def test_slug_is_made_from_the_name(probe, subjects, words):
    """A free name becomes the slug, in lowercase with hyphens."""
    owner, name = probe.need(FULL_KEY), fresh_name(words)
    created, slug = make(subjects, owner, {"name": name})

    probe.judge(
        workflows.made_slug, created, slug=slug, allowed=Lifecycle().allowed_slugs(owner.user, name)[:1]
    )


@pytest.mark.proves(workflows.suffixed_slug)
def test_taken_slugs_get_suffixes(probe, subjects):
    """A taken slug is followed by -2, then -3, and so on, past single digits."""
    owner, name, model = probe.need(FULL_KEY), fresh_name("Twin"), Lifecycle()
    _, slug = make(subjects, owner, {"name": name})
    model.create(owner.user, slug, {"name": name})

    for _ in range(10):
        allowed = model.allowed_slugs(owner.user, name)
        created, slug = make(subjects, owner, {"name": name})
        probe.judge(workflows.suffixed_slug, created, slug=slug, allowed=allowed)
        model.create(owner.user, slug, {"name": name})


@pytest.mark.proves(workflows.suffixed_slug)
def test_suffix_that_is_a_name_is_taken_too(probe, subjects):
    """A suffix is passed over where another name has made that very slug; other spellings are one name."""
    owner, name, model = probe.need(FULL_KEY), fresh_name("Twin"), Lifecycle()

    for each in (f"{name} 2", name, name.upper(), f"{name} 2"):
        allowed = model.allowed_slugs(owner.user, each)
        created, slug = make(subjects, owner, {"name": each})
        probe.judge(workflows.suffixed_slug, created, slug=slug, allowed=allowed)
        model.create(owner.user, slug, {"name": each})


@pytest.mark.proves(workflows.suffixed_slug, workflows.untouched)
def test_same_name_of_another_account(probe, subjects):
    """Two accounts may use one name: neither gets or changes the other's workflow."""
    owner, stranger, model = probe.need(FULL_KEY), probe.need(STRANGER_KEY), Lifecycle()
    document = {"name": fresh_name("Shared"), "description": "the first"}
    _, slug = make(subjects, owner, document)
    model.create(owner.user, slug, document)
    before = workflows.kept_members(read(probe, owner, slug).json_or_none())
    allowed = model.allowed_slugs(stranger.user, document["name"])

    created, other_slug = make(subjects, stranger, {**document, "description": "the second"})

    probe.judge(workflows.suffixed_slug, created, slug=other_slug, allowed=allowed)
    probe.judge(workflows.untouched, read(probe, owner, slug), before=before)


@pytest.mark.proves(workflows.creator)
def test_creator_is_not_forged(probe, subjects):
    """CreatedBy is whoever created the workflow, whatever the body of a create or update says."""
    owner, stranger, model = probe.need(FULL_KEY), probe.need(STRANGER_KEY), Lifecycle()
    for persona in (stranger, owner):
        _, slug = make(subjects, persona, {"name": fresh_name("Signed")})
        exchange = read(probe, persona, slug)
        document = exchange.json_or_none()
        model.note_creator(persona.user, document.get("createdBy") if isinstance(document, dict) else None)
    others = model.other_creators(owner.user)
    known = {"own": model.creator(owner.user), "others": others}
    probe.judge(workflows.creator, exchange, own=None, others=others)

    for forged in others:
        _, copy_slug = subjects.create(owner, {"name": fresh_name("Forged"), "createdBy": forged})
        if copy_slug is not None:  # to refuse a forged creator is no breach
            probe.judge(workflows.creator, read(probe, owner, copy_slug), **known)
        write(probe, owner, slug, {"createdBy": forged, "description": "forged"})
        probe.judge(workflows.creator, read(probe, owner, slug), **known)


@pytest.mark.proves(workflows.creator_may)
def test_creator_may_read_and_write(probe, subjects):
    """The creator may read and write the workflow at once, its schema included."""
    owner = probe.need(STRANGER_KEY)
    _, slug = make(subjects, owner, {"name": fresh_name("Owned")})

    for exchange in (
        read(probe, owner, slug),
        read(probe, owner, slug, "getWorkflowSchema"),
        write(probe, owner, slug, {"description": "mine"}),
        move(probe, owner, slug, None),
        subjects.delete(owner, slug),
    ):
        probe.judge(workflows.creator_may, exchange)


@pytest.mark.proves(workflows.stored)
def test_whole_document_makes_the_round_trip(probe, subjects):
    """A workflow as read and sent back to create is read back whole: words, nodes, edges and viewport."""
    owner = probe.need(FULL_KEY)
    graph = known_graph(probe)
    words = {"name": fresh_name("Copy"), "description": "Read, sent, read.", "tags": ["harness", "copy"]}
    document = {**words, **graph, "viewport": {"x": -12.5, "y": 340, "zoom": 0.75}}
    _, slug = make(subjects, owner, document)
    probe.judge(workflows.stored, read(probe, owner, slug), sent=document)

    document_as_read = read(probe, owner, slug).json_or_none()
    if not isinstance(document_as_read, dict):
        return
    again = {**document_as_read, "name": fresh_name("Copy again")}
    created, copy_slug = subjects.create(owner, again)
    if copy_slug is None:
        probe.judge(workflows.stored, created, sent={})
    else:
        probe.judge(workflows.stored, read(probe, owner, copy_slug), sent={**document, "name": again["name"]})


@pytest.mark.proves(workflows.second_of_free_account)
def test_free_account_creates_one_workflow(probe, subjects):
    """A free account that has a workflow may not create another one."""
    key = probe.need(FREE_KEY)
    if probe.mint is not None:  # what a profile's account has made already is not known
        account = probe.mint.open_account("free")
        key = probe.mint.mint({"workflow:read", "workflow:write"}, account=account)
    make(subjects, key, {"name": fresh_name("First")})  # a free account's key may be good for nothing

    for name in (fresh_name("Second"), fresh_name("Third")):
        second, _ = subjects.create(key, {"name": name})
        probe.judge(workflows.second_of_free_account, second)


# --- update, move, delete


def draft(probe, subjects, owner, words="Draft"):
    """A workflow with every member written; its slug and what it holds."""
    document = {
        "name": fresh_name(words),
        "description": "As it was.",
        "tags": ["harness", "before"],
        **known_graph(probe),
    }
    _, slug = make(subjects, owner, document)
    return slug, workflows.kept_members(read(probe, owner, slug).json_or_none())


def moved_by(step, nodes):
    """The same nodes, in a row."""
    return [
        {**node, "position": {**node.get("position", {}), "x": step * number}}
        for number, node in enumerate(nodes, start=1)
    ]


@pytest.mark.proves(workflows.updated, workflows.update_accepted)
@pytest.mark.parametrize("member", [*WRITABLE_MEMBERS, "several", "none"])
def test_update_changes_what_it_names(probe, subjects, member):
    """An update takes any subset of the fields: what it names is new, the rest is as before."""
    owner = probe.need(FULL_KEY)
    slug, before = draft(probe, subjects, owner)
    new = {
        "name": fresh_name("Renamed"),
        "description": "As it is now.",
        "tags": ["after"],
        "nodes": moved_by(40, before.get("nodes", [])),
        "edges": [{**edge, "id": f"{edge.get('id')}-harness"} for edge in before.get("edges", [])],
        "viewport": {"x": 1, "y": -2.5, "zoom": 2},
        "publicPlayground": True,
    }
    several = {name: new[name] for name in ("description", "tags", "viewport")}
    changes = {"several": several, "none": {}}.get(member) or {
        name: new[name] for name in (member,) if name in new
    }

    exchange = write(probe, owner, slug, changes)

    if changes:  # whether an empty subset is one is not said
        probe.judge(workflows.update_accepted, exchange)
    expected = {**before, **(changes if workflows.is_success(exchange) else {})}
    expected.pop("slug", None)
    probe.judge(workflows.updated, read(probe, owner, slug), expected=expected)


@pytest.mark.proves(workflows.slug_stays)
@pytest.mark.parametrize(
    "members", [("name",), ("slug",), ("slug", "description"), ("name", "slug")], ids="-".join
)
def test_slug_never_changes(probe, subjects, members):
    """Neither a new name nor a slug in the body moves a workflow from its slug."""
    owner = probe.need(FULL_KEY)
    _, slug = make(subjects, owner, {"name": fresh_name("Fixed")})
    new = {
        "name": fresh_name("Renamed"),
        "slug": slug_from_name(fresh_name("elsewhere")),
        "description": "Sent along.",
    }

    write(probe, owner, slug, {member: new[member] for member in members})

    probe.judge(workflows.slug_stays, read(probe, owner, slug), slug=slug)


@pytest.mark.proves(workflows.slug_stays)
def test_slug_sent_to_move_is_not_taken(probe, subjects):
    """A slug in the body of a move changes nothing either."""
    owner = probe.need(FULL_KEY)
    _, slug = make(subjects, owner, {"name": fresh_name("Fixed")})
    body = {"folderId": None, "slug": slug_from_name(fresh_name("elsewhere"))}

    probe.send("moveWorkflow", owner, Call(path_values={"slug": slug}, json=body))

    probe.judge(workflows.slug_stays, read(probe, owner, slug), slug=slug)


@pytest.mark.proves(workflows.moved, workflows.move_accepted)
def test_move_sets_the_folder(probe, subjects):
    """A move sets the folder, there and back to the root, and leaves the rest; the list says the same."""
    owner = probe.need(FULL_KEY)
    folder_id = folder_of(probe)
    slug, before = draft(probe, subjects, owner, "Moved")

    for destination in (folder_id, folder_id, None):
        probe.judge(workflows.move_accepted, move(probe, owner, slug, destination))
        probe.judge(workflows.moved, read(probe, owner, slug), expected={**before, "folderId": destination})
        probe.judge(
            workflows.listed_folder,
            probe.send("listWorkflows", owner),
            slug=slug,
            folder_id=destination,
        )


@pytest.mark.proves(workflows.gone, workflows.listed)
def test_deleted_workflow_is_gone(probe, subjects):
    """A deleted workflow is a 404 for whatever is asked of it, and not listed; its siblings stay."""
    owner = probe.need(FULL_KEY)
    name = fresh_name("Deleted")
    _, sibling = make(subjects, owner, {"name": name})
    _, slug = make(subjects, owner, {"name": name})
    write(probe, owner, slug, {"publicPlayground": True})

    probe.judge(workflows.creator_may, subjects.delete(owner, slug))

    for operation_id in ("getWorkflow", "getWorkflowSchema"):
        probe.judge(workflows.gone, read(probe, owner, slug, operation_id))
    probe.judge(workflows.gone, read(probe, None, slug, "getPublicWorkflowSchema"))
    probe.judge(workflows.gone, write(probe, owner, slug, {"description": "back?"}))
    probe.judge(workflows.gone, move(probe, owner, slug, None))
    probe.judge(workflows.gone, read(probe, owner, slug))
    listed = probe.send("listWorkflows", owner)
    probe.judge(workflows.listed, listed, own={sibling}, deleted={slug})
    probe.judge(workflows.creator_may, read(probe, owner, sibling))


# --- list


@pytest.mark.proves(workflows.listed)
def test_list_holds_own_and_templates(probe, subjects, target):
    """The list holds what is one's own and other people's templates; nobody else's, be it public or not."""
    owner, stranger = probe.need(FULL_KEY), probe.need(STRANGER_KEY)
    slugs = {
        persona.user: {make(subjects, persona, {"name": fresh_name(words)})[1] for words in ("One", "Two")}
        for persona in (owner, stranger)
    }
    for persona in (owner, stranger):
        write(probe, persona, min(slugs[persona.user]), {"publicPlayground": True})

    for persona, other in ((owner, stranger), (stranger, owner)):
        known = [each for each in target.workflows.values() if each.owner != persona.user]
        probe.judge(
            workflows.listed,
            probe.send("listWorkflows", persona),
            own=slugs[persona.user]
            | {each.slug for each in target.workflows.values() if each.owner == persona.user},
            templates={each.slug for each in known if each.template},
            foreign=slugs[other.user] | {each.slug for each in known if not each.template},
        )


# --- other people's


def filed(probe, subjects, owner, *, is_public):
    """A workflow in a folder, where the profile knows one; its slug and what it holds."""
    _, slug = make(subjects, owner, {"name": fresh_name("Mine"), "description": "Mine."})
    write(probe, owner, slug, {"publicPlayground": is_public})
    if OWN_FILED_WORKFLOW.find(probe.target) is not None:
        move(probe, owner, slug, folder_of(probe))
    return slug, workflows.kept_members(read(probe, owner, slug).json_or_none())


def attempts(probe, intruder, slug):
    """What an intruder tries on a workflow; deleting it comes last."""
    yield write(probe, intruder, slug, {"description": "written by somebody else", "tags": ["theirs"]})
    yield write(probe, intruder, slug, {"publicPlayground": True})
    yield move(probe, intruder, slug, None)
    yield probe.send("deleteWorkflow", intruder, Call(path_values={"slug": slug}))


@pytest.mark.proves(workflows.foreign_write, workflows.untouched)
@pytest.mark.parametrize("is_public", [False, True], ids=["private", "public"])
def test_foreign_write_is_refused_without_effect(probe, subjects, is_public):
    """A write to someone else's workflow is refused and changes nothing, be the workflow public or not."""
    owner, intruder = probe.need(FULL_KEY), probe.need(STRANGER_KEY)
    slug, before = filed(probe, subjects, owner, is_public=is_public)

    for attempt in attempts(probe, intruder, slug):
        probe.judge(workflows.foreign_write, attempt)
        probe.judge(workflows.untouched, read(probe, owner, slug), before=before)


@pytest.mark.proves(workflows.template_write)
def test_write_to_foreign_template_is_refused(probe):
    """A write to someone else's template is refused; what is sent would leave it as it is."""
    intruder, slug = probe.need(FULL_KEY), probe.need(FOREIGN_TEMPLATE).slug
    template = read(probe, intruder, slug).json_or_none()
    if not isinstance(template, dict) or "name" not in template:
        pytest.skip(f"{UNTESTED}a template that can be read")

    probe.judge(workflows.template_write, write(probe, intruder, slug, {"name": template["name"]}))
    probe.judge(workflows.template_write, move(probe, intruder, slug, template.get("folderId")))


@pytest.mark.proves(workflows.admin_write, workflows.untouched_by_admin)
def test_administrator_does_not_own(probe, subjects):
    """An administrator's write to someone else's workflow is refused and changes nothing."""
    owner, admin = probe.need(FULL_KEY), probe.need(ADMIN_KEY)
    slug, before = filed(probe, subjects, owner, is_public=False)

    for attempt in attempts(probe, admin, slug):
        probe.judge(workflows.admin_write, attempt)
        probe.judge(workflows.untouched_by_admin, read(probe, owner, slug), before=before)


# --- schema


@pytest.mark.proves(workflows.public_schema_follows)
def test_public_schema_follows_the_switch(probe, subjects):
    """The public schema comes and goes with publicPlayground, for anybody and each time."""
    owner = probe.need(FULL_KEY)
    slug, _ = draft(probe, subjects, owner, "Playground")

    for is_public in (False, True, False, True):
        switched = write(probe, owner, slug, {"publicPlayground": is_public})
        if workflows.is_success(switched):
            schema = read(probe, None, slug, "getPublicWorkflowSchema")
            probe.judge(workflows.public_schema_follows, schema, is_public=is_public)


@pytest.mark.proves(workflows.schema_describes)
def test_schema_carries_the_words_of_its_workflow(probe, subjects):
    """Both schemas carry the name and description of the workflow, also after an update."""
    owner = probe.need(FULL_KEY)
    slug, before = draft(probe, subjects, owner, "Described")
    words = {"name": fresh_name("Described anew"), "description": "In other words."}

    schema = read(probe, owner, slug, "getWorkflowSchema")
    probe.judge(workflows.schema_describes, schema, expected=before)

    write(probe, owner, slug, {**words, "publicPlayground": True})
    now = workflows.kept_members(read(probe, owner, slug).json_or_none())
    for exchange in (
        read(probe, owner, slug, "getWorkflowSchema"),
        read(probe, None, slug, "getPublicWorkflowSchema"),
    ):
        probe.judge(workflows.schema_describes, exchange, expected=now)


# --- sequences


class TwoUsers(RuleBasedStateMachine):
    """Two users who create, change, move and delete workflows; after each step what is read is compared."""

    slugs = Bundle("slugs")

    def __init__(self, probe, subjects, *, graph, folder_id, known):
        super().__init__()
        self.probe = probe
        self.subjects = subjects
        self.graph = graph
        self.users = {persona.user: persona for persona in (probe.need(FULL_KEY), probe.need(STRANGER_KEY))}
        self.folders = {probe.need(FULL_KEY).user: (None, folder_id)}
        self.known = known
        self.model = Lifecycle()
        self.is_over = False

    @initialize()
    def begin(self):
        """Names of their own for each sequence and each user: what others hold is not known."""
        self.names = {user: fresh_name("x") for user in self.users}

    @rule(
        target=slugs,
        which=st.integers(0, 1),
        words=st.sampled_from(["", " B", " b", " 2"]),
        members=st.fixed_dictionaries(
            {},
            optional={
                "description": st.sampled_from(["Made.", "Made twice."]),
                "tags": st.lists(st.sampled_from(["sea", "sky", "sun"]), unique=True, max_size=3),
                "graph": st.just(True),
                "createdBy": st.just("somebody-else"),
            },
        ),
    )
    def create(self, which, words, members):
        """A name may be taken, by itself or by another name's suffix."""
        if self.is_over:
            return multiple()
        user = list(self.users)[which]
        document = {"name": self.names[user] + words, **members}
        if document.pop("graph", False):
            document |= self.graph
        if self.model.creator(user) is None:  # how it is spelt is learnt from the first one
            document.pop("createdBy", None)
        elif "createdBy" in document:
            document["createdBy"] = next(iter(self.model.other_creators(user)), document["createdBy"])
        allowed = self.model.allowed_slugs(user, document["name"])
        created, slug = self.subjects.create(self.users[user], document)
        if slug is None:
            return multiple()
        is_free = allowed == (slug_from_name(document["name"]),)
        check = workflows.made_slug if is_free else workflows.suffixed_slug
        self.judge(check, created, slug=slug, allowed=allowed)
        self.model.create(user, slug, document)
        self.look_at(slug, workflows.stored, "sent")
        return slug

    @rule(
        slug=slugs,
        changes=st.fixed_dictionaries(
            {},
            optional={
                "name": st.sampled_from([" renamed", " B"]),
                "description": st.sampled_from(["Changed.", "Changed again."]),
                "tags": st.lists(st.sampled_from(["sea", "sky", "sun"]), unique=True, max_size=3),
                "viewport": st.fixed_dictionaries(
                    {"x": st.integers(-9, 9), "y": st.integers(-9, 9), "zoom": st.sampled_from([0.5, 1, 2])}
                ),
                "publicPlayground": st.booleans(),
            },
        ).filter(bool),
    )
    def update(self, slug, changes):
        """Any subset of the fields."""
        if self.is_over:
            return
        if "name" in changes:
            changes = {**changes, "name": self.names[self.owner_of(slug).user] + changes["name"]}
        exchange = write(self.probe, self.owner_of(slug), slug, changes)
        self.judge(workflows.update_accepted, exchange)
        if workflows.is_success(exchange):
            self.model.update(slug, changes)
        self.look_at(slug, workflows.updated, "expected")

    @rule(slug=slugs, data=st.data())
    def move(self, slug, data):
        """To a folder that exists, or to the root."""
        if self.is_over:
            return
        owner = self.owner_of(slug)
        folder_id = data.draw(st.sampled_from(self.folders.get(owner.user, (None,))))
        exchange = move(self.probe, owner, slug, folder_id)
        self.judge(workflows.move_accepted, exchange)
        if workflows.is_success(exchange):
            self.model.move(slug, folder_id)
        self.look_at(slug, workflows.moved, "expected")

    @rule(slug=slugs, member=st.sampled_from(["slug", "createdBy"]))
    def forge(self, slug, member):
        """What the server decides is sent along; it may be ignored or refused."""
        if self.is_over:
            return
        owner = self.owner_of(slug)
        forged = {
            "slug": f"{slug_from_name(self.names[owner.user])}-forged",
            "createdBy": next(iter(self.model.other_creators(owner.user)), "somebody-else"),
        }
        write(self.probe, owner, slug, {member: forged[member]})
        self.look_at(slug, workflows.updated, "expected")

    @rule(slug=slugs, does=st.sampled_from(["update", "move", "delete"]))
    def intrude(self, slug, does):
        """The other user tries to write."""
        if self.is_over:
            return
        intruder = next(each for each in self.users.values() if each != self.owner_of(slug))
        if does == "update":
            exchange = write(self.probe, intruder, slug, {"description": "written by somebody else"})
        elif does == "move":
            exchange = move(self.probe, intruder, slug, None)
        else:
            exchange = self.probe.send("deleteWorkflow", intruder, Call(path_values={"slug": slug}))
        self.judge(workflows.foreign_write, exchange)
        self.look_at(slug, workflows.untouched, "before")

    @rule(slug=consumes(slugs))
    def delete(self, slug):
        """Gone for everybody."""
        if self.is_over:
            return
        owner = self.owner_of(slug)
        exchange = self.subjects.delete(owner, slug)
        self.judge(workflows.creator_may, exchange)
        if not workflows.is_success(exchange):
            return
        self.model.delete(slug)
        self.judge(workflows.gone, read(self.probe, owner, slug))
        self.look_at_list(owner)

    def teardown(self):
        """Leave nothing behind."""
        for user, persona in self.users.items():
            for slug in self.model.kept_by(user):
                self.subjects.delete(persona, slug)

    def owner_of(self, slug):
        """Whose workflow it is."""
        return self.users[self.model[slug].owner]

    def look_at(self, slug, check, parameter):
        """Compare a workflow, its schemas and its owner's list with the model."""
        if self.is_over:
            return
        owner, kept = self.owner_of(slug), self.model[slug]
        exchange = read(self.probe, owner, slug)
        document = exchange.json_or_none()
        if check is workflows.updated:
            self.judge(workflows.slug_stays, exchange, slug=slug)
        self.judge(check, exchange, **{parameter: kept.members})
        self.model.note_creator(owner.user, document.get("createdBy") if isinstance(document, dict) else None)
        creators = {
            "own": self.model.creator(owner.user),
            "others": self.model.other_creators(owner.user),
        }
        self.judge(workflows.creator, exchange, **creators)
        if kept.is_public is None:
            schema = read(self.probe, owner, slug, "getWorkflowSchema")
        else:
            schema = read(self.probe, None, slug, "getPublicWorkflowSchema")
            self.judge(workflows.public_schema_follows, schema, is_public=kept.is_public)
        self.judge(workflows.schema_describes, schema, expected=kept.members)
        self.look_at_list(owner)

    def look_at_list(self, owner):
        """Compare an owner's list with the model."""
        if self.is_over:
            return
        known = {
            "own": self.model.kept_by(owner.user),
            "foreign": self.model.kept_by_others(owner.user),
            "deleted": self.model.deleted(),
        }
        exchange = self.probe.send("listWorkflows", owner)
        self.judge(workflows.listed, exchange, **known)

    def judge(self, check, exchange, **known):
        """End the sequence at a finding; one that was known before needs no shortest sequence."""
        if self.is_over:
            return
        failing = self.probe.judge(check, exchange, **known)
        self.is_over = bool(failing)
        assert not [finding for finding in failing if finding.fingerprint not in self.known]


@pytest.mark.proves(
    workflows.updated,
    workflows.made_slug,
    workflows.suffixed_slug,
    workflows.creator,
    workflows.creator_may,
    workflows.stored,
    workflows.update_accepted,
    workflows.slug_stays,
    workflows.moved,
    workflows.move_accepted,
    workflows.gone,
    workflows.listed,
    workflows.foreign_write,
    workflows.untouched,
    workflows.public_schema_follows,
    workflows.schema_describes,
)
def test_sequences_of_two_users(probe, subjects, drive):
    """Whatever two users do in turn, each reads what was written last, and nothing of the other's doing."""
    probe.need(MAY_WRITE)
    graph, folder_id = known_graph(probe), None
    if OWN_FILED_WORKFLOW.find(probe.target) is not None:
        folder_id = folder_of(probe)

    known = frozenset(probe.recorder.findings)

    drive(lambda: TwoUsers(probe, subjects, graph=graph, folder_id=folder_id, known=known), MOST_STEPS)
