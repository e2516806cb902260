"""The tester: conformance tests send requests with it, and it has the responses judged."""

import sys
import threading
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from http import HTTPStatus
from typing import Any, ParamSpec, TypeVar

from knouds_harness import errors
from knouds_harness.body_bounds import KEPT_BYTES
from knouds_harness.contract.document import Document
from knouds_harness.contract.operations import WINDOW_S, Action
from knouds_harness.exchange.client import Client
from knouds_harness.exchange.evidence import Call, Exchange, Request
from knouds_harness.exchange.har import KeptBodies
from knouds_harness.exchange.minting import KeyMint
from knouds_harness.exchange.pricing import Pricing, resource_named
from knouds_harness.exchange.profile_check import ProfileCheck
from knouds_harness.judging.claim import Check, Claim, RuleCheck
from knouds_harness.judging.context import Case, Context
from knouds_harness.judging.engine import claims_of
from knouds_harness.judging.rule.allowed import Allowed
from knouds_harness.judging.rule.resources import KnownResources
from knouds_harness.runs.findings import Finding
from knouds_harness.suite.concurrent_tests import Reservations, RunLock
from knouds_harness.suite.preceding_requests import RunsSoFar, exchanges_in, is_comparing
from knouds_harness.suite.recorder import FindingRecorder, Received
from knouds_harness.suite.request_failures import FailureLimit, RateLimitRetry, place_of
from knouds_harness.suite.untested import Untested, more_credits, untested_for
from knouds_harness.targets.needs import CONTROL, Need, may
from knouds_harness.targets.profile import Target
from knouds_harness.targets.resources import Model, Persona, Webhook, Workflow
from knouds_harness.targets.secrets import Secret

P = ParamSpec("P")
T = TypeVar("T")

Sending = tuple[str, Persona | None, Call]
"""An operation, the persona whose key is sent (None sends no key), and path, query and body."""
_OF_WINDOWS = ("rate.", "tier.rate-limit")
"""How facts begin that are broken by the runs of somebody else on the account."""
_MOST_AT_ONCE = 64  # each takes a thread, and a profile may allow thousands, for load


class Tester:
    """Sends requests as personas of one target, and has every response judged."""

    __test__ = False  # its name looks like that of a test class

    def __init__(
        self,
        *,
        client: Client,
        document: Document,
        recorder: FindingRecorder,
        wait: Callable[[float], None],
        lock: RunLock | None = None,
        checked: ProfileCheck | None = None,
    ) -> None:
        """Send nothing yet, but judge responses in ``checked`` that are too long to keep.

        ``wait`` is called when the target throttles and its clock cannot be moved. ``checked`` is what was
        learned before the first test; its ``target`` is the one to test.
        """
        self.target: Target = checked.target if checked else client.target
        self._contradictions = checked.contradictions if checked else ()
        self._whoami_by_key = dict(checked.whoami_by_key) if checked else {}
        learnt = checked.exchanges if checked else ()
        self._unjudged = {each.id: each for each in learnt}
        self.document = document
        self.client = client
        self.recorder = recorder
        self.wait = wait
        self._lock_held = lock.held if lock else nullcontext
        self.idle = lock.idle if lock else nullcontext
        self.mint = KeyMint(client) if self.target.control else None
        self.rate_limit_retry = RateLimitRetry(pass_time=self.mint.advance_clock if self.mint else wait)
        self.pricing = Pricing(
            client,
            send=lambda asked: self.rate_limit_retry.retry(client.send(asked), lambda: client.send(asked)),
        )
        self.halted_by: errors.HarnessError | None = None
        self.sent = 0
        self.reservations = Reservations(self.idle)
        self.runs = RunsSoFar(user_of=lambda persona: client.persona(persona).user)
        self.resources = KnownResources(
            self.target.workflows, self.target.models, user_of=lambda persona: client.persona(persona).user
        )
        self._kept_bodies = KeptBodies()
        self._failures = FailureLimit(client)
        for exchange in learnt:
            self.runs.note(self._kept_bodies.kept(exchange))
            if len(exchange.body) > KEPT_BYTES:  # too long to keep: tests that need it ask again
                self._judge_first_contact(exchange)
                self._whoami_by_key.pop(exchange.request.persona or "", None)

    def need(self, need: Need[T]) -> T:
        """Return what in the profile meets the need; if nothing does, the running test is untested."""
        if (found := need.met_by(self.target)) is None:
            raise self.untested_for(need)
        return found

    def untested_for(self, need: Need[Any]) -> Untested:
        """Return the exception that skips a test with an unmet need."""
        return untested_for(need, profile=self.client.target, contradictions=self._contradictions)

    def whoami(self, persona: Persona) -> Exchange:
        """Return whoami's response to a key; taken from before the first test, if it was asked then."""
        known = self._whoami_by_key.get(persona.name)
        if known is None or known.status != HTTPStatus.OK:
            return self.send("getWhoami", persona)
        self._judge_first_contact(known)
        return known

    def judge_first_contacts(self) -> None:
        """Judge the responses from before the first test that no test has used."""
        for exchange in list(self._unjudged.values()):
            self._judge_first_contact(exchange)

    def _judge_first_contact(self, exchange: Exchange) -> None:
        if self._unjudged.pop(exchange.id, None) and not exchange.is_lost:
            self._judge(exchange)

    def send(
        self,
        operation_id: str,
        persona: Persona | None,
        call: Call | None = None,
        *,
        key: Secret | None = None,
        is_throttling_expected: bool = False,
    ) -> Exchange:
        """Send one request and judge the response by all checks that apply to it.

        Args:
            operation_id: The operation.
            persona: The persona whose key is sent, unless ``key`` is given; None sends no key.
            call: Path, query and body.
            key: Sent instead of the persona's own key.
            is_throttling_expected: Return a 429 instead of waiting for the next window.

        Raises:
            GuardStop: The profile's limits forbid the request.
            TargetUnreachable: The target no longer responds.
        """
        return self._exchange(
            self._request(operation_id, persona, call or Call()),
            key=key,
            is_throttling_expected=is_throttling_expected,
        )

    def send_together(self, operation_id: str, persona: Persona, call: Call, *, times: int) -> list[Exchange]:
        """Send one request several times at once, as ``send_at_once`` does."""
        return self.send_at_once([(operation_id, persona, call)] * times)

    def send_at_once(self, sendings: Sequence[Sending], *, is_repeated: bool = False) -> list[Exchange]:
        """Send requests at once, started in this order, and judge each response as ``send`` does.

        ``limits.concurrency`` says how many are in flight at a time. A 429 is returned like any response;
        with ``is_repeated``, what is throttled or lost is sent again, as by ``send``.

        Raises:
            GuardStop: The profile's limits forbid one of the requests, or that many.
        """
        self._require_going_on()
        requests = [self._request(*sending) for sending in sendings]
        if not requests:
            return []
        owner = threading.get_ident()

        def send(request: Request) -> Exchange:
            with self._lock_held(), self._unless_reserved(request, owner=owner):
                return self._sent(request)

        with (
            self.client.while_waiting(),
            ThreadPoolExecutor(min(len(requests), self.most_at_once)) as senders,
        ):
            sent = [senders.submit(send, request) for request in requests]
        exchanges = [each.result() for each in sent if each.exception() is None]
        for exchange in exchanges:
            self._note(exchange)
        for exchange in exchanges:
            if not exchange.is_lost:
                self._judge(exchange)
        for each in sent:
            each.result()  # raises why a request was not sent
        if not is_repeated:
            return exchanges
        return [
            self.send(*sending) if came.is_lost or came.status == 429 else came
            for sending, came in zip(sendings, exchanges, strict=True)
        ]

    @property
    def most_at_once(self) -> int:
        """How many requests may be in flight at a time."""
        return min(self.target.limits.concurrency, _MOST_AT_ONCE)

    def _request(self, operation_id: str, persona: Persona | None, call: Call) -> Request:
        operation = self.document.operation_by_id.get(operation_id)
        if operation is None:
            raise errors.UnknownName("operation", operation_id, self.document.operation_by_id)
        request = call.request(operation, persona=persona.name if persona else None)
        self._need_allowed(request)
        if resource := resource_named(request.path, self.target):
            self.pricing.worst_case(resource)  # the client needs the price, and learns it by this
        return request

    def _need_allowed(self, request: Request) -> None:
        for action in request.effect.actions:
            self.need(may(action))

    def send_elsewhere(
        self, method: str, path: str, persona: Persona | None, *, body: bytes | None = None
    ) -> Exchange:
        """Send a request to no documented operation."""
        name = persona.name if persona else None
        request = Request(method=method, path=path, body=body, persona=name, is_deliberate=True)
        return self.send_request(request)

    def send_request(self, request: Request) -> Exchange:
        """Send a request as it is, if the profile allows its actions, and judge the response."""
        self._need_allowed(request)
        return self._exchange(request)

    def send_unjudged(self, request: Request) -> Exchange:
        """Send a request that a router or proxy may answer, so that nothing is promised."""
        self._need_allowed(request)
        exchange = self._sent(request)
        self._note(exchange)
        return exchange

    def judge(self, check: Check[P], exchange: Exchange, *args: P.args, **kwargs: P.kwargs) -> list[Finding]:
        """Have a check judge an exchange, and record its claims; returns the findings that fail the run.

        A check of the rule reads the answer once more, now that its reason is known to apply. Nothing is
        claimed about an answer that never came from the API, or that is beyond the harness's own bounds, nor
        by comparing with one, nor once something in front of the API may have kept a step of the test.

        A property test asserts that there are none, so that Hypothesis shrinks its input.
        """
        if self.recorder.shown.is_state_unknown or any(
            each.is_from_outside or each.is_beyond_bounds for each in (exchange, *exchanges_in(kwargs))
        ):
            return []
        if isinstance(check, RuleCheck):
            claims: Collection[Claim] = claims_of(check.id, exchange, self.context(exchange)) or ()
        else:
            claims = list(check.judge(exchange, *args, **kwargs))
            if any(each.fact.startswith(_OF_WINDOWS) and not each.holds for each in claims):
                user = self.client.persona(exchange.request.persona or "").user
                if self.has_more_rows_than_runs(user):  # those count, too
                    raise Untested(f"an account that only this run uses: {user} has runs that are not ours")
        given = kwargs if is_comparing(check.family, kwargs) else None
        return self.recorder.record(check, exchange, claims, given=given)

    def has_more_rows_than_runs(self, user: str) -> bool | None:
        """Return whether usage has more rows of an account than this check has runs; None if unknown."""
        rows = self.client.charges_shown.rows_since(user)
        return None if rows is None else rows > self.runs.most_rows(user)

    def allowed(self, exchange: Exchange) -> Allowed:
        """Return what might have been answered to a request."""
        return Case(exchange=exchange, context=self.context(exchange)).allowed

    def keep(self, outcome: str, came: Exchange | Received) -> None:
        """Keep a response or delivery for ``record`` as that of an outcome; the first in a test counts.

        The test's marker ``records`` names the outcome too, with ``is_named``.
        """
        self.recorder.shown.kept.setdefault(outcome, came)

    def findings_about(self, exchange: Exchange) -> list[Finding]:
        """Return the findings of the running test that this exchange showed and that fail the run."""
        return list(self.recorder.shown.failing_by_exchange[exchange.id])

    def next_window(self) -> None:
        """Move the target's clock to the next rate-limit window."""
        self.advance_clock(WINDOW_S)

    def advance_clock(self, advance_s: float) -> None:
        """Move the clock of the target's rate-limit windows forward."""
        self._needed_mint().advance_clock(advance_s)

    @property
    def advanced_s(self) -> float:
        """How far the clock of the rate-limit windows is ahead of the target's own."""
        return self.mint.advanced_s if self.mint else 0.0

    def _exchange(
        self, request: Request, *, key: Secret | None = None, is_throttling_expected: bool = False
    ) -> Exchange:
        exchange = self._send_once(request, key)
        if is_throttling_expected:
            return exchange
        exchange = self.rate_limit_retry.retry(exchange, lambda: self._send_once(request, key))
        if exchange.status == 429:
            raise Untested("requests that are admitted: one got a 429 again and again")
        return exchange

    def _send_once(self, request: Request, key: Secret | None) -> Exchange:
        self._require_going_on()
        self._failures.check(request)
        try:
            return self._delivered(request, key)
        except errors.HarnessError as error:
            self.halted_by = error  # for good: Hypothesis repeats what failed, and must see it fail again
            raise

    def _require_going_on(self) -> None:
        """Raise what ends the run. A test that Ctrl-C ends does not know what its last request has done."""
        if isinstance(interrupt := sys.exception(), KeyboardInterrupt):
            raise interrupt
        if self.halted_by is not None:
            raise self.halted_by

    def _delivered(self, request: Request, key: Secret | None) -> Exchange:
        with self._unless_reserved(request):
            exchange = self._sent(request, key)
        if exchange.is_lost:  # happens once: no connection is reused afterwards
            if request.action is not Action.READ:
                raise Untested(f"a response to {place_of(request)}: {exchange.failure}")
            exchange = self.client.send(request, key=key)
        self._note(exchange)
        self._judge(exchange)
        self._failures.count(exchange)
        return exchange

    def _sent(self, request: Request, key: Secret | None = None) -> Exchange:
        try:
            return self.client.send(request, key=key)
        except errors.CreditsShort:
            raise Untested(more_credits(self.client.target), "profile") from None
        except errors.NotCreatedHere as refused:
            raise Untested(f"a workflow that this run has created: {refused}") from refused
        except errors.NotSent as refused:
            raise Untested(f"a request that can be sent: {refused}") from refused

    def _judge(self, exchange: Exchange) -> None:
        self.recorder.judge(exchange, self.context(exchange))

    def context(self, exchange: Exchange) -> Context:
        """Return all that is known besides an exchange."""
        profile, borne_out = self.client.target.personas, self.target.personas
        keys = {
            name: borne_out.get(name, persona)
            for name, persona in self.client.personas.items()
            if name in borne_out or name not in profile
        }
        advanced_s = self.mint.advanced_at_s(exchange) if self.mint else 0.0
        known: dict[str, object] = {
            "earlier_runs": self.runs.before(exchange),
            **({} if advanced_s is None else {"advanced_s": advanced_s}),
        }
        sender = self.client.personas.get(exchange.request.persona or "")
        if sender is not None and exchange.request.operation_id == "listWorkflows":
            others = [each for each in self.target.workflows.values() if each.owner != sender.user]
            known["foreign"] = {each.slug for each in others if not each.template}
        return Context(keys=keys, known=known, resources=self.resources)

    def _note(self, exchange: Exchange) -> None:
        self.sent += 1
        self.resources.note(exchange)
        kept = self._kept_bodies.kept(exchange)
        self.recorder.steps.note(kept)
        self.runs.note(kept)

    def reserved(self, persona: Persona, operation_id: str, *resource: str) -> AbstractContextManager[None]:
        """Keep other tests of an account from running anything, or one resource, inside the context."""
        return self.reservations.made((persona.user, operation_id, *resource))

    def _unless_reserved(self, request: Request, *, owner: int | None = None) -> AbstractContextManager[None]:
        if request.action is not Action.RUN or request.persona is None:
            return nullcontext()
        user = self.client.persona(request.persona).user
        what = (user, request.operation_id or "", *request.path_values.values())
        return self.reservations.used(what, owner=owner)

    def minted(
        self, capabilities: Collection[str], *, account: str, webhook: Webhook | None = None
    ) -> Persona:
        """Mint a new key of an account with exactly these capabilities."""
        return self._needed_mint().mint(frozenset(capabilities), account=account, webhook=webhook)

    def _needed_mint(self) -> KeyMint:
        if self.mint is None:
            raise self.untested_for(CONTROL)
        return self.mint

    def price(self, resource: Workflow | Model) -> float:
        """Return the most that one run can cost, in credits; without a known price, it is never run."""
        if (price := self.pricing.worst_case(resource)) is None:
            raise Untested("cost_credits of what is to be run", "profile")
        return price
