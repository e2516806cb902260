"""Record claims, and turn those that do not hold into findings, one per fingerprint."""

import re
import threading
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from itertools import groupby
from operator import itemgetter
from typing import Final

from knouds_harness.contract.document import Document
from knouds_harness.contract.operations import Action
from knouds_harness.exchange.curl import ShellNames
from knouds_harness.exchange.evidence import Exchange
from knouds_harness.exchange.profile_check import Contradiction
from knouds_harness.exchange.script import parts_of, script
from knouds_harness.judging.claim import Check, Claim, explain
from knouds_harness.judging.context import Context
from knouds_harness.judging.drift import FACT, Gatherer, drift_finding
from knouds_harness.judging.engine import contradiction_finding, finding_of, judge
from knouds_harness.judging.user_checks import claims_of, place_of
from knouds_harness.printable import printable
from knouds_harness.runs.findings import Compared, Finding
from knouds_harness.runs.writer import RunWriter
from knouds_harness.suite.preceding_requests import PrecedingRequests, exchanges_in
from knouds_harness.targets.resources import Waiver

_MOST_SHOWN: Final = 300
_MOST_COMPARED: Final = 3
_IN_BASE64: Final = re.compile(r"[A-Za-z0-9+/=_-]{100,}")
_MOST_PARTS: Final = 60
"""A script with more steps would repeat everything ever done to a resource, which does not help."""


@dataclass(frozen=True, kw_only=True)
class Received:
    """A webhook delivery, with what is needed to judge it."""

    raw: bytes
    secret: str
    exchange: Exchange
    execution_id: str | None
    is_taken: bool


class CurrentTest(threading.local):
    """What the calling thread's test has shown so far.

    Attributes:
        test: Its pytest id; empty between tests, and for a user's test.
        failing: Findings that fail the run, by fingerprint; also by the exchange that showed them.
        new: The fingerprints of all findings that no test had shown before.
        is_state_unknown: Something in front of the API answered a write, or was busy when something was read:
            what the test goes on from may never have been.
        answers: The newest response of each operation, if responses are kept.
        kept: The responses or deliveries that the test has named as outcomes.
    """

    def __init__(self) -> None:
        self.begin()

    def begin(self, test: str = "") -> None:
        self.test = test
        self.failing: dict[str, Finding] = {}
        self.failing_by_exchange: dict[str, list[Finding]] = defaultdict(list)
        self.new: set[str] = set()
        self.claimed: set[str] = set()
        self.last: str | None = None
        self.is_state_unknown = False
        self.answers: dict[str | None, Exchange] = {}
        self.kept: dict[str, Exchange | Received] = {}


@dataclass(kw_only=True)
class FindingRecorder:
    """Writes what checks claim into the run record.

    Attributes:
        names: Shell variables for the target and its keys.
        user_errors: The first error of each of the user's checks, with its place, by check id.
        keeps_answers: Keep the responses of the running test, even long ones, as ``record`` needs them.
        answered: The answer that each finding was first seen in, for a terminal, by fingerprint.
        broken_by_exchange: What fails the run about each exchange, each in one line.
    """

    document: Document
    writer: RunWriter
    waivers: tuple[Waiver, ...]
    today: date
    strict: bool = False
    keeps_answers: bool = False
    names: ShellNames = field(default_factory=ShellNames)
    steps: PrecedingRequests = field(default_factory=PrecedingRequests)
    shown: CurrentTest = field(default_factory=CurrentTest)
    user_checks: tuple[Check[[]], ...] = ()
    user_errors: dict[str, str] = field(default_factory=dict)
    duration_s_by_test: dict[str, float] = field(default_factory=dict)
    answered: dict[str, str] = field(default_factory=dict)
    broken_by_exchange: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    checks_by_exchange: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    gatherer: Gatherer = field(init=False)

    def __post_init__(self) -> None:
        self.gatherer = Gatherer(self.document)

    @property
    def findings(self) -> Mapping[str, Finding]:
        """By fingerprint, in the order in which they were first seen."""
        return self.writer.findings

    def begin_test(self, test: str = "") -> None:
        """Attribute what the calling thread records from now on to this test, or to none."""
        self.steps.begin_test()
        self.shown.begin(test)

    def record(
        self,
        check: Check[...],
        exchange: Exchange,
        claims: Iterable[Claim],
        *,
        given: Mapping[str, object] | None = None,
    ) -> list[Finding]:
        """Record each claim; returns the findings that fail the run, whether new or known.

        ``given`` are the check's arguments; None if the claims rest on this response alone.
        """
        failing = []
        for claim in claims:
            self.shown.claimed.add(claim.fact)
            self.checks_by_exchange[exchange.id].add(check.id)
            self.writer.add_result(
                check=check.id,
                fact=claim.fact,
                operation=None if claim.cause else exchange.request.operation_id,
                persona=exchange.request.persona,
                passed=claim.holds,
                exchange_id=exchange.id,
            )
            if claim.holds:
                continue
            finding = finding_of(
                check,
                exchange,
                claim,
                facts=self.document.facts,
                waivers=self.waivers,
                today=self.today,
                names=self.names,
            )
            self.answered.setdefault(finding.fingerprint, shown_answer(exchange))
            known = self.findings.get(finding.fingerprint)
            if known is None or not known.test:  # the first test to show it, even if it was seen before tests
                self.shown.new.add(finding.fingerprint)
            finding = replace(finding, test=self.shown.test)
            finding = self.writer.add_finding(self._reproduced(finding, exchange, claim, given, known))
            if self.fails(finding):
                self.broken_by_exchange[exchange.id].append(explain(check, claim))
                self.shown.failing[finding.fingerprint] = finding
                self.shown.failing_by_exchange[exchange.id].append(finding)
                failing.append(finding)
        return failing

    def judge(self, exchange: Exchange, context: Context) -> None:
        """Record the claims of all checks about an exchange, and what it shows beyond the document."""
        for check, made in groupby(judge(exchange, context), key=itemgetter(0)):
            told = {name: context.known[name] for name in check.given if name in context.known}
            given = told if exchanges_in(told) else None
            self.record(check, exchange, (claim for _, claim in made), given=given)
        if exchange.is_delivery:
            return
        self.gatherer.add(exchange)
        if exchange.is_from_outside and (
            exchange.request.action is not Action.READ or (exchange.status or 0) >= 500
        ):
            self.shown.is_state_unknown = True
        operation_id = exchange.request.operation_id
        self.shown.last = f"{operation_id or exchange.request.path} was answered {exchange.answer}"
        if self.keeps_answers:
            self.shown.answers[operation_id] = exchange
        for own in self.user_checks:
            try:
                claims = iter(claims_of(own, exchange))
            except Exception as error:  # noqa: BLE001 - a user's code may raise anything; the run goes on
                self.user_errors.setdefault(own.id, place_of(error))
            else:
                self.record(own, exchange, claims)

    def keep(self, exchange: Exchange) -> None:
        """Keep an exchange as evidence; with the control plane, which is not judged, also as a step."""
        self.writer.add_exchange(exchange)
        if exchange.is_control:
            self.steps.note(exchange)

    def record_contradiction(self, contradiction: Contradiction) -> None:
        self.writer.add_finding(contradiction_finding(contradiction, names=self.names))

    def record_drift(self) -> None:
        """Record what the document does not name; called once, after everything was judged."""
        for novelty in self.gatherer.novelties(list(self.findings.values())):
            self.writer.add_finding(drift_finding(novelty, self.document.facts[FACT], self.names))

    def fails(self, finding: Finding) -> bool:
        return finding.fails(strict=self.strict)

    @property
    def is_broken(self) -> bool:
        """Whether a finding fails the run, or a waiver has expired, needed or not."""
        return any(self.fails(finding) for finding in self.findings.values()) or bool(self.expired_waivers)

    @property
    def expired_waivers(self) -> list[Waiver]:
        """The profile's waivers whose last day has passed."""
        return [waiver for waiver in self.waivers if waiver.is_expired(self.today)]

    def _reproduced(
        self,
        finding: Finding,
        exchange: Exchange,
        claim: Claim,
        given: Mapping[str, object] | None,
        known: Finding | None,
    ) -> Finding:
        """Return the finding with the steps and script that reproduce it, or the known ones if not longer."""
        if known is not None and not known.steps:
            return replace(finding, script=known.script)
        sources = None if given is None else self.steps.sources(exchange, given, where=claim.where)
        if sources and len(sources.parts) <= _MOST_COMPARED:
            compared = tuple(Compared(exchange_id=each.id, where=place) for each, place in sources.parts)
            finding = replace(finding, compared=compared)
        steps = self.steps.of(exchange, sources=sources)
        if len(steps) == 1 and exchange.url.startswith(self.names.base_url):
            return finding
        if known is not None and len(known.steps) <= len(steps):
            return replace(finding, steps=known.steps, script=known.script)
        sent_again = self._script(exchange, steps, claim, finding.curl)
        ids = tuple(step.id for step in steps) if len(steps) > 1 else ()
        return replace(finding, steps=ids, script=sent_again)

    def _script(self, exchange: Exchange, steps: Sequence[Exchange], claim: Claim, line: str) -> str:
        """Return a script that sends all steps again, or a comment that says why there is none."""
        sent = [step for step in steps if step.url.startswith(self.names.base_url)]
        why_not = "This is a webhook delivery: have a receiver listen at the webhook's URL."
        if not sent:
            return f"# {why_not}"
        if len(parts_of(sent, apart=exchange.id)) > _MOST_PARTS:
            return (
                f"# Rests on {len(steps)} requests, {steps[0].id} to {steps[-1].id} in exchanges.har:\n"
                f"# too many for a script. Repeat the check with the run's --seed and --fact {claim.fact}.\n"
                f"# The last request alone:\n{line}"
            )
        if exchange not in sent:
            return script(sent, shows=_shown(claim), names=self.names, why_not=why_not)
        shows = f"{sent.index(exchange) + 1}. {_shown(claim)}"
        return script(sent, shows=shows, shown_by=exchange, names=self.names)


def _shown(claim: Claim) -> str:
    return f"{claim.fact}: {claim.difference}"


def shown_answer(exchange: Exchange) -> str:
    """Return status, type and start of a body in one line; a run of base64 is shown by its length."""
    if exchange.status is None:
        return ""
    kind = exchange.header("content-type") or "without a content type"
    text = _IN_BASE64.sub(
        lambda found: f"<{len(found[0])} characters>", exchange.body.decode("utf-8", "replace")
    )
    body = printable(" ".join(text[:_MOST_SHOWN].split()), keep="")
    return f"{exchange.status} {printable(kind, keep='')}: {body}{'…' if len(text) > _MOST_SHOWN else ''}"
