"""The tester: what a conformance test holds in its hand to send requests and have the answers judged."""

import threading
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, ParamSpec, TypeVar, cast

from knouds_harness import errors
from knouds_harness.body_bounds import KEPT_BYTES
from knouds_harness.contract.capabilities import WINDOW_S
from knouds_harness.contract.document import Document
from knouds_harness.contract.operations import Action
from knouds_harness.contract.shapes import ShapeJudge
from knouds_harness.exchange.client import Client
from knouds_harness.exchange.evidence import Call, Exchange, KeptBodies, Request
from knouds_harness.exchange.first_contact import health_request
from knouds_harness.exchange.minting import KeyMint
from knouds_harness.exchange.pricing import Pricing, resource_named
from knouds_harness.exchange.profile_check import ProfileCheck
from knouds_harness.judging.claim import Check
from knouds_harness.judging.context import Context
from knouds_harness.runs.findings import Finding
from knouds_harness.suite.concurrent_tests import Reservations, RunLock
from knouds_harness.suite.preceding_requests import NeverEndingRuns, RunsSoFar, compared_with
from knouds_harness.suite.recorder import FindingRecorder, Received
from knouds_harness.suite.untested import Untested, more_credits, untested_for
from knouds_harness.targets.needs.need import CONTROL, Need, may
from knouds_harness.targets.personas import Persona, Secret
from knouds_harness.targets.profile import Target
from knouds_harness.targets.resources import Model, Webhook, Workflow

P = ParamSpec("P")
T = TypeVar("T")

_MOST_AT_ONCE = 64  # each takes a thread, and a profile may allow load thousands
_MOST_WAITED_S = 200  # three windows: others may use the account too
_MOST_FAILURES_IN_A_ROW = 5
_MOST_FAILURES_OF_ONE = 10


def _place_of(request: Request) -> str:
    return request.operation_id or f"{request.method} {request.path}"


@dataclass(kw_only=True)
class RateLimitRetry:
    """Sends again what got a 429."""

    pass_time: Callable[[float], None]
    """Lets so many seconds pass, on the clock of the target's windows."""
    _refused: set[str | None] = field(default_factory=set)
    _waited_in_vain_s: float = 0.0

    def outlast(self, exchange: Exchange, send_again: Callable[[], Exchange]) -> Exchange:
        """Send a refused request again, each time when the refusal says, for three windows at most.

        Where an operation was refused for longer, it is not waited for again until it is admitted; where all
        are refused for so long, for none.
        """
        operation = exchange.request.operation_id
        while (
            exchange.status == 429
            and operation not in self._refused
            and self._waited_in_vain_s < _MOST_WAITED_S
        ):
            wait_s = exchange.told_wait_s
            self.pass_time(wait_s)
            self._waited_in_vain_s += wait_s
            exchange = send_again()
        if exchange.status == 429:
            self._refused.add(operation)
        else:
            self._refused.discard(operation)
            self._waited_in_vain_s = 0.0
        return exchange


class Tester:
    """Sends as personas of one target, judges every answer by what holds for all, and more where asked."""

    __test__ = False  # its name begins as those of test classes do

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
        """Send nothing yet; judge long answers of ``checked``.

        ``wait`` is called when the target throttles and its clock can't be moved. ``checked`` is what was
        learnt of the target before: its target is what is tested.
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
            lambda asked: self.rate_limit_retry.outlast(client.send(asked), lambda: client.send(asked)),
            self.target,
            estimates=client.estimates,
        )
        self.shapes = ShapeJudge(document)
        self.halted_by: errors.HarnessError | None = None
        self.sent = 0
        self.reservations = Reservations(self.idle)
        self.runs = RunsSoFar(user_of=lambda persona: client.persona(persona).user)
        self.endless = NeverEndingRuns(client.target)
        self._kept_bodies = KeptBodies()
        self._failures_in_a_row = 0
        self._failures_by_place: Counter[str] = Counter()
        for exchange in learnt:
            self.runs.note(self._kept_bodies.kept(exchange))
            if len(exchange.body) > KEPT_BYTES:  # too long to keep: what needs it asks again
                self._judge_learnt(exchange)
                self._whoami_by_key.pop(exchange.request.persona or "", None)

    def need(self, need: Need[T]) -> T:
        """Look something up in the profile; where it is missing, the running test counts as untested."""
        if need.missing(self.target) is not None:
            raise self.untested_for(need)
        return cast("T", need.find(self.target))

    def untested_for(self, need: Need[Any]) -> Untested:
        """What skips a test whose need is not met."""
        return untested_for(need, profile=self.client.target, contradictions=self._contradictions)

    def whoami(self, persona: Persona) -> Exchange:
        """What whoami answers a key; where that was asked before the first test, it is not asked again."""
        known = self._whoami_by_key.get(persona.name)
        if known is None or known.status != HTTPStatus.OK:
            return self.send("getWhoami", persona)
        self._judge_learnt(known)
        return known

    def judge_all_learnt(self) -> None:
        """Judge what was learnt before the first test and no test has looked at."""
        for exchange in list(self._unjudged.values()):
            self._judge_learnt(exchange)

    def _judge_learnt(self, exchange: Exchange) -> None:
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
        """Send one request and judge the answer by all checks that apply to it.

        Args:
            operation_id: Which operation.
            persona: Whose key is sent, unless ``key`` is; None sends none.
            call: Path, query and body.
            key: Sent instead of the persona's own.
            is_throttling_expected: Take a 429 for an answer instead of waiting for the next window.

        Raises:
            GuardStop: The profile's limits forbid the request.
            TargetUnreachable: The target has gone away.
        """
        return self._exchange(
            self._request(operation_id, persona, call or Call()),
            key=key,
            is_throttling_expected=is_throttling_expected,
        )

    def send_together(self, operation_id: str, persona: Persona, call: Call, *, times: int) -> list[Exchange]:
        """Send one request several times at once, as ``send_at_once`` does."""
        return self.send_at_once([(operation_id, persona, call)] * times)

    def send_at_once(self, sendings: Sequence[tuple[str, Persona, Call]]) -> list[Exchange]:
        """Send requests at once, begun in this order, and judge each answer as ``send`` does.

        How many are in flight at a time, ``limits.concurrency`` says; a 429 is an answer like others.

        Raises:
            GuardStop: The profile's limits forbid one of the requests, or so many of them.
        """
        if self.halted_by is not None:
            raise self.halted_by
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
            each.result()  # raises what kept a request from being sent
        return exchanges

    @property
    def most_at_once(self) -> int:
        """How many requests a check lets be in flight."""
        return min(self.target.limits.concurrency, _MOST_AT_ONCE)

    def _request(self, operation_id: str, persona: Persona | None, call: Call) -> Request:
        operation = self.document.operation_by_id.get(operation_id)
        if operation is None:
            raise errors.UnknownName("operation", operation_id, self.document.operation_by_id)
        self.need(may(operation.action))
        request = call.request(operation, persona=persona.name if persona else None)
        if resource := resource_named(request.path, self.target):
            self.pricing.worst_case(resource)  # asked for once, the client knows it too
        return request

    def send_elsewhere(
        self, method: str, path: str, persona: Persona | None, *, body: bytes | None = None
    ) -> Exchange:
        """Send a request to no documented operation."""
        action = Action.READ if method in ("GET", "HEAD", "OPTIONS") else Action.WRITE
        name = persona.name if persona else None
        return self.send_request(Request(method=method, path=path, body=body, persona=name, action=action))

    def send_request(self, request: Request) -> Exchange:
        """Send a request as it is, if the profile allows what it may do, and judge the answer."""
        self.need(may(request.action))
        return self._exchange(request)

    def send_unjudged(self, request: Request) -> Exchange:
        """Send a request that a router or a proxy may answer, of which nothing is promised."""
        self.need(may(request.action))
        exchange = self._sent(request)
        self._note(exchange)
        return exchange

    def judge(self, check: Check[P], exchange: Exchange, *args: P.args, **kwargs: P.kwargs) -> list[Finding]:
        """Have a check judge an exchange, and record what it claims; returns what fails the run.

        A property test asserts that there is no such finding, so that it shrinks.
        """
        claims = check.judge(exchange, *args, **kwargs)
        return self.recorder.record(check, exchange, claims, compared=compared_with(check.family, kwargs))

    def keep(self, outcome: str, came: Exchange | Received) -> None:
        """Name an answer, or a delivery, as that of an outcome, for ``record``; the first of a test counts.

        The marker ``records`` of the test has the outcome too, with ``is_named``.
        """
        self.recorder.shown.kept.setdefault(outcome, came)

    def findings_about(self, exchange: Exchange) -> list[Finding]:
        """The findings of the running test that fail the run and that this exchange showed."""
        failing = self.recorder.shown.failing.values()
        return [each for each in failing if each.exchange_id == exchange.id]

    def next_window(self) -> None:
        """Move the target's clock to the next rate-limit window."""
        self.advance_clock(WINDOW_S)

    def advance_clock(self, advance_s: float) -> None:
        """Move the clock of the target's rate-limit windows forward."""
        self._needed_mint().advance_clock(advance_s)

    @property
    def advanced_s(self) -> float:
        """How far that clock is ahead of the target's own."""
        return self.mint.advanced_s if self.mint else 0.0

    def _exchange(
        self, request: Request, *, key: Secret | None = None, is_throttling_expected: bool = False
    ) -> Exchange:
        exchange = self._send_once(request, key)
        if is_throttling_expected:
            return exchange
        exchange = self.rate_limit_retry.outlast(exchange, lambda: self._send_once(request, key))
        if exchange.status == 429:
            raise Untested("requests that are admitted: one was refused for its rate again and again")
        return exchange

    def _send_once(self, request: Request, key: Secret | None) -> Exchange:
        if self.halted_by is not None:
            raise self.halted_by
        place = _place_of(request)
        if self._failures_by_place[place] >= _MOST_FAILURES_OF_ONE:
            raise Untested(f"a whole answer from {place}: {_MOST_FAILURES_OF_ONE} requests to it got none")
        try:
            return self._delivered(request, key)
        except errors.HarnessError as error:
            self.halted_by = error  # for ever: hypothesis tries again what failed, and must see it fail again
            raise

    def _delivered(self, request: Request, key: Secret | None) -> Exchange:
        with self._unless_reserved(request):
            exchange = self._sent(request, key)
        if exchange.is_lost:  # an accident, which happens once: no connection is used again afterwards
            if request.action is not Action.READ:
                raise Untested(f"an answer to {_place_of(request)}: {exchange.failure}")
            exchange = self.client.send(request, key=key)
        self._note(exchange)
        self._judge(exchange)
        self._count_failure(exchange)
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
        profile, borne_out = self.client.target.personas, self.target.personas
        keys = {
            name: borne_out.get(name, persona)
            for name, persona in self.client.personas.items()
            if name in borne_out or name not in profile
        }
        known = {"advanced_s": self.advanced_s, "earlier_runs": self.runs.before(exchange)}
        context = Context(document=self.document, shapes=self.shapes, keys=keys, known=known)
        self.recorder.judge(exchange, context)

    def _note(self, exchange: Exchange) -> None:
        self.sent += 1
        self.endless.note(exchange)
        kept = self._kept_bodies.kept(exchange)
        self.recorder.steps.note(kept)
        self.runs.note(kept)

    def reserved(self, persona: Persona, operation_id: str, *resource: str) -> AbstractContextManager[None]:
        """Keep other tests from running anything of an account, or one thing, while the context is open."""
        return self.reservations.made((persona.user, operation_id, *resource))

    def _unless_reserved(self, request: Request, *, owner: int | None = None) -> AbstractContextManager[None]:
        if request.action is not Action.RUN or request.persona is None:
            return nullcontext()
        user = self.client.persona(request.persona).user
        what = (user, request.operation_id or "", *request.path_values.values())
        return self.reservations.used(what, owner=owner)

    def _count_failure(self, exchange: Exchange) -> None:
        """Tell a target that has gone away, which ends the run, from one that answers other requests."""
        if exchange.status is not None:
            self._failures_in_a_row = 0
            return
        self._failures_in_a_row += 1
        self._failures_by_place[_place_of(exchange.request)] += 1
        if self._failures_in_a_row < _MOST_FAILURES_IN_A_ROW:
            return
        if self.client.send(health_request()).status is None:
            raise errors.TargetUnreachable(
                f"{self.target.base_url}: {exchange.failure}\n"
                f"  {self._failures_in_a_row} requests in a row got no answer; what was found so far is kept."
            )
        self._failures_in_a_row = 0

    def minted(
        self, capabilities: Collection[str], *, account: str, webhook: Webhook | None = None
    ) -> Persona:
        """A fresh key of an account with exactly these capabilities."""
        return self._needed_mint().mint(frozenset(capabilities), account=account, webhook=webhook)

    def _needed_mint(self) -> KeyMint:
        if self.mint is None:
            raise self.untested_for(CONTROL)
        return self.mint

    def price(self, resource: Workflow | Model) -> float:
        """The most that one run costs, in credits; what has no known price is never run."""
        if (price := self.pricing.worst_case(resource)) is None:
            raise Untested("cost_credits of what is to be run", "profile")
        return price
