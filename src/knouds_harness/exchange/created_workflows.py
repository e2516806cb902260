"""The ledger of workflows that a run creates, and the proof that a workflow is ours.

Each creation is written down before it is sent, and its name has a unique token. A workflow is ours if its
slug has the token of the name that was sent, or if it is shown with exactly that name and its account's list
did not have it before the run created anything. A workflow that the profile names, or that was listed before,
is never ours. Only our own workflows are ever changed or deleted.
"""

import itertools
import json
import os
import re
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import quote, unquote

from knouds_harness.errors import NotCreatedHere, RunRecordError
from knouds_harness.exchange.effectless_requests import NO_SUCH_WORKFLOW
from knouds_harness.exchange.evidence import JSON, Exchange, members_of, objects_in, parsed_json
from knouds_harness.exchange.workflow_names import SentName, name_with
from knouds_harness.file_content import file_content
from knouds_harness.targets.profile import Target

LEDGER_FILE: Final = "created.jsonl"
WORKFLOWS_PATH: Final = "/api/workflows"
_ONE: Final = re.compile(rf"{WORKFLOWS_PATH}/([^/]+?)(?:/move)?/?")
_SLUG: Final = re.compile(r"[a-z0-9-]+")
_OPEN, _NONE, _OURS, _DISPUTED, _DELETED = "sending", "not created", "created", "disputed", "deleted"


def is_creation(method: str, path: str) -> bool:
    return method == "POST" and path.rstrip("/") == WORKFLOWS_PATH


def workflow_path(slug: str) -> str:
    """Return the path of a workflow; the slug may hold any characters."""
    return f"{WORKFLOWS_PATH}/{quote(slug, safe='')}"


def written_slug(method: str, path: str) -> str | None:
    """Return the slug of the workflow that a request would change, move or delete; None for others."""
    found = None if method in ("GET", "HEAD", "OPTIONS") else _ONE.fullmatch(path)
    return unquote(found[1]) if found else None


@dataclass(kw_only=True)
class Creation:
    """One request to create a workflow.

    Attributes:
        mark: Identifies the workflow by the token and name that were sent.
        slug: The slug from the response, or from a list that shows the name.
        state: ``sending`` until the outcome is known.
    """

    number: int
    persona: str | None
    user: str | None
    mark: SentName = field(default_factory=SentName)
    slug: str | None = None
    state: str = _OPEN


@dataclass(kw_only=True)
class CreatedWorkflows:
    """The workflows that one run creates on its target; thread-safe.

    Attributes:
        write: Appends a line to the ledger before it returns.
        is_done: Whether nothing is known to be left to delete.
        listed: The slugs that each account had before anything was created.
        accounts: The accounts with creations; None stands for any account of the profile.
    """

    target: Target
    write: Callable[[bytes], object] = lambda _: None
    is_done: bool = True
    header: dict[str, Any] = field(default_factory=dict)
    listed: dict[str, frozenset[str]] = field(default_factory=dict)
    accounts: set[str | None] = field(default_factory=set)
    _creations: dict[int, Creation] = field(default_factory=dict)
    _ours: set[str] = field(default_factory=set)
    _shown: dict[str, dict[str, JSON]] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def read(cls, path: Path, target: Target | None = None, *, is_kept: bool = True) -> Self:
        """Read a ledger, and append to it from now on.

        Raises:
            RunRecordError: It cannot be read; an incomplete last line is skipped, without an error.
        """

        def write(line: bytes) -> None:
            if is_kept:
                with path.open("ab", buffering=0) as file:
                    file.write(line)

        created = cls(target=target or Target(name="", base_url=""), write=write)
        try:
            text = file_content(path).decode(errors="replace")
        except OSError as error:
            raise RunRecordError(f"{path}: cannot be read: {error.strerror}") from error
        if text and not text.endswith("\n"):
            write(b"\n")
        for line in text.splitlines():
            event, _ = parsed_json(line.encode())
            if isinstance(event, dict):
                created._take(event)
        return created

    # --- before a request

    def admit(
        self, method: str, path: str, body: JSON, *, persona: str | None, user: str | None
    ) -> Creation | None:
        """Admit a request, unless it would change a workflow that is not ours; write down a creation.

        Returns:
            The creation, if the request creates a workflow; otherwise None.

        Raises:
            NotCreatedHere: The request would change or delete a workflow that is not proven to be ours.
            RunRecordError: The ledger cannot be written.
        """
        mark = SentName.of(body)
        if is_creation(method, path):
            return self._announce(mark, persona=persona, user=user)
        slug = written_slug(method, path)
        if slug is not None and not self.may_write(slug) and not self._repeats(slug, method, body):
            raise NotCreatedHere(f"{method} {path}: this run cannot prove that it created the workflow")
        if slug in self._ours and mark.member == "name":  # finds it if a rename changes its slug
            self._set_state(self._announce(mark, persona=persona, user=user), _NONE, None)
        return None

    def note_listed(self, user: str, summaries: JSON) -> None:
        """Record the list of an account before anything is created there; nothing in it is ever ours."""
        slugs = {_slug_in(each) for each in summaries} if isinstance(summaries, list) else set()
        with self._lock:
            self.listed[user] = frozenset(slugs - self._ours - {""})
            if self.header:
                self._write_listed(user)

    def announce_all(self, token: str) -> None:
        """Write down once that workflows with this token at the start of their names will be created."""
        text = name_with(token, "").rstrip()
        mark = SentName(token=token, member="name", text=text, is_beginning=True)
        self._announce(mark, persona=None, user=None)

    def may_write(self, slug: str) -> bool:
        """Return whether a workflow is proven to be ours, or the slug has a form that no workflow has."""
        if slug in self._ours or slug == NO_SUCH_WORKFLOW:
            return True
        return not (_SLUG.fullmatch(slug) or self._is_protected(slug) or slug in self.disputed)

    def _is_protected(self, slug: str) -> bool:
        """Return whether the workflow existed before the run."""
        return slug in self.target.workflows or any(slug in slugs for slugs in self.listed.values())

    def _is_proven(self, slug: str, mark: SentName, user: str | None, shown: Callable[[], JSON]) -> bool:
        """Return whether a slug provably belongs to the workflow that was sent."""
        if self._is_protected(slug) or not _SLUG.fullmatch(slug):  # the path could address another workflow
            return False
        if mark.token and mark.token in slug.lower():
            return True
        return user in self.listed and bool(mark.member) and mark.is_shown_by(shown())

    def _is_shown(self, slug: str, mark: SentName, user: str | None, summary: JSON) -> bool:
        """Return whether an entry of a list shows the workflow that was sent, and proves that it is ours."""
        return mark.is_shown_by(summary) and self._is_proven(slug, mark, user, lambda: summary)

    def _announce(self, mark: SentName, *, persona: str | None, user: str | None) -> Creation:
        with self._lock:
            creation = Creation(number=next(self._numbers), persona=persona, user=user, mark=mark)
            if not self.header:
                self.header = {
                    "event": "run",
                    "target": self.target.name,
                    "profile": str(self.target.source.absolute()),
                    "base_url": self.target.base_url,
                    "pid": os.getpid(),
                }
                self._write(self.header)
                for each in self.listed:
                    self._write_listed(each)
            self._creations[creation.number] = creation
            self.accounts.add(user)
            self.is_done = False
            event = {"event": _OPEN, "number": creation.number, "persona": persona, "user": user}
            self._write({**event, **asdict(mark)})
        return creation

    def _repeats(self, slug: str, method: str, body: JSON) -> bool:
        """Return whether a PUT only sends values that were read last, so that it changes nothing."""
        shown = self._shown.get(slug)
        sent = parsed_json(body)[0] if isinstance(body, bytes) else body
        return (
            method == "PUT"
            and shown is not None
            and isinstance(sent, dict)
            and all(name in shown and shown[name] == value for name, value in sent.items())
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
        slug = members_of(answered).get("slug")
        if status is not None and 400 <= status < 500:
            self._set_state(creation, _NONE, creation.slug, status=status)
        elif status is not None and status < 300:
            slug = slug if isinstance(slug, str) else ""
            is_ours = self._is_proven(slug, creation.mark, creation.user, lambda: read_back(slug))
            self._set_state(creation, _OURS if is_ours else _DISPUTED, slug)

    def found(self, name: str, summaries: JSON) -> str | None:
        """Return the slug of the workflow created with this name, if a list shows exactly one with it."""
        creation = next((each for each in self._creations.values() if each.mark.text == name), None)
        if creation is None or not isinstance(summaries, list):
            return None
        shown = [each for each in summaries if creation.mark.is_shown_by(each)]
        slug = _slug_in(shown[0]) if len(shown) == 1 else ""
        if not slug or not self._is_shown(slug, creation.mark, creation.user, shown[0]):
            return None
        self._set_state(creation, _OURS, slug)
        return slug

    def note(self, exchange: Exchange) -> None:
        """Record any other exchange: deletions, and the current values of the profile's workflows."""
        request, status = exchange.request, exchange.status
        if request.method == "DELETE" and exchange.is_success:
            slug = written_slug(request.method, request.path)
            if slug is not None:
                self.note_deleted(slug)
        elif request.operation_id in ("listWorkflows", "getWorkflow") and status == 200:
            for each in objects_in(exchange.json_or_none()) or (exchange.members,):
                if _slug_in(each) in self.target.workflows:
                    self._shown[each["slug"]] = each

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
            self._write({**event, "persona": creation.persona, "user": creation.user})

    # --- at the end

    @property
    def ours(self) -> list[Creation]:
        """The workflows that are left to delete, and whose slug is known."""
        return [each for each in self._creations.values() if each.state == _OURS]

    @property
    def unsettled(self) -> list[Creation]:
        """Creations with an unknown outcome: they may have created a workflow."""
        return [each for each in self._creations.values() if each.state == _OPEN and each.mark.text]

    def settle_by_list(self, user: str, persona: str, summaries: Collection[JSON]) -> None:
        """Mark the workflows in an account's list that are ours, even those that were deleted before."""
        known = {each.slug for each in self.ours}
        creations = [each for each in self._creations.values() if each.user in (user, None)]
        proven: set[str] = set()
        for shown in summaries:
            slug = _slug_in(shown)
            of_it = [each for each in creations if self._is_shown(slug, each.mark, user, shown)]
            proven.update(each.mark.token for each in of_it)
            for each in of_it:
                if each.state == _DISPUTED:
                    self._set_state(each, _NONE, None)
            if slug and slug not in known and (of_it or slug in self._ours):
                found = Creation(number=next(self._numbers), persona=persona, user=user)
                self._creations[found.number] = found
                self._set_state(found, _OURS, slug)
        for each in self.unsettled:  # renamed by a user, or a list that lies
            token = each.mark.token
            slugs = (_slug_in(shown) for shown in summaries if token and token not in proven)
            renamed = next((slug for slug in slugs if token in slug and not self._is_protected(slug)), None)
            if renamed and each.user in (user, None):
                self._set_state(each, _DISPUTED, renamed)

    def note_not_there(self, creation: Creation) -> None:
        """Record that nothing was created, because no list shows it."""
        self._set_state(creation, _NONE, None)

    def finish(self, *, left: int) -> None:
        """Write down how many workflows are left on the target."""
        self.is_done = not left
        if self.header:
            self._write({"event": "done", "left": left})

    # --- the file

    def _write(self, event: Mapping[str, object]) -> None:
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        self.write(json.dumps({**event, "at": at}).encode() + b"\n")

    def _write_listed(self, user: str) -> None:
        self._write({"event": "listed", "user": user, "slugs": sorted(self.listed[user])})

    def _take(self, event: dict[str, Any]) -> None:
        what, number = event.get("event"), event.get("number")
        if what == "run":
            self.header = event
        elif what == "listed":
            self.listed[str(event.get("user"))] = frozenset(map(str, event.get("slugs") or ()))
        elif what == "done":
            self.is_done = event.get("left") == 0
        elif isinstance(number, int):
            self.is_done = False
            self.accounts.add(event.get("user"))
            creation = self._creations.setdefault(
                number, Creation(number=number, persona=event.get("persona"), user=event.get("user"))
            )
            if what == _OPEN:
                creation.mark = SentName(
                    token=str(event.get("token")),
                    member=str(event.get("member")),
                    text=str(event.get("text")),
                    is_beginning=bool(event.get("is_beginning")),
                )
            else:
                creation.state, creation.slug = str(what), event.get("slug")
                if what == _OURS and creation.slug:
                    self._ours.add(creation.slug)
            self._numbers = itertools.count(number + 1)


def _slug_in(summary: JSON) -> str:
    slug = members_of(summary).get("slug")
    return slug if isinstance(slug, str) else ""
