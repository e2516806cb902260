"""The probe: what a conformance test holds in its hand to send requests and have the answers judged."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Final, ParamSpec, TypeVar

import pytest

from knouds_harness.conformance.claims import Check
from knouds_harness.conformance.common_checks import judge_by_common_checks
from knouds_harness.conformance.needs import CONTROL, FULL_KEY, Need, may
from knouds_harness.conformance.patience import Patience, PatientSender
from knouds_harness.conformance.recorder import Recorder
from knouds_harness.contract.document import Document
from knouds_harness.contract.operations import Action
from knouds_harness.contract.shapes import ShapeJudge
from knouds_harness.contract.tiers import WINDOW_S
from knouds_harness.errors import HarnessError, TargetUnreachable
from knouds_harness.exchange.client import Client, health_request
from knouds_harness.exchange.evidence import Exchange, Request
from knouds_harness.exchange.minting import KeyMint
from knouds_harness.exchange.pricing import Pricing
from knouds_harness.runs.findings import Finding
from knouds_harness.target.personas import Persona
from knouds_harness.target.profile import Target
from knouds_harness.target.resources import Model, Workflow

P = ParamSpec("P")
T = TypeVar("T")

NO_BODY: Final = object()
UNTESTED = "untested: the profile lacks "
_MOST_AT_ONCE = 64  # each takes a thread, and a profile may allow load thousands
_MOST_FAILURES_IN_A_ROW = 5
_MOST_FAILURES_OF_ONE = 10


@dataclass(frozen=True, kw_only=True)
class Call:
    """What to send to one operation.

    Attributes:
        path_values: By path parameter.
        query: Name and value, in order.
        json: The body, encoded as JSON; ``NO_BODY`` for none.
        raw: The body as bytes, sent as JSON all the same; wins over ``json``.
        headers: Besides those that the client sends.
        cost_credits: The most that the target may charge; 0 where it has to refuse.
    """

    path_values: Mapping[str, str] = field(default_factory=dict)
    query: tuple[tuple[str, str], ...] = ()
    json: Any = NO_BODY
    raw: bytes | None = None
    headers: tuple[tuple[str, str], ...] = ()
    cost_credits: float = 0.0

    def having(self, **changes: Any) -> Call:  # noqa: ANN401 - each member has its own type
        """The same call with some members replaced."""
        return replace(self, **changes)

    def encoded_body(self) -> bytes | None:
        """The body as it is sent."""
        if self.raw is not None or self.json is NO_BODY:
            return self.raw
        return json.dumps(self.json).encode()

    def all_headers(self) -> tuple[tuple[str, str], ...]:
        """The headers, with the content type that a body asks for."""
        names = {name.lower() for name, _ in self.headers}
        if self.encoded_body() is None or "content-type" in names:
            return self.headers
        return (*self.headers, ("content-type", "application/json"))


def _place_of(request: Request) -> str:
    return request.operation_id or f"{request.method} {request.path}"


class Probe:
    """Sends as personas of one target, judges every answer by what holds for all, and more where asked."""

    def __init__(
        self, *, client: Client, document: Document, recorder: Recorder, wait: Callable[[float], None]
    ) -> None:
        """Send nothing yet.

        Args:
            client: Sends to the target, within its limits.
            document: What is promised.
            recorder: Takes what checks claim.
            wait: Waits so many seconds; called when the target throttles and its clock can't be moved.
        """
        self.target: Target = client.target
        self.document = document
        self.client = client
        self.recorder = recorder
        self.wait = wait
        self.mint = KeyMint(client) if self.target.control else None
        self.patience = Patience(pass_time=self.mint.advance_clock if self.mint else wait)
        self.pricing = Pricing(PatientSender(send_once=client.send, patience=self.patience), self.target)
        self.shapes = ShapeJudge(document)
        self.halted_by: HarnessError | None = None
        self.sent = 0
        self._found: dict[Need[Any], Any] = {}
        self._failures_in_a_row = 0
        self._failures_by_place: Counter[str] = Counter()

    def need(self, need: Need[T]) -> T:
        """Look something up in the profile; where it is missing, the running test counts as untested."""
        if need not in self._found:
            self._found[need] = need.find(self.target)
        found: T | None = self._found[need]
        if found is None:
            pytest.skip(f"{UNTESTED}{need.says}")
        return found

    def send(
        self,
        operation_id: str,
        persona: Persona | None,
        call: Call | None = None,
        *,
        key: str | None = None,
        is_throttling_expected: bool = False,
    ) -> Exchange:
        """Send one request and judge the answer by the checks that apply to every exchange.

        Args:
            operation_id: Which operation.
            persona: Whose key is sent; None sends none.
            call: Path, query and body; nothing of the kind if left out.
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
        with ThreadPoolExecutor(min(len(requests), self.most_at_once)) as senders:
            sent = [senders.submit(self.client.send, request) for request in requests]
        exchanges = [each.result() for each in sent if each.exception() is None]
        for exchange in exchanges:
            self.sent += 1
            self.recorder.steps.note(exchange)
            if not exchange.is_lost:
                self._judge_by_common_checks(exchange)
        for each in sent:
            each.result()  # raises what kept a request from being sent
        return exchanges

    @property
    def most_at_once(self) -> int:
        """How many requests a check lets be in flight."""
        return min(self.target.limits.concurrency, _MOST_AT_ONCE)

    def _request(self, operation_id: str, persona: Persona | None, call: Call) -> Request:
        operation = self.document.operation_by_id[operation_id]
        self.need(may(operation.action))
        return Request(
            method=operation.method,
            path=operation.url_path(call.path_values),
            query=call.query,
            headers=call.all_headers(),
            body=call.encoded_body(),
            operation_id=operation.id,
            persona=persona.name if persona else None,
            path_values=call.path_values,
            action=operation.action,
            cost_credits=call.cost_credits,
        )

    def send_elsewhere(
        self, method: str, path: str, persona: Persona | None, *, body: bytes | None = None
    ) -> Exchange:
        """Send a request to no documented operation."""
        action = Action.READ if method in ("GET", "HEAD", "OPTIONS") else Action.WRITE
        self.need(may(action))
        return self._exchange(
            Request(
                method=method, path=path, body=body, persona=persona.name if persona else None, action=action
            )
        )

    def judge(self, check: Check[P], exchange: Exchange, *args: P.args, **kwargs: P.kwargs) -> list[Finding]:
        """Have a check judge an exchange, and record what it claims.

        Returns:
            The findings that fail the run; a property test asserts that there are none, so that it shrinks.
        """
        return self.recorder.record(check, exchange, check.judge(exchange, *args, **kwargs))

    def findings_about(self, exchange: Exchange) -> list[Finding]:
        """The findings of the running test that fail the run and that this exchange showed."""
        return [
            finding for finding in self.recorder.shown.failing.values() if finding.exchange_id == exchange.id
        ]

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
        self, request: Request, *, key: str | None = None, is_throttling_expected: bool = False
    ) -> Exchange:
        exchange = self._send_once(request, key)
        if is_throttling_expected:
            return exchange
        exchange = self.patience.outlast(exchange, lambda: self._send_once(request, key))
        if exchange.status == 429:
            pytest.skip(f"{UNTESTED}requests that are admitted: one was refused for its rate again and again")
        return exchange

    def _send_once(self, request: Request, key: str | None) -> Exchange:
        if self.halted_by is not None:
            raise self.halted_by
        place = _place_of(request)
        if self._failures_by_place[place] >= _MOST_FAILURES_OF_ONE:
            pytest.skip(
                f"{UNTESTED}a whole answer from {place}: {_MOST_FAILURES_OF_ONE} requests to it got none"
            )
        try:
            return self._delivered(request, key)
        except HarnessError as error:
            self.halted_by = error  # for ever: hypothesis tries again what failed, and must see it fail again
            raise

    def _delivered(self, request: Request, key: str | None) -> Exchange:
        exchange = self.client.send(request, key=key)
        if exchange.is_lost:  # nobody's fault, and it happens once: no connection is used again afterwards
            if request.action is not Action.READ:
                pytest.skip(f"{UNTESTED}an answer to {_place_of(request)}: {exchange.failure}")
            exchange = self.client.send(request, key=key)
        self.sent += 1
        self.recorder.steps.note(exchange)
        self._judge_by_common_checks(exchange)
        self._count_failure(exchange)
        return exchange

    def _count_failure(self, exchange: Exchange) -> None:
        """Tell a target that has gone away, which ends the run, from one that answers other requests."""
        if exchange.status is not None:
            self._failures_in_a_row = 0
            return
        self._failures_in_a_row += 1
        self._failures_by_place[_place_of(exchange.request)] += 1
        if self._failures_in_a_row >= _MOST_FAILURES_IN_A_ROW:
            if self.client.send(health_request()).status is None:
                raise TargetUnreachable(
                    f"{self.target.base_url}: {exchange.failure}\n"
                    f"  {_MOST_FAILURES_IN_A_ROW} requests in a row got no answer; "
                    "what was found so far is kept."
                )
            self._failures_in_a_row = 0

    def _judge_by_common_checks(self, exchange: Exchange) -> None:
        judge_by_common_checks(exchange, recorder=self.recorder, document=self.document, shapes=self.shapes)

    def minted(self, capabilities: Collection[str]) -> Persona:
        """A fresh key of the full key's account with exactly these capabilities."""
        return self._needed_mint().mint(frozenset(capabilities), account=self.need(FULL_KEY).user)

    def _needed_mint(self) -> KeyMint:
        if self.mint is None:
            pytest.skip(f"{UNTESTED}{CONTROL.says}")
        return self.mint

    def price(self, resource: Workflow | Model) -> float:
        """The most that one run costs, in credits; what nobody can price is never run."""
        return self.need(
            Need(says="cost_credits of what is to be run", find=lambda _: self.pricing.worst_case(resource))
        )
