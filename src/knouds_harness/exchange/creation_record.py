"""What a run noted of the workflows that it creates: each creation, what became of it, and their ledger."""

import os
import secrets
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from knouds_harness.exchange.workflow_ledger import Ledger
from knouds_harness.exchange.workflow_proof import SentName
from knouds_harness.targets.profile import Target


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


@dataclass(kw_only=True)
class CreationRecord:
    """The creations of a run; thread-safe.

    Attributes:
        ledger: Has each event when a method returns.
        header: The first line of the ledger, which says what ran where; empty until the first creation.
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
        """Return what the events of a ledger say; later events are added to ``ledger``, if it is given."""
        record = cls(ledger=ledger or Ledger())
        for event in events:
            record._take(event)
        return record

    def __iter__(self) -> Iterator[Creation]:
        return iter([*self._by_number.values()])

    def in_state(self, state: CreationState) -> list[Creation]:
        return [each for each in self if each.state is state]

    def announce(self, sent: SentName, target: Target, *, persona: str | None, user: str | None) -> Creation:
        """Write down a creation before it is sent.

        Raises:
            RunRecordError: The ledger cannot be written.
        """
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
        """Add a workflow of ours that only a list showed."""
        found = Creation(persona=persona, user=user)
        self._by_number[found.number] = found
        self.settle(found, CreationState.CREATED, slug)

    def settle(self, creation: Creation, state: CreationState, slug: str | None, **more: object) -> None:
        """Write down what became of a creation."""
        with self._lock:
            creation.state, creation.slug = state, slug
            if state is CreationState.CREATED and slug is not None:
                self.ours.add(slug)
            event = {"event": state, "number": creation.number, "slug": slug, **more}
            self.ledger.add({**event, "persona": creation.persona, "user": creation.user})

    def note_listed(self, user: str, slugs: Iterable[str]) -> None:
        """Write down what an account had before anything was created there."""
        with self._lock:
            self.listed[user] = frozenset(slugs) - self.ours
            if self.header:
                self._write_listed(user)

    def finish(self, *, left: int) -> None:
        """Write down how many workflows are left on the target."""
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
            creation = self._by_number.setdefault(
                number, Creation(number=number, persona=persona, user=user, is_read=True)
            )
            if what == CreationState.SENDING:
                creation.sent = SentName.of_event(event)
            else:
                creation.state, creation.slug = CreationState(what), _text_or_none(event.get("slug"))
                if creation.state is CreationState.CREATED and creation.slug is not None:
                    self.ours.add(creation.slug)


def _text_or_none(value: object) -> str | None:
    return value if isinstance(value, str) else None


def process_start(pid: int) -> str | None:
    """Return when a process was started, by the boot and its clock tick; None if it has ended.

    Also None where there is no ``/proc``, as on macOS.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return None
    is_ended = fields[0] in (b"Z", b"X")  # listed until its parent reads its exit status
    return None if is_ended else f"{boot} {fields[19].decode()}"


def is_running(pid: object, start: object) -> bool:
    """Return whether a process still runs; if its start is not known, any process with its id will do."""
    if not isinstance(pid, int) or not 0 < pid < 2**31:
        return False
    if start is not None:
        return process_start(pid) == start
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's process
        return True
    return True
