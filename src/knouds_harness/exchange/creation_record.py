"""What a run noted of the workflows that it creates: each creation, what became of it, and their ledger.

The ledger is a file of signed lines of JSON, in which a run notes each workflow before it creates it. A run
folder may come from anywhere, so a line counts only if this user's secret signed it for this ledger. Each
line is signed by itself: one that a crash has cut off, or that somebody has taken out, takes no other with
it, and several processes may append. Without a line, never more is deleted: before each deletion, a workflow
has to show a name that a line says was sent.
"""

import hashlib
import hmac
import json
import os
import re
import secrets
import threading
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, Self

from knouds_harness.errors import RunRecordError, UsageError
from knouds_harness.exchange.evidence import JSON, parsed_json
from knouds_harness.exchange.user_state import process_start, user_secret
from knouds_harness.files import append_to_file, own_content
from knouds_harness.targets.profile import Target

LEDGER_FILE: Final = "created.jsonl"
LEDGER_FILES: Final = "created*.jsonl"
"""The ledgers in a run's folder: its own, and those of replays."""
_MOST_BYTES: Final = 16_000_000
_LINES: Final = re.compile(rb'\n|(?=\{"event": )')  # also after a line that a crash has cut off
_SIGNATURE: Final = b', "signature": "'
_SIGNED_FOR: Final = b"knouds-harness created workflows"


@dataclass(kw_only=True)
class Ledger:
    """Appends lines to a ledger; they are signed if the user's secret can be read.

    Attributes:
        write: Appends bytes, all at once, before it returns; None keeps no ledger.
        id: What the signatures hold for, in the ledger's first line; None leaves lines unsigned.
    """

    write: Callable[[bytes], object] | None = None
    id: str | None = field(default_factory=lambda: secrets.token_hex(16))

    def add(self, event: Mapping[str, object]) -> None:
        if self.write is None:
            return
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = json.dumps({**event, "at": at}).encode()[:-1]
        with suppress(UsageError):  # then it stays unsigned
            line += _signature(line, self.id, user_secret()) if self.id else b""
        self.write(line + b"}\n")


@dataclass(frozen=True, kw_only=True)
class LedgerContent:
    """The events in a ledger, in their order.

    Attributes:
        id: What its signed lines are signed for; None if it has none.
        events: Those that count: signed by this user, or in a ledger that the user trusts.
        unsigned: The others, which anybody may have written.
        problem: Why nothing counts as signed, if the user's secret cannot be read.
    """

    id: str | None
    events: tuple[dict[str, Any], ...]
    unsigned: tuple[dict[str, Any], ...]
    problem: str = ""


def append(path: Path, line: bytes) -> None:
    """Append to a ledger of this user, which is made if it is not there; a link is not followed."""
    try:
        append_to_file(path.parent, path.name, line, mode=0o600)
    except OSError as error:
        raise RunRecordError(f"{path}: cannot be written: {error.strerror}") from error


def read_ledger(path: Path, *, is_trusted: bool = False) -> LedgerContent:
    """Read a ledger, of which unsigned lines count only if it ``is_trusted``; anything else is left out.

    Raises:
        RunRecordError: It cannot be read, or is a link or another special file.
    """
    secret, problem = None, ""
    try:
        secret = user_secret()
    except UsageError as error:
        problem = str(error)
    ledger_id: str | None = None
    events: list[dict[str, Any]] = []
    unsigned: list[dict[str, Any]] = []
    for line in _LINES.split(_content(path)):
        event, _ = parsed_json(line)
        if not isinstance(event, dict) or not isinstance(event.get("event"), str):
            continue
        named = event.get("ledger") if event["event"] == "run" and ledger_id is None else ledger_id
        is_signed = secret is not None and isinstance(named, str) and _is_signed(line.strip(), named, secret)
        ledger_id = named if is_signed else ledger_id
        (events if is_signed or is_trusted else unsigned).append(event)
    return LedgerContent(id=ledger_id, events=tuple(events), unsigned=tuple(unsigned), problem=problem)


def _content(path: Path) -> bytes:
    try:
        content, _ = own_content(path, most_bytes=_MOST_BYTES)
    except OSError as error:
        raise RunRecordError(f"{path}: cannot be read: {error.strerror}") from error
    if len(content) > _MOST_BYTES:
        raise RunRecordError(f"{path}: is larger than {_MOST_BYTES:,} bytes, so no run wrote it")
    return content


def _signature(line: bytes, ledger_id: str, secret: bytes) -> bytes:
    """Return the last member of a line, which signs all before it."""
    signed = b"\n".join((_SIGNED_FOR, ledger_id.encode(), line))
    return _SIGNATURE + hmac.new(secret, signed, hashlib.sha256).hexdigest().encode() + b'"'


def _is_signed(line: bytes, ledger_id: str, secret: bytes) -> bool:
    content = line.rpartition(_SIGNATURE)[0]
    return hmac.compare_digest(line, content + _signature(content, ledger_id, secret) + b"}")


_TOKEN: Final = re.compile(r"\bHarness ([0-9a-f]{12})\b", re.IGNORECASE)
_MEMBERS: Final = ("name", "description")
_TEXT_OF: Final = {each: re.compile(rf'"{each}"\s*:\s*("(?:[^"\\]|\\.)*")', re.DOTALL) for each in _MEMBERS}


def as_stored(text: str) -> str:
    """Return a text without what a server may change: it may trim it, or compose characters."""
    return unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n")).strip()


@dataclass(frozen=True, kw_only=True)
class SentName:
    """Identifies the workflow that a creation made, by what was sent.

    Attributes:
        token: The token that was sent; if empty, nothing can prove that the workflow is ours.
        member: The member of the document that has the token.
        is_beginning: Whether ``text`` is the beginning of all names of a load run.
    """

    token: str = ""
    member: str = ""
    text: str = ""
    is_beginning: bool = False

    @classmethod
    def of(cls, body: JSON) -> Self:
        """Return the mark of a body, as JSON or as bytes: a server may read what is not JSON here."""
        for member, text in _texts_of(body):
            if found := _TOKEN.search(text):
                return cls(token=found[1].lower(), member=member, text=text if member else "")
        return cls()

    @classmethod
    def of_event(cls, event: Mapping[str, JSON]) -> Self:
        """Return what a line of a ledger holds; without a token in its text, it proves nothing."""
        member = event.get("member")
        sent = cls.of({member: event.get("text")} if member in _MEMBERS else None)
        return replace(sent, is_beginning=event.get("is_beginning") is True)

    def is_shown_by(self, document: JSON) -> bool:
        shown = document.get(self.member) if isinstance(document, dict) and self.member else None
        if not isinstance(shown, str) or not self.token:
            return False
        shown, sent = as_stored(shown), as_stored(self.text)
        return shown.startswith(sent) if self.is_beginning else shown == sent


def _texts_of(body: JSON) -> Iterator[tuple[str, str]]:
    """Yield the texts that may name a workflow, with their members; last the whole body, of no member."""
    raw = body.decode("utf-8", "replace") if isinstance(body, bytes) else ""
    sent = parsed_json(body)[0] if isinstance(body, bytes) else body
    if isinstance(sent, dict):
        yield from ((each, sent[each]) for each in _MEMBERS if isinstance(sent.get(each), str))
    else:
        for member, pattern in _TEXT_OF.items():
            values = (parsed_json(found[1].encode())[0] for found in pattern.finditer(raw))
            yield from ((member, value) for value in values if isinstance(value, str))
    yield "", raw


class CreationState(StrEnum):
    """What became of a request to create a workflow; the values stand in ledgers.

    Attributes:
        SENDING: The outcome is unknown.
        NOT_CREATED: It created nothing, or no list shows it.
        CREATED: Its workflow is proven to be ours.
        DISPUTED: It succeeded, and nothing proves that the workflow in the response is ours.
        DELETED: Its workflow was ours, and is deleted.
    """

    SENDING = "sending"
    NOT_CREATED = "not created"
    CREATED = "created"
    DISPUTED = "disputed"
    DELETED = "deleted"


@dataclass(kw_only=True)
class Creation:
    """One request to create a workflow.

    Attributes:
        number: Drawn at random, as several processes may write to one ledger.
        is_read: Whether it comes from the ledger of another process.
    """

    persona: str | None
    user: str | None
    sent: SentName = field(default_factory=SentName)
    number: int = field(default_factory=lambda: secrets.randbits(48))
    slug: str | None = None
    state: CreationState = CreationState.SENDING
    is_read: bool = False

    @property
    def is_disputed(self) -> bool:
        return self.state is CreationState.DISPUTED


@dataclass(kw_only=True)
class CreationRecord:
    """The creations of a run; thread-safe.

    Attributes:
        ledger: Has each event when a method returns.
        header: The first line of the ledger; empty until the first creation.
        accounts: The accounts with creations; None stands for any account of the profile.
        listed: The slugs that each account had before anything was created there.
        ours: The slugs of workflows that were proven to be ours, deleted ones included.
    """

    ledger: Ledger = field(default_factory=Ledger)
    is_done: bool = True
    header: Mapping[str, Any] = field(default_factory=dict)
    accounts: set[str | None] = field(default_factory=set)
    listed: dict[str, frozenset[str]] = field(default_factory=dict)
    ours: set[str] = field(default_factory=set)
    _by_number: dict[int, Creation] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    # Read now: a process of load opens no file later.
    _started: str | None = field(default_factory=lambda: process_start(os.getpid()))

    @classmethod
    def of_events(cls, events: Iterable[Mapping[str, Any]], ledger: Ledger | None = None) -> Self:
        record = cls(ledger=ledger or Ledger())
        for event in events:
            record._take(event)
        return record

    def __iter__(self) -> Iterator[Creation]:
        return iter([*self._by_number.values()])

    def in_state(self, state: CreationState) -> list[Creation]:
        return [each for each in self if each.state is state]

    def announce(self, sent: SentName, target: Target, *, persona: str | None, user: str | None) -> Creation:
        """Write down a creation before it is sent."""
        with self._lock:
            creation = Creation(persona=persona, user=user, sent=sent)
            if not self.header:
                self._write_header(target)
            self._by_number[creation.number] = creation
            self.accounts.add(user)
            self.is_done = False
            event = {"event": creation.state, "number": creation.number, "persona": persona, "user": user}
            self.ledger.add({**event, **asdict(sent)})
        return creation

    def add_found(self, slug: str, *, persona: str, user: str) -> None:
        found = Creation(persona=persona, user=user)
        self._by_number[found.number] = found
        self.settle(found, CreationState.CREATED, slug)

    def settle(self, creation: Creation, state: CreationState, slug: str | None, **more: object) -> None:
        with self._lock:
            self._set(creation, state, slug)
            event = {"event": state, "number": creation.number, "slug": slug, **more}
            self.ledger.add({**event, "persona": creation.persona, "user": creation.user})

    def note_listed(self, user: str, slugs: Iterable[str]) -> None:
        with self._lock:
            self.listed[user] = frozenset(slugs) - self.ours
            if self.header:
                self._write_listed(user)

    def finish(self, *, left: int) -> None:
        self.is_done = not left
        if self.header:
            self.ledger.add({"event": "done", "left": left})

    def _write_header(self, target: Target) -> None:
        self.header = {
            "event": "run",
            "ledger": self.ledger.id,
            "target": target.name,
            "base_url": target.base_url,
            "pid": os.getpid(),
            "started": self._started,
        }
        self.ledger.add(self.header)
        for each in self.listed:
            self._write_listed(each)

    def _write_listed(self, user: str) -> None:
        self.ledger.add({"event": "listed", "user": user, "slugs": sorted(self.listed[user])})

    def _take(self, event: Mapping[str, Any]) -> None:
        """Add an event that was read; it may be anything, as users may trust a ledger that anybody wrote."""
        what, number = event.get("event"), event.get("number")
        if what == "run":
            self.header = self.header or event
        elif what == "listed" and isinstance(slugs := event.get("slugs"), list):
            self.listed[str(event.get("user"))] = frozenset(map(str, slugs))
        elif what == "done":
            self.is_done = event.get("left") == 0
        elif isinstance(what, str) and what in {*CreationState} and isinstance(number, int):
            self.is_done = False
            user, persona = (_text_or_none(event.get(each)) for each in ("user", "persona"))
            self.accounts.add(user)
            read = Creation(number=number, persona=persona, user=user, is_read=True)
            creation = self._by_number.setdefault(number, read)
            if what == CreationState.SENDING:
                creation.sent = SentName.of_event(event)
            else:
                self._set(creation, CreationState(what), _text_or_none(event.get("slug")))

    def _set(self, creation: Creation, state: CreationState, slug: str | None) -> None:
        creation.state, creation.slug = state, slug
        if state is CreationState.CREATED and slug is not None:
            self.ours.add(slug)


def _text_or_none(value: object) -> str | None:
    return value if isinstance(value, str) else None
