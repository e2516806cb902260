"""Which workflows a run may change on its target: those that it created itself.

Each creation is written down before it is sent, and its name has a unique token. Only workflows that are
proven to be ours are ever changed, and what is left is deleted if it shows a name that was sent.
"""

import re
import uuid
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from knouds_harness.contract.effects import Pairs, effect_of
from knouds_harness.contract.operations import Action
from knouds_harness.errors import NotCreatedHere
from knouds_harness.exchange.creation_record import Creation, CreationRecord, CreationState, Ledger, SentName
from knouds_harness.exchange.evidence import (
    JSON,
    NO_SUCH_WORKFLOW,
    Exchange,
    members_of,
    objects_in,
    parsed_json,
)
from knouds_harness.targets.profile import Target

_SLUG: Final = re.compile(r"[a-z0-9-]+")


def fresh_token() -> str:
    """Return a new token, which marks a name as ours."""
    return uuid.uuid4().hex[:12]


def name_with(token: str, words: str) -> str:
    """Return a workflow's name with an unused slug; ``words`` are letters, digits and single spaces."""
    return f"Harness {token} {words}"


def fresh_name(words: str) -> str:
    return name_with(fresh_token(), words)


def marked(document: JSON) -> JSON:
    """Return a document with a token in its name, or in the description if the name is unusable."""
    named = with_marked_name(document)
    is_marked = named is not document or not isinstance(document, dict)
    return named if is_marked else {"description": fresh_name("to be refused"), **document}


def with_marked_name(document: JSON) -> JSON:
    """Return a document with a token in its name, if it has a usable one."""
    name = document.get("name") if isinstance(document, dict) else None
    return {**document, "name": fresh_name(name)} if isinstance(name, str) and name.strip() else document


@dataclass(kw_only=True)
class WorkflowProof:
    """Proves which workflows are ours.

    Attributes:
        target: Its profile names workflows that are never ours.
        listed: The slugs that each account had before anything was created; they are never ours either.
    """

    target: Target
    listed: dict[str, frozenset[str]] = field(default_factory=dict)

    def may_be_ours(self, slug: str) -> bool:
        """Return whether the workflow is new, and its path cannot lead to another one."""
        return _SLUG.fullmatch(slug) is not None and not self.is_older(slug)

    def cannot_exist(self, slug: str) -> bool:
        return not _SLUG.fullmatch(slug) and not self.is_older(slug)

    def is_older(self, slug: str) -> bool:
        return slug in self.target.workflows or any(slug in slugs for slugs in self.listed.values())

    def holds(self, slug: str, sent: SentName, user: str | None, shown: Callable[[], JSON]) -> bool:
        """Return whether a slug provably belongs to what was sent; else read what is ``shown`` there."""
        if not self.may_be_ours(slug):
            return False
        if sent.token and sent.token in slug.lower():
            return True
        return user in self.listed and bool(sent.member) and sent.is_shown_by(shown())

    def holds_for(self, slug: str, sent: SentName, user: str | None, document: JSON) -> bool:
        return sent.is_shown_by(document) and self.holds(slug, sent, user, lambda: document)


class CreatedWorkflows:
    """The workflows that one run creates on its target, and which of its requests may change them."""

    def __init__(
        self, *, target: Target, events: Iterable[Mapping[str, Any]] = (), ledger: Ledger | None = None
    ) -> None:
        """Begin with what the ``events`` of a ledger say; later ones are added to ``ledger``."""
        self.target = target
        self.record = CreationRecord.of_events(events, ledger)
        self.proof = WorkflowProof(target=target, listed=self.record.listed)
        self._shown: dict[str, dict[str, JSON]] = {}  # the profile's workflows, as they were read last
        self._renamed_to: defaultdict[str, list[JSON]] = defaultdict(list)

    # --- before a request

    def admit(
        self,
        method: str,
        path: str,
        body: JSON,
        *,
        persona: str | None,
        user: str | None,
        headers: Pairs = (),
        is_deliberate: bool = False,
    ) -> Creation | None:
        """Admit a request, unless it may change a workflow that is not ours; write down a creation.

        ``path`` includes the query. A name that no workflow can have is written to only deliberately.

        Returns:
            The creation, if the request creates a workflow; otherwise None.

        Raises:
            NotCreatedHere: The request would change or delete a workflow that is not proven to be ours.
            RunRecordError: The ledger cannot be written.
        """
        effect = effect_of(method, path, headers)
        slugs = effect.names(Action.WRITE)
        for slug in slugs:
            may_write = self.may_write(slug) if is_deliberate else self.is_ours(slug)
            if not may_write and not (method == "PUT" and self._changes_nothing(slug, body)):
                raise NotCreatedHere(f"{method} {path}: this run cannot prove that it created the workflow")
        if effect.may_be("createWorkflow"):
            return self.record.announce(SentName.of(body), self.target, persona=persona, user=user)
        for slug in slugs & self.record.ours if method == "PUT" else ():
            self._note_rename(slug, body, persona=persona, user=user)
        return None

    def _changes_nothing(self, slug: str, body: JSON) -> bool:
        """Return whether only values are sent that a workflow of the profile showed last."""
        shown = self._shown.get(slug)
        sent = parsed_json(body)[0] if isinstance(body, bytes) else body
        if shown is None or not isinstance(sent, dict):
            return False
        return all(name in shown and shown[name] == value for name, value in sent.items())

    def _note_rename(self, slug: str, body: JSON, *, persona: str | None, user: str | None) -> None:
        """Write down a name with a token, to find the workflow also if its slug changes."""
        sent = SentName.of(body)
        if sent.member == "name":
            renaming = self.record.announce(sent, self.target, persona=persona, user=user)
            self.record.settle(renaming, CreationState.NOT_CREATED, None)
        else:
            members = members_of(parsed_json(body)[0] if isinstance(body, bytes) else body)
            self._renamed_to[slug] += [members["name"]] if "name" in members else []

    def note_listed(self, user: str, summaries: JSON) -> None:
        """Record the list of an account before anything is created there; nothing in it is ever ours."""
        slugs = {_slug_in(each) for each in summaries} if isinstance(summaries, list) else set()
        self.record.note_listed(user, slugs - {""})

    def announce_all(self, token: str) -> None:
        """Write down once that workflows with this token at the start of their names will be created."""
        text = name_with(token, "").rstrip()
        sent = SentName(token=token, member="name", text=text, is_beginning=True)
        self.record.announce(sent, self.target, persona=None, user=None)

    def is_ours(self, slug: str) -> bool:
        """Return whether a workflow is proven to be ours, or never existed."""
        is_named = slug in self.target.workflows  # whatever a ledger says
        return (slug in self.record.ours and not is_named) or slug == NO_SUCH_WORKFLOW

    def may_write(self, slug: str) -> bool:
        """Return whether a workflow is proven to be ours, or the slug has a form that no workflow has."""
        if self.is_ours(slug):
            return True
        return self.proof.cannot_exist(slug) and all(each.slug != slug for each in self.unproven)

    def may_delete(self, slug: str, document: JSON) -> bool:
        """Return whether a workflow of ours still shows a name that was sent: a user may have renamed it."""
        members = members_of(document)
        is_it = slug in self.record.ours and members.get("slug", slug) == slug
        if not is_it or not self.proof.may_be_ours(slug):
            return False
        token = SentName.of(document).token
        sent = (each.sent for each in self.record if each.sent.token == token)
        return members.get("name") in self._renamed_to[slug] or any(
            each.is_shown_by(document) for each in sent
        )

    # --- after an answer

    def settle(
        self,
        creation: Creation,
        status: int | None,
        answered: JSON,
        *,
        read_back: Callable[[str], JSON] = lambda _: None,
    ) -> None:
        """Record the response to a creation, and whether its slug is proven to be ours.

        ``read_back`` is called if the slug alone proves nothing: it reads the workflow, or returns None.
        """
        if status is not None and 400 <= status < 500:
            self.record.settle(creation, CreationState.NOT_CREATED, creation.slug, status=status)
        elif status is not None and status < 300:
            slug = _slug_in(answered)
            is_ours = self.proof.holds(slug, creation.sent, creation.user, lambda: read_back(slug))
            self.record.settle(creation, CreationState.CREATED if is_ours else CreationState.DISPUTED, slug)

    def found(self, name: str, summaries: JSON) -> str | None:
        """Return the slug of the workflow created with this name, if a list shows exactly one with it."""
        creation = next((each for each in self.record if each.sent.text == name), None)
        if creation is None or not isinstance(summaries, list):
            return None
        shown = [each for each in summaries if creation.sent.is_shown_by(each)]
        slug = _slug_in(shown[0]) if len(shown) == 1 else ""
        if not slug or not self.proof.holds_for(slug, creation.sent, creation.user, shown[0]):
            return None
        self.record.settle(creation, CreationState.CREATED, slug)
        return slug

    def note(self, exchange: Exchange) -> None:
        """Record any other exchange: deletions, and the current values of the profile's workflows."""
        request = exchange.request
        if request.method == "DELETE" and exchange.is_success and request.effect.is_documented:
            for slug in request.effect.names(Action.WRITE):
                self.note_deleted(slug)
        if request.operation_id in ("listWorkflows", "getWorkflow") and exchange.status == 200:
            for each in objects_in(exchange.json_or_none()) or (exchange.members,):
                if (slug := _slug_in(each)) in self.target.workflows:
                    self._shown[slug] = each

    def note_deleted(self, slug: str) -> None:
        for creation in self.ours:
            if creation.slug == slug:
                self.record.settle(creation, CreationState.DELETED, slug)

    @property
    def unproven(self) -> list[Creation]:
        """Creations that succeeded, but whose response has no slug that is proven to be ours."""
        return self.record.in_state(CreationState.DISPUTED)

    # --- at the end

    @property
    def ours(self) -> list[Creation]:
        """The workflows that are left to delete, and whose slug is known."""
        return self.record.in_state(CreationState.CREATED)

    @property
    def unsettled(self) -> list[Creation]:
        """Creations with an unknown outcome: they may have created a workflow."""
        return [each for each in self.record.in_state(CreationState.SENDING) if each.sent.text]

    def settle_by_list(self, user: str, persona: str, summaries: Collection[JSON]) -> None:
        """Mark the workflows in an account's list that are ours, even those that were deleted before."""
        known = {each.slug for each in self.ours}
        creations = [each for each in self.record if each.user in (user, None)]
        proven: set[str] = set()
        for shown in summaries:
            slug = _slug_in(shown)
            of_it = [each for each in creations if self.proof.holds_for(slug, each.sent, user, shown)]
            proven.update(each.sent.token for each in of_it)
            for each in of_it:
                if each.is_disputed:
                    self.note_not_there(each)
            if slug and slug not in known and (of_it or slug in self.record.ours):
                self.record.add_found(slug, persona=persona, user=user)
        for each in self.unsettled:  # renamed by a user, or a list that lies
            token = each.sent.token
            slugs = (_slug_in(shown) for shown in summaries if token and token not in proven)
            renamed = next((slug for slug in slugs if token in slug and not self.proof.is_older(slug)), None)
            if renamed and each.user in (user, None):
                self.record.settle(each, CreationState.DISPUTED, renamed)

    def note_not_there(self, creation: Creation) -> None:
        """Record that nothing was created, because no list shows it."""
        self.record.settle(creation, CreationState.NOT_CREATED, None)


def _slug_in(summary: JSON) -> str:
    slug = members_of(summary).get("slug")
    return slug if isinstance(slug, str) else ""
