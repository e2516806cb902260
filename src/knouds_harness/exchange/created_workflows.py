"""The workflows that a run creates on its target, and what became of each.

Each creation is written down before it is sent, and its name has a unique token. Only workflows that are
proven to be ours (workflow_proof.py) are ever changed, and what is left is deleted if it shows a
name that was sent.
"""

import os
import secrets
import threading
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Self

from knouds_harness.contract.effects import Pairs, effect_of
from knouds_harness.contract.operations import Action
from knouds_harness.errors import NotCreatedHere
from knouds_harness.exchange.effectless_requests import NO_SUCH_WORKFLOW
from knouds_harness.exchange.evidence import JSON, Exchange, members_of, parsed_json
from knouds_harness.exchange.process_start import process_start
from knouds_harness.exchange.workflow_ledger import Ledger
from knouds_harness.exchange.workflow_names import name_with
from knouds_harness.exchange.workflow_proof import SentName, WorkflowProof
from knouds_harness.exchange.workflow_requests import ShownDocuments
from knouds_harness.targets.profile import Target

_OPEN, _NONE, _OURS, _DISPUTED, _DELETED = "sending", "not created", "created", "disputed", "deleted"
_STATES: Final = (_OPEN, _NONE, _OURS, _DISPUTED, _DELETED)


@dataclass(kw_only=True)
class Creation:
    """One request to create a workflow.

    Attributes:
        number: Drawn at random, as several processes may write to one ledger.
        sent: Identifies the workflow by the token and name that were sent.
        slug: The slug from the response, or from a list that shows the name.
        state: ``sending`` until the outcome is known.
        is_read: Whether it comes from the ledger of another process.
    """

    persona: str | None
    user: str | None
    sent: SentName = field(default_factory=SentName)
    number: int = field(default_factory=lambda: secrets.randbits(48))
    slug: str | None = None
    state: str = _OPEN
    is_read: bool = False


@dataclass(kw_only=True)
class CreatedWorkflows:
    """The workflows that one run creates on its target; thread-safe.

    Attributes:
        ledger: Has each event when a method returns.
        is_done: Whether nothing is known to be left to delete.
        header: The first line of the ledger, which says what ran where; empty until the first creation.
        accounts: The accounts with creations; None stands for any account of the profile.
        proof: Knows what was there before the run.
    """

    target: Target
    ledger: Ledger = field(default_factory=Ledger)
    is_done: bool = True
    header: Mapping[str, Any] = field(default_factory=dict)
    accounts: set[str | None] = field(default_factory=set)
    proof: WorkflowProof = field(init=False)
    _documents: ShownDocuments = field(init=False)
    _creations: dict[int, Creation] = field(default_factory=dict)
    _ours: set[str] = field(default_factory=set)
    _renamed_to: defaultdict[str, list[JSON]] = field(default_factory=lambda: defaultdict(list))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.proof = WorkflowProof(target=self.target)
        self._documents = ShownDocuments(target=self.target)

    @classmethod
    def of_events(
        cls, events: Iterable[Mapping[str, Any]], target: Target | None = None, ledger: Ledger | None = None
    ) -> Self:
        """Return what the events of a ledger say; later events are added to ``ledger``, if it is given."""
        created = cls(target=target or Target(name="", base_url=""), ledger=ledger or Ledger())
        for event in events:
            created._take(event)
        return created

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
            if not may_write and not self._documents.is_repeated_by(method, slug, body):
                raise NotCreatedHere(f"{method} {path}: this run cannot prove that it created the workflow")
        if effect.may_be("createWorkflow"):
            return self._announce(SentName.of(body), persona=persona, user=user)
        for slug in slugs & self._ours if method == "PUT" else ():
            self._note_rename(slug, body, persona=persona, user=user)
        return None

    def _note_rename(self, slug: str, body: JSON, *, persona: str | None, user: str | None) -> None:
        """Write down a name with a token, to find the workflow also if its slug changes."""
        sent = SentName.of(body)
        if sent.member == "name":
            self._set_state(self._announce(sent, persona=persona, user=user), _NONE, None)
        else:
            members = members_of(parsed_json(body)[0] if isinstance(body, bytes) else body)
            self._renamed_to[slug] += [members["name"]] if "name" in members else []

    def note_listed(self, user: str, summaries: JSON) -> None:
        """Record the list of an account before anything is created there; nothing in it is ever ours."""
        slugs = {_slug_in(each) for each in summaries} if isinstance(summaries, list) else set()
        with self._lock:
            self.proof.listed[user] = frozenset(slugs - self._ours - {""})
            if self.header:
                self._write_listed(user)

    def announce_all(self, token: str) -> None:
        """Write down once that workflows with this token at the start of their names will be created."""
        text = name_with(token, "").rstrip()
        sent = SentName(token=token, member="name", text=text, is_beginning=True)
        self._announce(sent, persona=None, user=None)

    def is_ours(self, slug: str) -> bool:
        """Return whether a workflow is proven to be ours, or never existed."""
        is_named = slug in self.target.workflows  # whatever a ledger says
        return (slug in self._ours and not is_named) or slug == NO_SUCH_WORKFLOW

    def may_write(self, slug: str) -> bool:
        """Return whether a workflow is proven to be ours, or the slug has a form that no workflow has."""
        if self.is_ours(slug):
            return True
        return self.proof.cannot_exist(slug) and slug not in self.disputed

    def may_delete(self, slug: str, document: JSON) -> bool:
        """Return whether a workflow of ours still shows a name that was sent: a user may have renamed it.

        Args:
            slug: Its slug.
            document: The workflow as it was read just now, or its entry in a list.
        """
        members = members_of(document)
        if slug not in self._ours or not self.proof.may_be_ours(slug) or members.get("slug", slug) != slug:
            return False
        token = SentName.of(document).token
        sent = (each.sent for each in [*self._creations.values()] if each.sent.token == token)
        return any(each.is_shown_by(document) for each in sent) or any(
            name == members.get("name") for name in self._renamed_to[slug]
        )

    def _announce(self, sent: SentName, *, persona: str | None, user: str | None) -> Creation:
        with self._lock:
            creation = Creation(persona=persona, user=user, sent=sent)
            if not self.header:
                self._write_header()
            self._creations[creation.number] = creation
            self.accounts.add(user)
            self.is_done = False
            event = {"event": _OPEN, "number": creation.number, "persona": persona, "user": user}
            self.ledger.add({**event, **asdict(sent)})
        return creation

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
            self._set_state(creation, _NONE, creation.slug, status=status)
        elif status is not None and status < 300:
            slug = _slug_in(answered)
            is_ours = self.proof.holds(slug, creation.sent, creation.user, lambda: read_back(slug))
            self._set_state(creation, _OURS if is_ours else _DISPUTED, slug)

    def found(self, name: str, summaries: JSON) -> str | None:
        """Return the slug of the workflow created with this name, if a list shows exactly one with it."""
        creation = next((each for each in self._creations.values() if each.sent.text == name), None)
        if creation is None or not isinstance(summaries, list):
            return None
        shown = [each for each in summaries if creation.sent.is_shown_by(each)]
        slug = _slug_in(shown[0]) if len(shown) == 1 else ""
        if not slug or not self.proof.holds_for(slug, creation.sent, creation.user, shown[0]):
            return None
        self._set_state(creation, _OURS, slug)
        return slug

    def note(self, exchange: Exchange) -> None:
        """Record any other exchange: deletions, and the current values of the profile's workflows."""
        request = exchange.request
        if request.method == "DELETE" and exchange.is_success and request.effect.is_documented:
            for slug in request.effect.names(Action.WRITE):
                self.note_deleted(slug)
        self._documents.note(exchange)

    def note_deleted(self, slug: str) -> None:
        for creation in [each for each in self._creations.values() if each.slug == slug]:
            if creation.state == _OURS:
                self._set_state(creation, _DELETED, slug)

    def is_disputed(self, creation: Creation) -> bool:
        """Return whether the response named a workflow that is not proven to be ours."""
        return creation.state == _DISPUTED

    @property
    def disputed(self) -> list[str]:
        """Slugs from responses to creations that are not proven to be ours."""
        return [each.slug for each in self.unproven if each.slug]

    @property
    def unproven(self) -> list[Creation]:
        """Creations that succeeded, but whose response has no slug that is proven to be ours."""
        return [each for each in self._creations.values() if each.state == _DISPUTED]

    def _set_state(self, creation: Creation, state: str, slug: str | None, **more: object) -> None:
        with self._lock:
            creation.state, creation.slug = state, slug
            if state == _OURS and slug is not None:
                self._ours.add(slug)
            event = {"event": state, "number": creation.number, "slug": slug, **more}
            self.ledger.add({**event, "persona": creation.persona, "user": creation.user})

    # --- at the end

    @property
    def ours(self) -> list[Creation]:
        """The workflows that are left to delete, and whose slug is known."""
        return [each for each in self._creations.values() if each.state == _OURS]

    @property
    def unsettled(self) -> list[Creation]:
        """Creations with an unknown outcome: they may have created a workflow."""
        return [each for each in self._creations.values() if each.state == _OPEN and each.sent.text]

    def settle_by_list(self, user: str, persona: str, summaries: Collection[JSON]) -> None:
        """Mark the workflows in an account's list that are ours, even those that were deleted before."""
        known = {each.slug for each in self.ours}
        creations = [each for each in self._creations.values() if each.user in (user, None)]
        proven: set[str] = set()
        for shown in summaries:
            slug = _slug_in(shown)
            of_it = [each for each in creations if self.proof.holds_for(slug, each.sent, user, shown)]
            proven.update(each.sent.token for each in of_it)
            for each in of_it:
                if each.state == _DISPUTED:
                    self._set_state(each, _NONE, None)
            if slug and slug not in known and (of_it or slug in self._ours):
                found = Creation(persona=persona, user=user)
                self._creations[found.number] = found
                self._set_state(found, _OURS, slug)
        for each in self.unsettled:  # renamed by a user, or a list that lies
            token = each.sent.token
            slugs = (_slug_in(shown) for shown in summaries if token and token not in proven)
            renamed = next((slug for slug in slugs if token in slug and not self.proof.is_older(slug)), None)
            if renamed and each.user in (user, None):
                self._set_state(each, _DISPUTED, renamed)

    def note_not_there(self, creation: Creation) -> None:
        """Record that nothing was created, because no list shows it."""
        self._set_state(creation, _NONE, None)

    def finish(self, *, left: int) -> None:
        """Write down how many workflows are left on the target."""
        self.is_done = not left
        if self.header:
            self.ledger.add({"event": "done", "left": left})

    # --- the ledger

    def _write_header(self) -> None:
        self.header = {
            "event": "run",
            "ledger": self.ledger.id,
            "target": self.target.name,
            "base_url": self.target.base_url,
            "pid": os.getpid(),
            "started": process_start(os.getpid()),
        }
        self.ledger.add(self.header)
        for each in self.proof.listed:
            self._write_listed(each)

    def _write_listed(self, user: str) -> None:
        self.ledger.add({"event": "listed", "user": user, "slugs": sorted(self.proof.listed[user])})

    def _take(self, event: Mapping[str, Any]) -> None:
        """Add an event that was read; it may be anything, as users may trust a ledger that anybody wrote."""
        what, number = event.get("event"), event.get("number")
        if what == "run":
            self.header = self.header or event
        elif what == "listed" and isinstance(slugs := event.get("slugs"), list):
            self.proof.listed[str(event.get("user"))] = frozenset(map(str, slugs))
        elif what == "done":
            self.is_done = event.get("left") == 0
        elif what in _STATES and isinstance(number, int):
            self.is_done = False
            user, persona = (_text_or_none(event.get(each)) for each in ("user", "persona"))
            self.accounts.add(user)
            creation = self._creations.setdefault(
                number, Creation(number=number, persona=persona, user=user, is_read=True)
            )
            if what == _OPEN:
                creation.sent = SentName.of_event(event)
            else:
                creation.state, creation.slug = what, _text_or_none(event.get("slug"))
                if what == _OURS and creation.slug is not None:
                    self._ours.add(creation.slug)


def _slug_in(summary: JSON) -> str:
    slug = members_of(summary).get("slug")
    return slug if isinstance(slug, str) else ""


def _text_or_none(value: object) -> str | None:
    return value if isinstance(value, str) else None
