"""The HTTP client that sends every request of ``check`` and ``record``."""

import string
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Self
from urllib.parse import quote

import httpx

from knouds_harness.body_bounds import whole_number
from knouds_harness.contract.document import shipped_document
from knouds_harness.contract.operations import WINDOW_S, Action
from knouds_harness.errors import NotSent, UnknownName, UsageError
from knouds_harness.exchange.created_workflows import CreatedWorkflows
from knouds_harness.exchange.evidence import JSON, NO_SUCH_EXECUTION, Call, Exchange, Request
from knouds_harness.exchange.pricing import (
    charged_account,
    charged_credits,
    highest_price_credits,
    most_credits,
    was_run,
)
from knouds_harness.exchange.redaction import Redactor
from knouds_harness.exchange.sender import Sender
from knouds_harness.exchange.usage import ChargesShown, ShownCharges, await_usage
from knouds_harness.exchange.workflow_removal import MOST_WAIT_S, Removed, WorkflowRemoval
from knouds_harness.targets.guards import Guard
from knouds_harness.targets.profile import Target
from knouds_harness.targets.resources import Persona
from knouds_harness.targets.secrets import Secret

_IN_PATHS = string.punctuation.replace("#", "")
_LONGEST_PATH = 60_000  # the limit of httpx
_RUN_END_WAIT_S = 3.0
_MOST_REMOVED_AT_ONCE = 16


class Client:
    """Sends requests to one target within its limits: guards, budget, and workflows that may be changed.

    No request is ever sent twice (docs/decisions/no-resend.md). It is thread-safe.
    """

    def __init__(
        self,
        *,
        target: Target,
        guard: Guard | None = None,
        created: CreatedWorkflows | None = None,
        on_exchange: Callable[[Exchange], None] = lambda _: None,
        transport: httpx.BaseTransport | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        while_waiting: Callable[[], AbstractContextManager[None]] = nullcontext,
        reads_usage: bool = False,
    ) -> None:
        """Set up the client, without connecting.

        Args:
            target: Where to send, with the keys and limits.
            guard: Enforces the target's limits; by default a new one, which refuses production.
            created: Knows which workflows may be changed; by default those that this client creates.
            on_exchange: Called with each exchange, one at a time, before ``send`` returns it.
            transport: Sends requests; HTTP/1.1 with keep-alive by default.
            now: Returns the time as aware UTC.
            while_waiting: Returns a context that is open while a request waits for its turn and its response.
            reads_usage: Read usage before a run if it is due, because responses may not report all charges.

        Raises:
            GuardStop: The target is production, and the profile or the command line does not agree.
        """
        self.target = target
        self.guard = guard or Guard(target)
        self.created = created or CreatedWorkflows(target=target)
        self.redactor = Redactor.for_target(target)
        self._on_exchange = on_exchange
        self._sender = Sender(target, redactor=self.redactor, transport=transport, now=now)
        self.while_waiting = while_waiting
        self._reads_usage = reads_usage
        self._lock = threading.Lock()
        self._listing = threading.Lock()
        self._reading_usage = threading.Lock()
        self._executions = {NO_SUCH_EXECUTION}
        self._asked_for_list = {*self.created.proof.listed}
        self._personas = dict(target.personas)
        self._used_up: dict[tuple[str, str | None], datetime] = {}
        self.charges_shown = ChargesShown(self.send, settle_s=target.limits.settle_s)
        """The charges in usage of the accounts that have run something."""
        self.estimates: dict[str, float] = {}
        """The server's cost estimates seen so far, by slug of the workflow."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._sender.close()

    def add_persona(self, persona: Persona) -> None:
        """Add a persona that the profile does not have, such as one with a minted key."""
        self._personas[persona.name] = persona
        self.redactor.add(persona.secret)

    @property
    def personas(self) -> Mapping[str, Persona]:
        """The personas of the profile and the added ones, by name."""
        return self._personas

    def persona(self, name: str) -> Persona:
        """Return a persona of the profile, or an added one; without one, UnknownName names the nearest."""
        if name not in self._personas:
            raise UnknownName("persona", name, self._personas)
        return self._personas[name]

    def send(self, request: Request, *, key: Secret | None = None) -> Exchange:
        """Send one request, once, and wait for the whole response.

        Args:
            request: What to send, and as which persona.
            key: Sent instead of the persona's key, such as an altered key.

        Returns:
            The redacted exchange. It has ``failure`` if the network or HTTP failed, or if the response is too
            long or takes longer than the profile's ``timeout_s``. ``cost_credits`` of its request is the most
            that a run could cost, even if the server has to refuse it.

        Raises:
            CreditsShort: The request may cost more credits than are left.
            GuardStop: The request is not allowed, or earlier runs exceeded the limit of credits.
            NotSent: The request may change a workflow that is not in ``created``, cancel an execution that
                this client did not start, run something without a known price, or be taken for something else
                than it is; or its path is too long.
            UnknownName: There is no such persona.
        """
        if key is None and request.persona is not None:
            key = self.persona(request.persona).secret
        request = self._with_encoded_path(request)
        what = f"{request.method} {request.path}"
        effect = request.effect
        self.guard.check(effect, is_deliberate=request.is_deliberate, host=self._sender.host, what=what)
        cancelled = effect.names(Action.CANCEL)
        if cancelled and not (request.is_deliberate or cancelled & self._executions):
            raise NotSent(f"{what}: this run did not start the execution")
        is_run, is_to_run = Action.RUN in effect.actions, request.cost_credits > 0
        known = self._most_credits(request) if is_run else 0.0
        if known:
            request = replace(request, cost_credits=max(request.cost_credits, known))
        sender = self._personas.get(request.persona or "")
        if effect.may_be("createWorkflow"):
            self.list_existing()
        creation = self.created.admit(
            request.method,
            request.path_and_query,
            request.body,
            persona=request.persona,
            user=sender.user if sender else None,
            headers=request.headers,
            is_deliberate=request.is_deliberate,
        )
        if is_run and self._reads_usage:
            self._read_usage_before(request, sender)
        with self.while_waiting():
            reserved = self.guard.admit(is_run=is_run, cost_credits=request.cost_credits, what=what)
            try:
                with self.guard.slots:
                    exchange = self._sender.send(request, key)
            except BaseException:  # it may have been sent
                self.guard.budget.settle(reserved, None, what=what)
                raise
            if is_run:
                self._executions.add(str(exchange.members.get("executionId")))
                self._settle(reserved, exchange, sender, is_to_run=is_to_run, is_priced=known is not None)
        with self._lock:
            self._on_exchange(exchange)
        if creation is None:
            self.created.note(exchange)
        else:
            self.created.settle(
                creation,
                exchange.status,
                exchange.json_or_none(),
                read_back=lambda slug: self._as_read(slug, user=creation.user),
            )
        return exchange

    def _most_credits(self, run: Request) -> float | None:
        return most_credits(
            run.effect,
            self.target,
            self.estimates,
            stated_credits=run.cost_credits,
            is_deliberate=run.is_deliberate,
            is_ours=self.created.is_ours,
        )

    def _with_encoded_path(self, request: Request) -> Request:
        """Percent-encode the path: a slug from a server may hold any characters."""
        if not request.path.startswith("/"):
            raise UsageError(
                f"{request.method} {self.redactor.safe(request.path)}: a path must begin with a slash"
            )
        path = quote(request.path, safe=_IN_PATHS, errors="replace")
        if len(path) > _LONGEST_PATH:  # with a slug that a server invented
            raise NotSent(
                f"{request.method} {path[:60]}…: an address of {len(path):,} characters is too long"
            )
        return request if path == request.path else replace(request, path=path)

    def _read_usage_before(self, run: Request, sender: Persona | None) -> None:
        """Read usage and count it, if responses alone no longer prove that the run is affordable."""
        if Action.RUN in self.target.limits.allow:
            with self._holding(self._reading_usage):
                self.watch_charges([sender.user] if sender else ())
                if self.guard.budget.is_usage_due(run.cost_credits):
                    shown = self.charges_shown.read()
                    self.guard.budget.note_usage(shown.credits, unread=shown.unread)

    def list_existing(self) -> None:
        """List the workflows of each account once, before anything is created; they are never changed.

        Without a key that may read, only the token in its slug proves that a workflow is ours.
        """
        readers = self._readers()
        if readers.keys() <= self._asked_for_list:
            return
        with self._holding(self._listing):
            for user in readers.keys() - self._asked_for_list:
                exchange = self._send_to_workflow("listWorkflows", readers[user], None)
                summaries = exchange.json_or_none()
                if exchange.status == HTTPStatus.OK and isinstance(summaries, list):
                    self.created.note_listed(user, summaries)
                self._asked_for_list.add(user)

    @contextmanager
    def _holding(self, lock: threading.Lock) -> Iterator[None]:
        """Hold a lock while the context is open, in which requests may be sent."""
        if not lock.acquire(blocking=False):
            with self.while_waiting():
                lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def _readers(self) -> dict[str, Persona]:
        """Return a key of each account that may read workflows."""
        if Action.READ not in self.target.limits.allow:
            return {}
        return {each.user: each for each in self._personas.values() if each.is_able("workflow:read")}

    def _settle(
        self, reserved: int, exchange: Exchange, sender: Persona | None, *, is_to_run: bool, is_priced: bool
    ) -> None:
        """Settle the reservation of a run with the charge that its response reports."""
        budget, request = self.guard.budget, exchange.request
        is_throttled = self._is_throttled(exchange, sender)
        charged = charged_credits(exchange, sender, is_to_run=is_to_run and not is_throttled)
        what = f"{request.method} {request.path} ({exchange.id})"
        doubted_credits = highest_price_credits(self.target, self.estimates)
        account = charged_account(exchange, sender, self.target)
        budget.settle(reserved, charged, account=account, what=what, doubted_credits=doubted_credits)
        if sender is not None:
            self.charges_shown.note_run(sender.user)
        is_unpriced = not is_priced and not request.cost_credits and charged is None
        if is_unpriced and was_run(exchange.json_or_none()):
            budget.stop(f"{what}: was run, but its cost is not known")

    def _is_throttled(self, exchange: Exchange, sender: Persona | None) -> bool:
        """Whether a run is throttled that has to be: an answer had left no more than may be in flight."""
        window = (sender.user if sender else "", exchange.request.operation_id)
        used_up_at = self._used_up.get(window)
        if exchange.status == HTTPStatus.TOO_MANY_REQUESTS:
            return used_up_at is not None and exchange.started_at - used_up_at <= timedelta(seconds=WINDOW_S)
        remaining = whole_number(exchange.header("X-RateLimit-Remaining"))
        if remaining is not None and remaining < self.target.limits.concurrency:
            self._used_up[window] = exchange.ended_at
        elif remaining is not None and (used_up_at is None or exchange.started_at > used_up_at):
            self._used_up.pop(window, None)  # answers of one window may come in another order
        return False

    def watch_charges(self, users: Iterable[str]) -> None:
        """Watch the usage of these accounts: charges from now on count, even if no response reports them."""
        if Action.READ in self.target.limits.allow:
            for user in users:
                self.charges_shown.begin(user, self._personas.values())

    def note_charges(self, *, wait: Callable[[float], object] = time.sleep) -> ShownCharges:
        """At the end, count charges that usage alone shows; wait a little for those of runs in progress."""
        shown = await_usage(
            lambda: self.charges_shown.read(is_last=True),
            lambda shown: shown.is_ended,
            wait=wait,
            patience_s=_RUN_END_WAIT_S,
        )
        if shown.credits is not None:
            self.guard.budget.note_usage(shown.credits, unread=shown.unread, settled_rows=shown.settled_rows)
        return shown

    def _as_read(self, slug: str, *, user: str | None) -> JSON:
        """Read a workflow with a key of this account; None if no key may."""
        reader = self._readers().get(user or "")
        if reader is None:
            return None
        exchange = self._send_to_workflow("getWorkflow", reader, slug)
        return exchange.json_or_none() if exchange.status == HTTPStatus.OK else None

    def remove_left(
        self,
        *,
        is_dry: bool = False,
        ends_at_once: bool = False,
        most_wait_s: float = MOST_WAIT_S,
        wait: Callable[[float], object] | None = None,
    ) -> Removed:
        """Delete the created workflows that are left, and say why others stay.

        Args:
            is_dry: Delete nothing, and return what would be deleted.
            ends_at_once: Ctrl-C ends the removal. Otherwise the first ends its waits; if there are none any
                more, it ends the removal.
            most_wait_s: The most seconds to wait in total if the target throttles.
            wait: Waits for a number of seconds, in place of a wait that Ctrl-C ends.
        """
        return WorkflowRemoval(
            created=self.created,
            personas=self._personas.values(),
            send=self._send_to_workflow,
            is_dry=is_dry,
            ends_at_once=ends_at_once,
            most_at_once=min(self.target.limits.concurrency, _MOST_REMOVED_AT_ONCE),
            most_wait_s=most_wait_s,
            wait=wait,
        ).run()

    def _send_to_workflow(self, operation_id: str, persona: Persona, slug: str | None) -> Exchange:
        """Send ``listWorkflows``, ``getWorkflow`` or ``deleteWorkflow``."""
        call = Call(path_values={} if slug is None else {"slug": slug})
        operation = shipped_document().operation_by_id[operation_id]
        return self.send(call.request(operation, persona=persona.name))

    def send_to_control(self, request: Request, *, kept: Callable[[bytes], bytes]) -> Exchange:
        """Send a request to the target's control plane; the limits do not apply.

        ``kept`` turns the response body into the one that is kept as evidence.
        """
        exchange = self._sender.send(request, None, kept=kept)
        with self._lock:
            self._on_exchange(exchange)
        return exchange
