"""Delete the workflows that a run created and that are left, and say why others stay."""

import sys
import threading
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

from knouds_harness.errors import HarnessError
from knouds_harness.exchange.created_workflows import CreatedWorkflows
from knouds_harness.exchange.creation_record import Creation
from knouds_harness.exchange.evidence import JSON, Exchange, objects_in
from knouds_harness.printable import printable
from knouds_harness.targets.resources import Persona

MOST_WAIT_S: Final = 300.0
_MOST_BUSY: Final = 6
_BUSY_WAIT_S: Final = 0.5
"""In total, for a target that throttles."""
_MOST_SHOWN: Final = 100
_MOST_FAILURES_IN_A_ROW: Final = 3
_WHAT: Final = {
    "deleteWorkflow": "deleting it",
    "getWorkflow": "reading it",
    "listWorkflows": "listing workflows",
}


@dataclass(frozen=True, kw_only=True)
class Removed:
    """The result of a removal; of the workflows that are ``left``, each has the reason in words."""

    deleted: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    was_interrupted: bool = False


@dataclass(kw_only=True)
class WorkflowRemoval:
    """Deletes by slug, then reads the lists of the accounts, and deletes what they still show.

    Each workflow is read before it is deleted, and stays if its name is not one that was sent. Threads call
    ``send`` with an operation, a persona and a slug or None; the rest is as of ``Client.remove_left``.
    """

    created: CreatedWorkflows
    personas: Collection[Persona]
    send: Callable[[str, Persona, str | None], Exchange]
    is_dry: bool = False
    ends_at_once: bool = False
    most_at_once: int = 1
    most_wait_s: float = MOST_WAIT_S
    wait: Callable[[float], object] | None = None
    _is_over: threading.Event = field(default_factory=threading.Event)
    _throttled: threading.Lock = field(default_factory=threading.Lock)
    _waits: int = 0
    _deleted: list[str] = field(default_factory=list)
    _left: dict[int, str] = field(default_factory=dict)
    _unlisted: dict[str | None, str] = field(default_factory=dict)
    _given_up: dict[tuple[str, str], str] = field(default_factory=dict)
    _failures_in_a_row: int = 0
    _said: set[str] = field(default_factory=set)

    def run(self) -> Removed:
        was_interrupted = is_interrupted = not self._is_through()
        if is_interrupted and self.most_wait_s and not self.ends_at_once:
            self.most_wait_s = 0
            is_interrupted = not self._is_through()
        left = list(self._why_left("interrupted" if is_interrupted else "it is still listed"))
        if not self.is_dry:
            self.created.record.finish(left=len(left))
        return Removed(
            deleted=tuple(dict.fromkeys(self._deleted)), left=tuple(left), was_interrupted=was_interrupted
        )

    def _is_through(self) -> bool:
        try:
            self._delete()
            if self._look():
                self._delete()
                if not self.is_dry:
                    self._look()
        except KeyboardInterrupt:
            return False
        return True

    def _delete(self) -> None:
        creations = [each for each in self.created.ours if each.number not in self._left]
        pool = ThreadPoolExecutor(self.most_at_once)
        try:
            self._deleted += filter(None, pool.map(self._delete_proven, creations))
        finally:  # Ctrl-C ends it after the requests in flight
            self._is_over.set()
            pool.shutdown(cancel_futures=True)
            self._is_over.clear()

    def _delete_proven(self, creation: Creation) -> str | None:
        """Delete a workflow that is proven to be ours; return its slug if that was done, or would be."""
        slug = creation.slug or ""
        if (self.is_dry and slug in self._deleted) or not self._is_to_delete(creation, slug):
            return None
        return slug if self.is_dry or self._is_deleted(creation, slug) else None

    def _is_to_delete(self, creation: Creation, slug: str) -> bool:
        """Read a workflow, and return whether it still shows a name that was sent."""
        readers = self._keys(creation.user, "workflow:read", first=creation.persona)
        why = "no key of its account may read it"
        if not self.created.proof.may_be_ours(slug):
            why, readers = "the profile names it, it was there before, or its slug is not valid", []
        elif not readers and not creation.is_read:  # its slug alone has proven that this run created it
            return True
        for persona in readers:
            exchange, why = self._sent("getWorkflow", persona, slug)
            if exchange and exchange.status == HTTPStatus.NOT_FOUND:
                self.created.note_not_there(creation)
                return False
            if exchange and exchange.status == HTTPStatus.OK:
                document = exchange.members or self._listed_now(persona, slug)
                if self.created.may_delete(slug, document):
                    return True
                why = f'it is not deleted, as it is now named "{_printed(document.get("name"))}"'
        self._left[creation.number] = why
        return False

    def _listed_now(self, persona: Persona, slug: str) -> dict[str, JSON]:
        """Return a workflow as the list shows it: the workflow itself may be nested too deeply to be read."""
        exchange, _ = self._sent("listWorkflows", persona, None)
        listed = exchange.json_or_none() if exchange and exchange.status == HTTPStatus.OK else None
        return next((each for each in objects_in(listed) if each.get("slug") == slug), {})

    def _is_deleted(self, creation: Creation, slug: str) -> bool:
        why = "no key of its account may delete it"
        for persona in self._keys(creation.user, "workflow:write", first=creation.persona):
            exchange, why = self._sent("deleteWorkflow", persona, slug)
            if exchange and exchange.is_success:
                self.created.note_deleted(slug)
                return True
            if exchange and exchange.status == HTTPStatus.NOT_FOUND:  # it may be listed with another slug
                self.created.note_not_there(creation)
                return False
        self._left[creation.number] = why
        return False

    def _look(self) -> bool:
        """Read the lists of the accounts; return whether they show something to delete."""
        users = {each.user for each in self.personas if each.is_able("workflow:write")}
        for user in users if None in self.created.record.accounts else self.created.record.accounts:
            summaries, why = None, "no key of its account may list workflows"
            for reader in self._keys(user, "workflow:read")[:1]:
                exchange, why = self._sent("listWorkflows", reader, None)
                if exchange and exchange.status == HTTPStatus.OK:
                    summaries, why = exchange.json_or_none(), f"{why}, without a list"
                if isinstance(summaries, list):
                    self.created.settle_by_list(str(user), reader.name, summaries)
            if not isinstance(summaries, list):
                self._unlisted[user] = why
        for creation in self.created.unsettled:
            if creation.user not in self._unlisted and (creation.user or not self._unlisted):
                self.created.note_not_there(creation)
        return any(each.number not in self._left for each in self.created.ours)

    def _sent(self, operation_id: str, persona: Persona, slug: str | None) -> tuple[Exchange | None, str]:
        """Send an operation; return the exchange, or None, and the reason in case it is not a success."""
        what = _WHAT[operation_id]
        place = operation_id, persona.user
        if why := self._given_up.get(place) or self._given_up.get(("", "")):
            return None, why
        try:
            exchange = self._sent_in_time(operation_id, persona, slug, what)
        except HarnessError as error:
            return None, str(error).replace("\n ", "")
        why = f"{what} was answered {exchange.status}" if exchange.status else f"{what}: {exchange.failure}"
        is_failure = not exchange.status or exchange.is_from_gateway
        self._failures_in_a_row = self._failures_in_a_row + 1 if is_failure else 0
        if exchange.status == HTTPStatus.TOO_MANY_REQUESTS:
            self._given_up[place] = why
        elif self._failures_in_a_row >= _MOST_FAILURES_IN_A_ROW:
            self._given_up["", ""] = why
        return exchange, why

    def _sent_in_time(self, operation_id: str, persona: Persona, slug: str | None, what: str) -> Exchange:
        """Send an operation; after a 429, send again when the target says, while there is time.

        After a gateway's 502, 503 or 504 too, some times: it may have no server just then. What is deleted is
        proven to be ours, so it does not matter whether the server had got the request.
        """
        busy = 0
        while True:
            waits = self._waits
            exchange = self.send(operation_id, persona, slug)
            if exchange.is_from_gateway and busy < _MOST_BUSY and not self._is_over.is_set():
                busy += 1
                self._pause(_BUSY_WAIT_S)
                continue
            wait_s = exchange.retry_after_s
            is_refused = exchange.status == HTTPStatus.TOO_MANY_REQUESTS
            if not is_refused or wait_s > self.most_wait_s or self._is_over.is_set():
                return exchange
            with self._throttled:
                if waits == self._waits:  # no other thread has waited meanwhile
                    self._waits += 1
                    self.most_wait_s -= wait_s
                    to_delete = len(self.created.ours)
                    words = f"{what} was answered 429: waiting {wait_s} s with {to_delete} to delete"
                    if words not in self._said:  # a target may ask to wait a second each time
                        self._said.add(words)
                        sys.stderr.write(f"{printable(words)} (Ctrl-C ends this)\n")
                        sys.stderr.flush()
                    self._pause(wait_s)

    def _pause(self, seconds: float) -> None:
        (self.wait or self._is_over.wait)(seconds)

    def _keys(self, user: str | None, capability: str, *, first: str | None = None) -> list[Persona]:
        """Return a key with this capability, ``first`` if possible; one per account if ``user`` is None."""
        able = [each for each in self.personas if each.is_able(capability) and user in (each.user, None)]
        able.sort(key=lambda each: each.name != first)
        return list({each.user: each for each in reversed(able)}.values())

    def _why_left(self, reason: str) -> Iterator[str]:
        for creation in self.created.ours:
            if not self.is_dry or creation.number in self._left:
                yield f"{_printed(creation.slug)}: {self._left.get(creation.number, reason)}"
        for creation in self.created.unsettled:
            why = self._unlisted.get(creation.user) or next(iter(self._unlisted.values()), reason)
            yield f'"{_printed(creation.sent.text)}" of account {creation.user or "unknown"}: {why}'
        for creation in self.created.unproven:
            told = _printed(creation.slug)
            named = f'named "{told}", which is not proven to be new' if told else "not named"
            sent = _printed(creation.sent.text)
            yield f'"{sent}" of account {creation.user or "unknown"}: created, {named}'


def _printed(text: JSON) -> str:
    """Return a slug or name from elsewhere as a printable line."""
    return printable(str(text or "")[:_MOST_SHOWN], keep="")
