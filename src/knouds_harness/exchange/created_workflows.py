"""The workflows that a run creates: written down before they are asked for, and what proves that one is ours.

Each has a name with a token that nobody else uses. A workflow is ours if its slug has the token of the name
that was sent, or if reading it back shows exactly that name. Nothing else is ever changed or deleted.
"""

from __future__ import annotations

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
from knouds_harness.exchange.evidence import JSON, Exchange, parsed_json
from knouds_harness.exchange.workflow_names import NameMark, name_with
from knouds_harness.file_content import file_content
from knouds_harness.targets.personas import Persona
from knouds_harness.targets.profile import Target

LEDGER_FILE: Final = "created.jsonl"
WORKFLOWS_PATH: Final = "/api/workflows"
_ONE: Final = re.compile(rf"{WORKFLOWS_PATH}/([^/]+?)(?:/move)?/?")
_SLUG: Final = re.compile(r"[a-z0-9-]+")
_OPEN, _NONE, _OURS, _DISPUTED, _DELETED = "sending", "not created", "created", "disputed", "deleted"

_Send = Callable[[str, Persona, str | None], Exchange]


def workflow_path(slug: str) -> str:
    """The path of a workflow, whatever characters a server has put into its slug."""
    return f"{WORKFLOWS_PATH}/{quote(slug, safe='')}"


def written_slug(method: str, path: str) -> str | None:
    """The slug of the workflow that a request would change, move or delete; None for any other request."""
    found = None if method in ("GET", "HEAD", "OPTIONS") else _ONE.fullmatch(path)
    return unquote(found[1]) if found else None


@dataclass(kw_only=True)
class Creation:
    """One request to create a workflow.

    Attributes:
        number: In its run.
        persona: Whose key was sent.
        user: Whose account that is.
        mark: What shows that a workflow is the one that was sent.
        slug: That the target answered, or that a list shows beside the name.
        state: ``sending`` until its answer told more.
    """

    number: int
    persona: str | None
    user: str | None
    mark: NameMark = field(default_factory=NameMark)
    slug: str | None = None
    state: str = _OPEN


@dataclass(frozen=True, kw_only=True)
class Removed:
    """What became of workflows that were left.

    Attributes:
        deleted: Slugs.
        left: Each with the reason, in words.
    """

    deleted: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


@dataclass(kw_only=True)
class CreatedWorkflows:
    """What one run creates on its target; threads may share it.

    Attributes:
        target: Whose workflows stay as they are.
        write: Appends a line to the ledger before it returns.
        is_done: Nothing is left to delete, as far as anybody can tell.
    """

    target: Target
    write: Callable[[bytes], object] = lambda _: None
    is_done: bool = True
    header: dict[str, Any] = field(default_factory=dict)
    _creations: dict[int, Creation] = field(default_factory=dict)
    _ours: set[str] = field(default_factory=set)
    _shown: dict[str, dict[str, JSON]] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def read(cls, path: Path, target: Target | None = None, *, is_kept: bool = True) -> Self:
        """Read a ledger, and go on writing it.

        Args:
            path: Of the file.
            target: Where the run was.
            is_kept: Whether to write what becomes of its workflows.

        Raises:
            RunRecordError: It cannot be read; a last line that was cut short is left out.
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
        """Let a request through, as far as workflows go; write down a creation before it is sent.

        Args:
            method: Upper case.
            path: Under the base URL.
            body: As JSON, or as bytes where it is none.
            persona: Whose key is sent.
            user: Whose account that is.

        Returns:
            The creation that the request asks for, if it does.

        Raises:
            NotCreatedHere: It would change or delete a workflow that is not proven to be ours.
            RunRecordError: The ledger cannot be written.
        """
        if method == "POST" and path.rstrip("/") == WORKFLOWS_PATH:
            return self._announce(NameMark.of(body), persona=persona, user=user)
        slug = written_slug(method, path)
        if slug is not None and not self.may_write(slug) and not self._repeats(slug, method, body):
            raise NotCreatedHere(f"{method} {path}: this run cannot prove that it created the workflow")
        return None

    def announce_all(self, token: str) -> None:
        """Write down that workflows will be created whose names begin with this token."""
        text = name_with(token, "").rstrip()
        mark = NameMark(token=token, member="name", text=text, is_beginning=True)
        self._announce(mark, persona=None, user=None)

    def may_write(self, slug: str) -> bool:
        """Whether a workflow is proven to be ours, or nobody's: a slug of this form is no workflow's."""
        if slug in self._ours or slug == NO_SUCH_WORKFLOW:
            return True
        return not (_SLUG.fullmatch(slug) or slug in self.target.workflows or slug in self.disputed)

    def _announce(self, mark: NameMark, *, persona: str | None, user: str | None) -> Creation:
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
            self._creations[creation.number] = creation
            self.is_done = False
            event = {"event": _OPEN, "number": creation.number, "persona": persona, "user": user}
            self._write({**event, **asdict(mark)})
        return creation

    def _repeats(self, slug: str, method: str, body: JSON) -> bool:
        """Whether a write sends back what was read last, which changes nothing even where it is let in."""
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
        read_back: Callable[[str], JSON],
    ) -> None:
        """Take the answer to a creation: whose the slug is that it names.

        Args:
            creation: Which.
            status: Of the answer; None where none came.
            answered: Its body.
            read_back: Reads a workflow, where the slug alone proves nothing; None where that is refused.
        """
        slug = answered.get("slug") if isinstance(answered, dict) else None
        if status is not None and 400 <= status < 500:
            self._become(creation, _NONE, creation.slug, status=status)
        elif status is not None and status < 300 and isinstance(slug, str) and slug:
            is_ours = bool(creation.mark.token) and creation.mark.token in slug.lower()
            if not is_ours and creation.mark.member:
                is_ours = creation.mark.is_shown_by(read_back(slug))
            self._become(creation, _OURS if is_ours else _DISPUTED, slug)

    def found(self, name: str, summaries: JSON) -> str | None:
        """The slug of what was created by this name, if a list shows one workflow alone that has it."""
        creation = next((each for each in self._creations.values() if each.mark.text == name), None)
        if creation is None or not isinstance(summaries, list):
            return None
        shown = [each for each in summaries if creation.mark.is_shown_by(each)]
        slug = shown[0].get("slug") if len(shown) == 1 else None
        if not isinstance(slug, str):
            return None
        self._become(creation, _OURS, slug)
        return slug

    def note(self, exchange: Exchange) -> None:
        """Take any other answer: what was deleted, and what workflows are shown as."""
        request, status = exchange.request, exchange.status
        if request.method == "DELETE" and exchange.is_success:
            slug = written_slug(request.method, request.path)
            if slug is not None:
                self.note_deleted(slug)
        elif request.operation_id in ("listWorkflows", "getWorkflow") and status == 200:
            shown = exchange.json_or_none()
            for each in shown if isinstance(shown, list) else (shown,):
                if isinstance(each, dict) and each.get("slug") in self.target.workflows:
                    self._shown[each["slug"]] = each

    def note_deleted(self, slug: str) -> None:
        """A workflow is gone."""
        for creation in [each for each in self._creations.values() if each.slug == slug]:
            if creation.state == _OURS:
                self._become(creation, _DELETED, slug)
                del self._creations[creation.number]

    def is_disputed(self, creation: Creation) -> bool:
        """Whether the answer names a workflow that nothing proves to be ours."""
        return creation.state == _DISPUTED

    @property
    def disputed(self) -> list[str]:
        """Slugs that creates answered and that are not proven to be ours."""
        return [each.slug or "" for each in self._creations.values() if each.state == _DISPUTED]

    def _become(self, creation: Creation, state: str, slug: str | None, **more: object) -> None:
        with self._lock:
            creation.state, creation.slug = state, slug
            if state == _OURS and slug is not None:
                self._ours.add(slug)
            event = {"event": state, "number": creation.number, "slug": slug, **more}
            self._write({**event, "persona": creation.persona, "user": creation.user})

    # --- in the end

    def remove_left(self, personas: Collection[Persona], send: _Send, *, is_dry: bool = False) -> Removed:
        """Delete what is left of what was created: by slug, and by name where no answer gave one.

        Args:
            personas: Whose keys may be used.
            send: Sends an operation with a key to a slug, or to no slug.
            is_dry: Delete nothing, and say what would be deleted.
        """
        deleted, left = self._delete_ours(personas, send, is_dry=is_dry)
        if self._find_by_name(personas, send):
            more = self._delete_ours(personas, send, is_dry=is_dry)
            deleted, left = list(dict.fromkeys(deleted + more[0])), more[1]
        left += [
            f'"{each.mark.text}" of account {each.user or "unknown"}: no key can tell whether it is there'
            for each in self._creations.values()
            if each.state == _OPEN and each.mark.text
        ]
        if not is_dry:
            self.finish(left=len(left))
        return Removed(deleted=tuple(deleted), left=tuple(left))

    def finish(self, *, left: int) -> None:
        """Write down how much is left on the target."""
        self.is_done = not left
        if self.header:
            self._write({"event": "done", "left": left})

    def _delete_ours(
        self, personas: Collection[Persona], send: _Send, *, is_dry: bool
    ) -> tuple[list[str], list[str]]:
        """Delete what is known by its slug; the slugs deleted, and what is left and why."""
        deleted, left = [], []
        for creation in [each for each in self._creations.values() if each.state == _OURS]:
            slug, answer = creation.slug or "", "no key of its account may delete it"
            if is_dry:
                deleted.append(slug)
                continue
            for persona in _able(personas, creation, "workflow:write"):
                exchange = send("deleteWorkflow", persona, slug)
                if exchange.status is not None and (exchange.status < 300 or exchange.status == 404):
                    self.note_deleted(slug)
                    deleted += [slug] if exchange.status < 300 else []
                    break
                answer = f"deleting it was answered {exchange.status or exchange.failure}"
            else:
                left.append(f"{slug}: {answer}")
        return deleted, left

    def _find_by_name(self, personas: Collection[Persona], send: _Send) -> bool:
        """Look in lists for creations whose answers gave no slug, also refused ones."""
        open_or_none = [each for each in self._creations.values() if each.state in (_OPEN, _NONE)]
        unsettled = [each for each in open_or_none if each.mark.text]
        users = {each.user for each in unsettled}
        readers = {each.user: each for each in personas if each.is_able("workflow:read")}
        listed: set[str | None] = set()
        for user, reader in readers.items():
            if user not in users and None not in users:
                continue
            exchange = send("listWorkflows", reader, None)
            summaries = exchange.json_or_none() if exchange.status == 200 else None
            if isinstance(summaries, list):
                listed |= {user, None}
                sought = [each for each in unsettled if each.user in (user, None)]
                self._take_list(sought, summaries, reader)
        for creation in unsettled:
            if creation.state == _OPEN and creation.user in listed:
                self._become(creation, _NONE, None)
        return any(each.state == _OURS for each in self._creations.values())

    def _take_list(self, sought: Collection[Creation], summaries: Collection[JSON], reader: Persona) -> None:
        for each in summaries:
            slug = each.get("slug") if isinstance(each, dict) else None
            is_new = isinstance(slug, str) and slug not in self._ours
            if is_new and any(creation.mark.is_shown_by(each) for creation in sought):
                found = Creation(number=next(self._numbers), persona=reader.name, user=reader.user)
                self._creations[found.number] = found
                self._become(found, _OURS, slug)

    # --- the file

    def _write(self, event: Mapping[str, object]) -> None:
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        self.write(json.dumps({**event, "at": at}).encode() + b"\n")

    def _take(self, event: dict[str, Any]) -> None:
        """Take a line of a ledger."""
        what, number = event.get("event"), event.get("number")
        if what == "run":
            self.header = event
        elif what == "done":
            self.is_done = event.get("left") == 0
        elif isinstance(number, int):
            self.is_done = False
            creation = self._creations.setdefault(
                number, Creation(number=number, persona=event.get("persona"), user=event.get("user"))
            )
            if what == _OPEN:
                creation.mark = NameMark(
                    token=str(event.get("token")),
                    member=str(event.get("member")),
                    text=str(event.get("text")),
                    is_beginning=bool(event.get("is_beginning")),
                )
            else:
                creation.state, creation.slug = str(what), event.get("slug")
                if what == _OURS and creation.slug:
                    self._ours.add(creation.slug)
                if what == _DELETED:
                    del self._creations[number]
            self._numbers = itertools.count(number + 1)


def _able(personas: Collection[Persona], creation: Creation, capability: str) -> list[Persona]:
    """The keys that may do something with what was created, the one that created it first."""
    able = [each for each in personas if each.is_able(capability)]
    own = [each for each in able if creation.user in (each.user, None)]
    own.sort(key=lambda each: each.name != creation.persona)
    return list({each.user: each for each in reversed(own)}.values())
