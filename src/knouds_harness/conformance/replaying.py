"""Sending the exchange of each finding of a run again, to say whether it still stands."""

from __future__ import annotations

import inspect
import re
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Final

from rich.console import Console

from knouds_harness.conformance.carrying import GIVES_NAMES, newly_given, renamed, value_at
from knouds_harness.conformance.checks import all_checks
from knouds_harness.conformance.claims import Claim, answer
from knouds_harness.conformance.common_checks import common_claims
from knouds_harness.conformance.drift import FACT, Gatherer, drift_finding
from knouds_harness.contract.document import Document, shipped_document
from knouds_harness.contract.operations import Action
from knouds_harness.contract.shapes import ShapeJudge, as_json
from knouds_harness.errors import ExitCode, GuardStop, HarnessError, UnknownName, UsageError
from knouds_harness.exchange.client import KEY_HEADER, Client, first_contact
from knouds_harness.exchange.evidence import Exchange, Pairs, Request
from knouds_harness.exchange.sequence import pause_s
from knouds_harness.runs.findings import Finding, fingerprint
from knouds_harness.runs.record import RunRecord, read_run
from knouds_harness.runs.verdicts import Verdict
from knouds_harness.target.builtin import SANDBOX, open_target
from knouds_harness.target.guards import Guard

_PSEUDONYM: Final = re.compile(r"\{\{(?:key:([\w-]+)|hidden|webhook-secret|control-token)\}\}", re.ASCII)
_OF_SEVERAL_EXCHANGES: Final = frozenset({"rate_limits", "concurrency", "webhooks"})


class Standing(StrEnum):
    """What sending the exchange of a finding again showed."""

    STANDS = "still stands"
    GONE = "gone"
    OPEN = "cannot tell"


@dataclass(frozen=True, kw_only=True)
class Replayed:
    """One finding, and what became of it, in words."""

    finding: Finding
    standing: Standing
    reason: str


class CannotTell(Exception):
    """Why a finding cannot be replayed; one never meets a user otherwise than as words in its line."""


def replay(
    folder: Path,
    mark: str | None,
    *,
    target_name: str | None,
    faults: Sequence[str],
    yes_production: bool,
    console: Console,
) -> ExitCode:
    """Replay the findings of a run, and print a line for each.

    Args:
        folder: Of the run.
        mark: The fingerprint of the one that is meant; None for all but drift.
        target_name: Where to send; None for the run's own target.
        faults: Promises that the built-in sandbox is to break.
        yes_production: Agree to a production target.
        console: Where to print.

    Returns:
        1 where any still stands, else 0.

    Raises:
        UnknownName: The run has no such finding, or there is no such target or fault.
        UsageError: It is a run of recorded traffic, and no target was named.
        RunRecordError: The folder holds no readable run.
        GuardStop: The target is production, and somebody has not agreed.
        TargetUnreachable: There is no usable answer from the target.
    """
    record = read_run(folder)
    findings = _chosen(record, mark)
    if target_name is None and record.kind == "verify":
        raise UsageError(f"{folder}: is a run of recorded traffic\n  Say with --target where to send it.")
    counts: Counter[Standing] = Counter()
    if findings:
        replayer = Replayer(
            record=record,
            document=shipped_document(),
            target_name=target_name or record.setup.target.name,
            faults=tuple(faults),
            yes_production=yes_production,
        )
        with replayer.resources:
            for finding in findings:
                replayed = replayer.replay(finding)
                counts[replayed.standing] += 1
                _print(replayed, console)
    console.print(
        f"{len(findings)} findings: {counts[Standing.STANDS]} still stand, {counts[Standing.GONE]} gone, "
        f"{counts[Standing.OPEN]} cannot be told.",
        highlight=False,
    )
    return ExitCode.BREACH if counts[Standing.STANDS] else ExitCode.KEPT


def _chosen(record: RunRecord, mark: str | None) -> Sequence[Finding]:
    if mark is None:
        return [finding for finding in record.findings if finding.verdict is not Verdict.ADDITIVE]
    found = [finding for finding in record.findings if finding.fingerprint == mark]
    if not found:
        raise UnknownName("finding", mark, [finding.fingerprint for finding in record.findings])
    return found


def _print(replayed: Replayed, console: Console) -> None:
    finding = replayed.finding
    who = f"{finding.operation or 'no operation'} as {finding.persona or 'nobody'}"
    line = f"{replayed.standing:<12}  {finding.fingerprint}  {finding.fact}  {who}: {replayed.reason}"
    plain = "".join(char if char.isprintable() else "·" for char in line)
    console.print(plain, markup=False, highlight=False, soft_wrap=True)


@dataclass(kw_only=True)
class Replayer:
    """Sends to one target; a sandbox that a request may have changed is started anew for the next."""

    record: RunRecord
    document: Document
    target_name: str
    faults: tuple[str, ...] = ()
    yes_production: bool = False
    resources: ExitStack = field(default_factory=ExitStack)
    wait: Callable[[float], None] = time.sleep
    _client: Client | None = None

    def __post_init__(self) -> None:
        self._shapes = ShapeJudge(self.document)
        self._made = frozenset(_names_made(self.record))

    def replay(self, finding: Finding) -> Replayed:
        """Send the request of one finding again, or the sequence that it takes, and judge the answer."""
        try:
            steps = self._evidence(finding)
            answers = self._sent_again(steps)
            place = next(i for i, step in enumerate(steps) if step.id == finding.exchange_id)
            standing, reason = self._judged(finding, steps[place], answers[place])
        except CannotTell as reason_why:
            standing, reason = Standing.OPEN, str(reason_why)
        return Replayed(finding=finding, standing=standing, reason=reason)

    def _evidence(self, finding: Finding) -> list[Exchange]:
        steps = [
            self.record.exchange_by_id.get(each) for each in finding.steps or (finding.exchange_id or "",)
        ]
        found = [step for step in steps if step is not None]
        if len(found) < len(steps):
            raise CannotTell("its exchange is not in the record")
        if finding.family in _OF_SEVERAL_EXCHANGES:
            raise CannotTell("its check judges several exchanges together")
        if finding.verdict is Verdict.ADDITIVE and finding.operation is None:
            raise CannotTell("it is a delivery, which the target sends")
        return found

    def _opened(self) -> Client:
        if self._client is None:
            target = self.resources.enter_context(
                open_target(self.target_name, seed=self.record.setup.seed, faults=self.faults)
            )
            guard = Guard(target, yes_production=self.yes_production)
            self._client = self.resources.enter_context(Client(target=target, guard=guard))
            first_contact(self._client)
        return self._client

    def _sent_again(self, steps: Sequence[Exchange]) -> list[Exchange]:
        client = self._opened()
        given: dict[str, str] = {}
        answers: list[Exchange] = []
        try:
            for number, before in enumerate(steps):
                if number:
                    self.wait(pause_s(steps[number - 1], before))
                request = self._restored(renamed(before.request, given), client, given.values())
                answers.append(client.send(request, key=self._key(before, client)))
                if before is not steps[-1]:
                    given |= newly_given(before, answers[-1])
        except GuardStop as stop:
            raise CannotTell(f"a guard forbids it: {str(stop).partition(chr(10))[0]}") from None
        finally:
            self._undo(steps, answers, client)
        return answers

    def _undo(self, steps: Sequence[Exchange], answers: Sequence[Exchange], client: Client) -> None:
        done = [
            (before, after)
            for before, after in zip(steps, answers, strict=False)
            if (after.status or 500) < 300 and after.request.action is not Action.READ
        ]
        if done and self.target_name == SANDBOX:
            self._client = None
            self.resources.close()  # the next finding gets a fresh one
            return
        deleted = {
            after.request.path_values.get("slug")
            for _, after in done
            if after.request.operation_id == "deleteWorkflow"
        }
        delete = self.document.operation_by_id["deleteWorkflow"]
        for before, after in done:
            body = after.json_or_none()
            slug = body.get("slug") if isinstance(body, dict) else None
            is_creation = after.request.operation_id == "createWorkflow"
            if is_creation and isinstance(slug, str) and slug not in deleted:
                with suppress(HarnessError):  # what was found stands all the same
                    client.send(
                        Request(
                            method=delete.method,
                            path=delete.url_path({"slug": slug}),
                            path_values={"slug": slug},
                            operation_id=delete.id,
                            persona=after.request.persona,
                            action=delete.action,
                        ),
                        key=self._key(before, client),
                    )

    def _restored(self, request: Request, client: Client, given: Collection[str]) -> Request:
        """The request with its keys put back, if the profile has them and it needs nothing else of the run.

        ``given`` are names that the target has given since.
        """
        if request.persona is not None and request.persona not in client.target.personas:
            raise CannotTell(f'key "{request.persona}" is not in the profile')
        made = self._made - {*client.target.workflows, *given}
        body = (request.body or b"").decode("utf-8", "surrogateescape")
        if not made.isdisjoint(request.path_values.values()) or any(f'"{name}"' in body for name in made):
            raise CannotTell("it is about a resource that was made for the run")
        operation = self.document.operation_by_id.get(request.operation_id or "")
        is_reading = request.method in ("GET", "HEAD", "OPTIONS")
        return replace(
            request,
            action=operation.action if operation else Action.READ if is_reading else Action.WRITE,
            path=_with_keys(request.path, client),
            query=_pairs_with_keys(request.query, client),
            headers=_pairs_with_keys(request.headers, client),
            body=request.body and _with_keys(body, client).encode("utf-8", "surrogateescape"),
        )

    def _key(self, before: Exchange, client: Client) -> str | None:
        given = [value for name, value in before.request.headers if name.lower() == KEY_HEADER]
        sent = [value for name, value in before.sent_headers if name.lower() == KEY_HEADER]
        added = sent[len(given) :]  # the client's own comes last
        return _with_keys(added[0], client) if added else None

    def _judged(self, finding: Finding, before: Exchange, after: Exchange) -> tuple[Standing, str]:
        if after.status == 429 and finding.status != 429:
            raise CannotTell("the target throttles")
        if after.status is None and finding.status is not None:
            raise CannotTell(f"no answer: {after.failure}")
        if finding.verdict is Verdict.ADDITIVE:
            return self._drift(finding, after)
        claims = self._claims(finding, after)
        if claims is None:
            return _compared(finding, before, after)
        about = [claim for claim in claims if claim.fact == finding.fact]
        if not about:
            raise CannotTell(f"answered {answer(after)}, of which its check says nothing")
        for claim in about:
            if not claim.holds and _place(finding, claim) == finding.fingerprint:
                return Standing.STANDS, f"expected {claim.expected}, observed {claim.observed}"
        return Standing.GONE, f"answered {answer(after)}"

    def _drift(self, finding: Finding, after: Exchange) -> tuple[Standing, str]:
        gatherer = Gatherer(self.document)
        gatherer.add(after)
        fact = self.document.facts[FACT]
        for novelty in gatherer.novelties():
            if drift_finding(novelty, fact).fingerprint == finding.fingerprint:
                return Standing.STANDS, f"observed {novelty.says}, which the document does not name"
        return Standing.GONE, f"answered {answer(after)}"

    def _claims(self, finding: Finding, after: Exchange) -> list[Claim] | None:
        """What the finding's check claims of the answer; None where it has to know more than that."""
        for check, claims in common_claims(after, document=self.document, shapes=self._shapes):
            if check.id == finding.check:
                return list(claims)
        own = all_checks().get(finding.check)
        if own is not None and len(inspect.signature(own.judge).parameters) == 1:
            return list(own.judge(after))
        return None


def _compared(finding: Finding, before: Exchange, after: Exchange) -> tuple[Standing, str]:
    if finding.where.startswith("/") and after.status == before.status:
        shown = as_json(value_at(after.json_or_none(), finding.where))  # as checks of documents say it
        if shown in (finding.expected, finding.observed):
            is_same = shown == finding.observed
            return (Standing.STANDS if is_same else Standing.GONE), f"{finding.where} is {shown}"
    if finding.observed != answer(before):
        raise CannotTell("its check has to know more than one answer")
    is_same = (after.status, after.code) == (before.status, before.code)
    return (Standing.STANDS if is_same else Standing.GONE), f"answered {answer(after)}"


def _place(finding: Finding, claim: Claim) -> str:
    """The fingerprint of the claim, had the status been the one that the finding names."""
    return fingerprint(
        check=finding.check,
        fact=claim.fact,
        operation=finding.operation,
        where=claim.where,
        status=finding.status,
        code=finding.code,
    )


def _names_made(record: RunRecord) -> Iterator[str]:
    """Names of what the run made on its target."""
    for exchange in record.exchange_by_id.values():
        body = exchange.json_or_none()
        is_made = exchange.request.action in (Action.WRITE, Action.RUN) and exchange.status in (200, 201, 202)
        if is_made and isinstance(body, dict):
            yield from (body[name] for name in GIVES_NAMES if body.get(name) and isinstance(body[name], str))


def _pairs_with_keys(pairs: Pairs, client: Client) -> Pairs:
    return tuple((name, _with_keys(value, client)) for name, value in pairs)


def _with_keys(text: str, client: Client) -> str:
    def key(found: re.Match[str]) -> str:
        name = found[1]
        if name not in client.target.personas:
            raise CannotTell(
                f"its key ({found[0]}) is not in the profile: tampered with, or made for the run"
            )
        return client.secret_of(name).reveal()

    return _PSEUDONYM.sub(key, text)
