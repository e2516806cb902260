"""Random sequences of requests to workflows with several keys, compared with a model after each step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast

from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    consumes,
    initialize,
    multiple,
    rule,
)

from knouds_harness.exchange.created_workflows import fresh_name
from knouds_harness.exchange.evidence import JSON, Call, Exchange
from knouds_harness.judging.checks import capabilities, envelopes, schemas, workflows
from knouds_harness.judging.claim import Check
from knouds_harness.judging.workflow_model import WorkflowModel, slug_from_name
from knouds_harness.suite.support.test_data import TestData
from knouds_harness.suite.support.workflow_authoring import move, moved_by, read, run_free, to_workflow, write
from knouds_harness.suite.tester import Sending, Tester
from knouds_harness.targets.needs import MAY_RUN
from knouds_harness.targets.resources import Persona

P = ParamSpec("P")
F = TypeVar("F", bound=Callable[..., Any])

_TAGS = st.lists(st.sampled_from(["sea", "sky", "sun"]), unique=True, max_size=3)
_VIEWPORTS = st.fixed_dictionaries(
    {"x": st.integers(-9, 9), "y": st.integers(-9, 9), "zoom": st.sampled_from([0.5, 1, 2])}
)
_DOCUMENTS = st.fixed_dictionaries(
    {},
    optional={
        "description": st.sampled_from(["Made.", "Made twice."]),
        "tags": _TAGS,
        "graph": st.just(True),
        "createdBy": st.just("somebody-else"),
    },
)
_CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from([" renamed", " B"]),
        "description": st.sampled_from(["Changed.", "Changed again."]),
        "tags": _TAGS,
        "nodes": st.sampled_from([40, -40]),
        "viewport": _VIEWPORTS,
        "publicPlayground": st.booleans(),
    },
).filter(bool)


@dataclass(frozen=True, kw_only=True)
class SequenceStep:
    number: int
    rule: str
    arguments: Mapping[str, Any]
    """By name; a workflow is given by the number of the step that created it."""


@dataclass(kw_only=True)
class SequenceSetup:
    """What sequences are run with, and the sequence that broke a check.

    Attributes:
        graph: Nodes, edges and viewport that the target knows.
        known: Fingerprints of earlier findings, for which no shorter sequence is sought.
    """

    tester: Tester
    test_data: TestData
    users: tuple[Persona, ...]
    graph: Mapping[str, JSON]
    folder_id: str | None
    reader: Persona | None
    known: frozenset[str]
    broken: Sequence[SequenceStep] = field(default=())
    broken_check: str | None = None


def reader_for(tester: Tester, owner: Persona) -> Persona | None:
    """Return a key of the owner's account that may read but not write workflows; minted if none is known."""
    for persona in tester.target.personas.values():
        is_meant = persona.user == owner.user and persona.state == "active" and not persona.is_open
        if is_meant and persona.holds("workflow:read") and not persona.holds("workflow:write"):
            return persona
    return tester.minted({"workflow:read"}, account=owner.user) if tester.mint is not None else None


def _step(play: F) -> F:
    """Make a rule record its call, and do nothing once a check is broken.

    Called with the number of the step that created a workflow, it plays with the workflow's slug.
    """

    @wraps(play)
    def played(self: SeveralKeys, **arguments: Any) -> Any:  # noqa: ANN401 - what the rule returns
        if self.is_over:
            return multiple() if play.__name__ == "create" else None
        self.steps.append(SequenceStep(number=self.number, rule=play.__name__, arguments=arguments))
        named = {"slug": self.slug_by_step[arguments["slug"]]} if "slug" in arguments else {}
        try:
            return play(self, **{**arguments, **named})
        finally:
            self.number += 1

    return cast("F", played)


class SeveralKeys(RuleBasedStateMachine):
    """An owner with a writing and a reading key, and a second user if there is one, act in turn."""

    created = Bundle("created")
    """The numbers of the steps that created workflows."""

    def __init__(self, setup: SequenceSetup, *, sought: str | None = None) -> None:
        super().__init__()
        self.setup = setup
        self.tester, self.test_data = setup.tester, setup.test_data
        owner = setup.users[0]
        self.users = {each.user: each for each in setup.users}
        self.readers = {**self.users, owner.user: setup.reader or owner}
        self.folders = {owner.user: setup.folder_id}
        self.names: dict[str, str] = {}
        self.model = WorkflowModel()
        self.is_over = False
        self.sought = sought
        self.steps: list[SequenceStep] = []
        self.number = 0
        self.slug_by_step: dict[int, str] = {}

    @initialize()
    def begin(self) -> None:
        """Use new names for each sequence and user, as it is unknown which names others have taken."""
        self.tester.recorder.steps.begin_sequence()
        self.names = {user: fresh_name("x") for user in self.users}

    @rule(
        target=created,
        which=st.integers(0, 1),
        words=st.sampled_from(["", " B", " b", " 2"]),
        members=_DOCUMENTS,
    )
    @_step
    def create(self, which: int, words: str, members: dict[str, JSON]) -> int | MultipleResults[int]:
        """Create a workflow, whose slug may be taken by the same name or by another name's suffix."""
        user = list(self.users)[which % len(self.users)]
        document = {"name": self.names[user] + words, **members}
        if document.pop("graph", False):
            document |= self.setup.graph
        if self.model.creator(user) is None:  # the first create has to show the account's real id
            document.pop("createdBy", None)
        elif "createdBy" in document:
            document["createdBy"] = next(iter(self.model.other_creators(user)), document["createdBy"])
        allowed = self.model.allowed_slugs(user, document["name"])
        created, slug = self.test_data.create(self.users[user], document)
        if slug is None:
            return multiple()
        is_free = allowed == (slug_from_name(document["name"]),)
        check = workflows.made_slug if is_free else workflows.suffixed_slug
        self.judge(check, created, slug=slug, allowed=allowed)
        self.model.create(user, slug, document)
        self.slug_by_step[self.number] = slug
        self.look_at(slug, workflows.stored, "sent")
        return self.number

    @rule(slug=created, changes=_CHANGES)
    @_step
    def update(self, slug: str, changes: dict[str, JSON]) -> None:
        owner = self.owner_of(slug)
        written = dict(changes)
        if "name" in written:
            written["name"] = self.names[owner.user] + written["name"]
        if "nodes" in written:
            written["nodes"] = moved_by(written["nodes"], self.model[slug].members.get("nodes", []))
        exchange = write(self.tester, owner, slug, written)
        self.judge(workflows.update_accepted, exchange)
        if exchange.is_success:
            self.model.update(slug, written)
        self.look_at(slug, workflows.updated, "expected")

    @rule(slug=created, is_filed=st.booleans())
    @_step
    def move(self, slug: str, *, is_filed: bool) -> None:
        """Move a workflow to a folder that exists, or to the root."""
        owner = self.owner_of(slug)
        folder_id = self.folders.get(owner.user) if is_filed else None
        exchange = move(self.tester, owner, slug, folder_id)
        self.judge(workflows.move_accepted, exchange)
        if exchange.is_success:
            self.model.move(slug, folder_id)
        self.look_at(slug, workflows.moved, "expected")

    @rule(slug=created, member=st.sampled_from(["slug", "createdBy"]))
    @_step
    def forge(self, slug: str, member: str) -> None:
        """Send a member that only the server may set; it may be ignored or refused."""
        owner = self.owner_of(slug)
        forged = {
            "slug": f"{slug_from_name(self.names[owner.user])}-forged",
            "createdBy": next(iter(self.model.other_creators(owner.user)), "somebody-else"),
        }
        write(self.tester, owner, slug, {member: forged[member]})
        self.look_at(slug, workflows.updated, "expected")

    @rule(slug=created)
    @_step
    def misshape(self, slug: str) -> None:
        """Send an update with one invalid member; if it is refused, none of it may take effect."""
        changes = {"name": f"{self.names[self.owner_of(slug).user]} half", "description": "Half.", "nodes": 7}
        exchange = write(self.tester, self.owner_of(slug), slug, changes)
        if exchange.status is not None and 400 <= exchange.status < 500:
            self.look_at(slug, workflows.updated, "expected")
        else:
            self.is_over = True  # what the server then keeps is undocumented

    @rule(slug=created, does=st.sampled_from(["update", "move", "delete"]))
    @_step
    def intrude(self, slug: str, does: str) -> None:
        intruder = self.other_than(slug)
        if intruder is None:
            return
        self.judge(envelopes.write_foreign_workflow, self.tried(intruder, slug, does))
        self.look_at(slug, workflows.untouched, "before")

    @rule(slug=created, does=st.sampled_from(["update", "move", "delete"]))
    @_step
    def write_with_reading_key(self, slug: str, does: str) -> None:
        owner, reader = self.owner_of(slug), self.readers[self.owner_of(slug).user]
        if reader is owner:
            return
        before = read(self.tester, owner, slug).json_or_none()
        exchange = self.tried(reader, slug, does)
        self.judge(capabilities.denied, exchange)
        self.judge(capabilities.nothing_changed, read(self.tester, owner, slug), before=before)

    @rule(slug=created)
    @_step
    def run(self, slug: str) -> None:
        """The owner runs a workflow that costs nothing, and the other user tries to."""
        if not self.is_free_to_run(slug):
            return
        self.judge(workflows.creator_may_run, run_free(self.tester, self.owner_of(slug), slug))
        other = self.other_than(slug)
        if other and other.holds("workflow:run") and self.model[slug].is_public is not True:
            exchange = run_free(self.tester, other, slug)
            self.judge(envelopes.run_foreign_workflow, exchange)

    @rule(slug=consumes(created))
    @_step
    def delete(self, slug: str) -> None:
        owner = self.owner_of(slug)
        is_free_to_run = self.is_free_to_run(slug)
        exchange = self.test_data.delete(owner, slug)
        self.judge(workflows.creator_may, exchange)
        if not exchange.is_success:
            return
        self.model.delete(slug)
        if self.is_sought(workflows.gone):
            reader = self.readers[owner.user]
            asked = [
                to_workflow("getWorkflow", owner, slug),
                to_workflow("getWorkflowSchema", reader, slug),
                to_workflow("getPublicWorkflowSchema", None, slug),
            ]
            for exchange in self.tester.send_at_once(asked, is_repeated=True):
                self.judge(workflows.gone, exchange)
            if is_free_to_run:
                self.judge(workflows.gone, run_free(self.tester, owner, slug))
        if not self.is_over and self.is_sought(workflows.listed):
            self.judge_list(owner, self.tester.send(*self.list_of(owner)))

    def teardown(self) -> None:
        kept = [(key, slug) for user, key in self.users.items() for slug in self.model.kept_by(user)]
        self.tester.send_at_once([to_workflow("deleteWorkflow", key, slug) for key, slug in kept])

    def owner_of(self, slug: str) -> Persona:
        return self.users[self.model[slug].owner]

    def other_than(self, slug: str) -> Persona | None:
        return next((each for each in self.users.values() if each != self.owner_of(slug)), None)

    def is_free_to_run(self, slug: str) -> bool:
        """Return whether the owner may run the workflow, and nothing in it can cost credits."""
        if MAY_RUN.missing(self.tester.target) is not None or self.model[slug].members.get("nodes"):
            return False
        return self.owner_of(slug).holds("workflow:run")

    def tried(self, writer: Persona, slug: str, does: str) -> Exchange:
        """Send a write that has to be refused, and return the exchange."""
        if does == "update":
            return write(self.tester, writer, slug, {"description": "written by somebody else"})
        if does == "move":
            return move(self.tester, writer, slug, None)
        return self.tester.send(*to_workflow("deleteWorkflow", writer, slug))

    def look_at(self, slug: str, check: Check[...], parameter: str) -> None:
        """Compare a workflow, its schema and its owner's list with the model, as they are now."""
        owner, kept = self.owner_of(slug), self.model[slug]
        asked: dict[str, Sending] = {}
        if self.is_sought(check, workflows.slug_stays, workflows.creator):
            asked["document"] = to_workflow("getWorkflow", owner, slug)
        if self.is_sought(workflows.schema_describes, envelopes.private_public_schema, schemas.public_schema):
            asked["schema"] = (
                to_workflow("getWorkflowSchema", self.readers[owner.user], slug)
                if kept.is_public is None  # publicPlayground was not written
                else to_workflow("getPublicWorkflowSchema", None, slug)
            )
        if self.is_sought(workflows.listed):
            asked["list"] = self.list_of(owner)
        shown = dict(zip(asked, self.tester.send_at_once([*asked.values()], is_repeated=True), strict=True))
        if exchange := shown.get("document"):
            if check is workflows.updated:
                self.judge(workflows.slug_stays, exchange, slug=slug)
            self.judge(check, exchange, **{parameter: kept.members})
            self.model.note_creator(owner.user, exchange.members.get("createdBy"))
            own, others = self.model.creator(owner.user), self.model.other_creators(owner.user)
            self.judge(workflows.creator, exchange, own=own, others=others)
        if exchange := shown.get("schema"):
            self.judge_schema(slug, exchange)
        if exchange := shown.get("list"):
            self.judge_list(owner, exchange)

    def judge_schema(self, slug: str, exchange: Exchange) -> None:
        kept = self.model[slug]
        if kept.is_public is not None:
            self.judge(schemas.public_schema if kept.is_public else envelopes.private_public_schema, exchange)
        self.judge(workflows.schema_describes, exchange, expected=kept.members)

    def list_of(self, owner: Persona) -> Sending:
        return "listWorkflows", self.readers[owner.user], Call()

    def judge_list(self, owner: Persona, exchange: Exchange) -> None:
        self.judge(
            workflows.listed,
            exchange,
            own=self.model.kept_by(owner.user),
            foreign=self.model.kept_by_others(owner.user),
            deleted=self.model.deleted(),
            creator=self.model.creator(owner.user),
        )

    def is_sought(self, *checks: Check[...]) -> bool:
        return self.sought is None or any(check.id == self.sought for check in checks)

    def judge(self, check: Check[P], exchange: Exchange, *args: P.args, **kwargs: P.kwargs) -> None:
        """Judge an exchange, and end the sequence at a finding; a new finding raises, to be shortened."""
        if self.is_over:
            return
        failing = self.tester.judge(check, exchange, *args, **kwargs)
        self.is_over = bool(failing)
        if any(finding.fingerprint not in self.setup.known for finding in failing):
            self.setup.broken, self.setup.broken_check = tuple(self.steps), check.id
            raise AssertionError(f"{check.id} does not hold")
