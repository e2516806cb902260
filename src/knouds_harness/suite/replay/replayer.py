"""Replay a finding: send its requests again, run its test, or compare target and profile again."""

import json
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from secrets import token_hex
from typing import Any, Final

from knouds_harness.contract.document import Document
from knouds_harness.contract.operations import Action
from knouds_harness.contract.shapes import ShapeJudge
from knouds_harness.errors import GuardStop, NotSent, UsageError
from knouds_harness.exchange.client import Client
from knouds_harness.exchange.created_workflows import CreatedWorkflows
from knouds_harness.exchange.creation_record import Ledger, append
from knouds_harness.exchange.effectless_requests import NO_SUCH_MODEL, NO_SUCH_WORKFLOW
from knouds_harness.exchange.evidence import KEY_HEADER, KEY_HERE, Exchange, Request
from knouds_harness.exchange.execution_status import body_of
from knouds_harness.exchange.first_contact import first_contact
from knouds_harness.exchange.minting import ask_control
from knouds_harness.exchange.pricing import Pricing, has_inputs, resource_named
from knouds_harness.exchange.profile_check import check_profile
from knouds_harness.exchange.redaction import PLACEHOLDER
from knouds_harness.exchange.script import SequencePart, parts_of, pause_s
from knouds_harness.judging.claim import answer
from knouds_harness.judging.context import Context
from knouds_harness.judging.engine import PROFILE_CHECK, claims_of, contradiction_finding
from knouds_harness.judging.rule.resources import KnownResources
from knouds_harness.locations import SANDBOX
from knouds_harness.printable import counted
from knouds_harness.runs.findings import Finding, Verdict
from knouds_harness.runs.record import RunRecord
from knouds_harness.suite.replay.repeated_tests import RepeatedTests
from knouds_harness.suite.replay.replay_judgement import (
    GIVES_NAMES,
    CannotTell,
    ReplayStatus,
    is_shown_by_suite,
    judge_again,
    newly_given,
    renamed,
    with_members_of_now,
)
from knouds_harness.targets.builtin import open_target
from knouds_harness.targets.guards import Guard
from knouds_harness.targets.personas import Persona, Secret
from knouds_harness.targets.profile import Target

_OF_SEVERAL_EXCHANGES: Final = frozenset({"rate_limits", "concurrency", "webhooks"})
_TESTS_OF_RACES: Final = "test_concurrency.py::"
_OF_HISTORY: Final = frozenset({"listUsage", "listUsageModels"})
"""Operations whose responses depend on earlier runs, also of other tests."""
_MOST_TRIES: Final = 5
"""Tries to show a race."""


@dataclass(frozen=True)
class Replayed:
    """One finding, whether it still stands, and why."""

    finding: Finding
    status: ReplayStatus
    reason: str


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """How findings are replayed.

    Attributes:
        faults: Promises that the built-in sandbox breaks; None for those of the run.
        legal: Seed of the sandbox's choices where no source decides; None for that of the run.
        between: Seed of what stands before the sandbox; None for that of the run.
        every_finding: Replay also findings that do not fail the run.
    """

    faults: tuple[str, ...] | None = None
    legal: str | None = None
    between: str | None = None
    yes_production: bool = False
    every_finding: bool = False

    def of_sandbox(self, record: RunRecord) -> Mapping[str, Any]:
        """Return the options of the built-in sandbox: those of the run, unless others are given."""
        setup = record.setup
        return {
            "seed": setup.seed,
            "faults": setup.faults if self.faults is None else self.faults,
            "legal": self.legal or setup.legal,
            "between": self.between or setup.between,
        }


@dataclass(kw_only=True)
class Replayer:
    """Replays findings on one target; a sandbox that a request may have changed is restarted.

    Attributes:
        show: Is told what is being done, in a line.
        left: What could not be deleted on the target.
        runs: Folders of the repeated tests' runs.
    """

    record: RunRecord
    document: Document
    target_name: str
    conditions: Conditions = field(default_factory=Conditions)
    resources: ExitStack = field(default_factory=ExitStack)
    wait: Callable[[float], None] = time.sleep
    show: Callable[[str], None] = lambda _: None
    left: tuple[str, ...] = ()
    runs: list[Path] = field(default_factory=list)
    _client: Client | None = None
    _personas: Mapping[str, Persona] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._shapes = ShapeJudge(self.document)
        self._made = frozenset(_names_made(self.record))

    def replay_all(self, findings: Sequence[Finding]) -> Iterator[Replayed]:
        """Send again what each finding rests on; if that does not tell, run the test that showed it.

        Raises:
            GuardStop: A run was charged more than the limit of credits.
        """
        unsettled: list[Replayed] = []
        for number, finding in enumerate(findings, start=1):
            requests = counted(len(finding.steps) or 1, "request")
            self.show(f"sending {requests} of finding {number} of {len(findings)} again: {finding.fact}")
            replayed = self.replay(finding)
            if replayed.status is ReplayStatus.OPEN and is_shown_by_suite(finding):
                unsettled.append(replayed)
            else:
                yield replayed
            if self._client is not None and self._client.guard.budget.overcharge is not None:
                raise GuardStop(self._client.guard.budget.overcharge)
        if unsettled:
            yield from self._by_their_tests(unsettled)

    def _by_their_tests(self, unsettled: Sequence[Replayed]) -> Iterator[Replayed]:
        self._client = None
        self.resources.close()  # the target may admit only one client at a time
        for number in range(1, _MOST_TRIES + 1):
            tests = {each.finding.test for each in unsettled}
            words = f"running {counted(len(tests), 'test')} again for {counted(len(unsettled), 'finding')}"
            self.show(f"{words}, try {number} of at most {_MOST_TRIES}")
            repeated = self._repeated(tests)
            judged = [self._judged(each, repeated, number) for each in unsettled]
            yield from (each for each in judged if each.status is not ReplayStatus.UNSEEN)
            unsettled = [each for each in judged if each.status is ReplayStatus.UNSEEN]
            if not unsettled:
                return
        yield from unsettled

    def _repeated(self, tests: Collection[str]) -> RepeatedTests:
        setup = self.record.setup
        options = {"target": self.target_name, "seed": setup.seed, "examples": setup.examples}
        if self.target_name == SANDBOX:
            options |= self.conditions.of_sandbox(self.record)
        repeated = RepeatedTests.repeat(
            tests,
            show=self.show,
            **options,
            yes_production=self.conditions.yes_production,
            runs_folder=self.record.folder.absolute(),
        )
        if repeated.run is not None and repeated.run.is_begun:
            self.runs.append(repeated.run.recorder.writer.folder)
        self.left += tuple(repeated.left)
        return repeated

    def _judged(self, before: Replayed, repeated: RepeatedTests, tries: int) -> Replayed:
        finding = before.finding
        try:
            status, reason = repeated.judge(finding)
        except CannotTell as reason_why:
            return replace(before, reason=str(reason_why))
        if status is ReplayStatus.GONE and finding.test.startswith(_TESTS_OF_RACES):
            status = ReplayStatus.UNSEEN
            reason = f"in {tries} tries of its test; a race may show another time"
        return replace(before, status=status, reason=reason)

    def replay(self, finding: Finding) -> Replayed:
        """Send the request of one finding again, or the sequence that it needs, and judge the response."""
        try:
            if finding.check == PROFILE_CHECK:
                return Replayed(finding, *self._profile_again(finding))
            steps = self._evidence(finding)
            answers = self._sent_again(steps)
            context = Context(
                document=self.document,
                shapes=self._shapes,
                keys=self._personas,
                resources=self._known(answers),
            )
            status, reason = judge_again(finding, steps, answers, context)
        except CannotTell as reason_why:
            status, reason = ReplayStatus.OPEN, str(reason_why)
        return Replayed(finding=finding, status=status, reason=reason)

    def _known(self, answers: Sequence[Exchange]) -> KnownResources:
        """Return what the target's profile and the answers so far tell of what is there."""
        target = self._opened().target
        known = KnownResources(
            target.workflows, target.models, user_of=lambda persona: self._personas[persona].user
        )
        for each in answers:
            known.note(each)
        return known

    def _profile_again(self, finding: Finding) -> tuple[ReplayStatus, str]:
        """Return whether the target still contradicts its profile in the same place."""
        looked = check_profile(self._opened())
        for each in looked.contradictions:
            if contradiction_finding(each, document=self.document).fingerprint == finding.fingerprint:
                return ReplayStatus.STANDS, f"{each.target_says}: {each.either}"
        asked = finding.operation, finding.persona
        for now in looked.exchanges:
            if (now.request.operation_id, now.request.persona) == asked and _tells(now):
                return ReplayStatus.GONE, f"answered {answer(now)}, which does not contradict the profile"
        raise CannotTell("the profile and the target were not compared there")

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
        if is_shown_by_suite(finding) and self._is_relation(finding, found):
            raise CannotTell("its check relates several responses")
        return found

    def _is_relation(self, finding: Finding, steps: Sequence[Exchange]) -> bool:
        """Whether the finding needs more than sending its requests again and judging the one response."""
        shown_by = self.record.exchange_by_id[finding.exchange_id or ""]
        if shown_by.request.operation_id in _OF_HISTORY and finding.where.startswith("/"):
            return True
        if any(part.is_at_once and shown_by in part.steps for part in parts_of(steps)):
            return True  # next time, another of the concurrent requests may get this response
        context = Context(document=self.document, shapes=self._shapes, keys=self.record.setup.target.personas)
        return claims_of(finding.check, shown_by, context) is None

    def _opened(self) -> Client:
        if self._client is None:
            options = self.conditions.of_sandbox(self.record) if self.target_name == SANDBOX else {}
            target = self.resources.enter_context(open_target(self.target_name, **options))
            guard = Guard(target, yes_production=self.conditions.yes_production)
            self._client = self.resources.enter_context(
                Client(target=target, guard=guard, created=self._created_on(target))
            )
            self._personas = self._client.personas
            first_contact(self._client)
        return self._client

    def _created_on(self, target: Target) -> CreatedWorkflows:
        """Return a ledger of this replay, so that ``cleanup`` deletes what it leaves; the sandbox just ends.

        The run's own ledger may come from elsewhere: nothing in it may be changed or deleted.
        """
        if self.target_name == SANDBOX:
            return CreatedWorkflows(target=target)
        path = self.record.folder / f"created-{token_hex(6)}.jsonl"
        return CreatedWorkflows(target=target, ledger=Ledger(write=partial(append, path)))

    def _sent_again(self, steps: Sequence[Exchange]) -> list[Exchange]:
        client = self._opened()
        answers: list[Exchange] = []
        try:
            for part in parts_of(steps):
                if answers:
                    self.wait(pause_s(steps[len(answers) - 1], part.steps[0]))
                answers += self._part_again(part, client, list(zip(steps, answers, strict=False)))
        except (GuardStop, NotSent) as refused:
            raise CannotTell(f"a guard forbids it: {str(refused).partition(chr(10))[0]}") from None
        finally:
            self._undo(steps, answers, client)
        return answers

    def _part_again(
        self, part: SequencePart, client: Client, answered: list[tuple[Exchange, Exchange]]
    ) -> Iterator[Exchange]:
        """Send the requests of one part, at once or one by one, and yield their exchanges."""
        if part.is_at_once:
            prepared = [self._prepared(step, client, answered) for step in part.steps]
            with ThreadPoolExecutor(len(prepared)) as senders:
                yield from senders.map(lambda each: client.send(each[0], key=each[1]), prepared)
            return
        for step in part.steps:
            if step.is_control:
                now = self._minted(step, client, answered)
            else:
                request, key = self._prepared(step, client, answered)
                now = client.send(request, key=key)
            yield now
            answered.append((step, now))

    def _prepared(
        self, step: Exchange, client: Client, answered: Sequence[tuple[Exchange, Exchange]]
    ) -> tuple[Request, Secret | None]:
        """Return a step's request as it is sent now, and its key if that is not the persona's own."""
        given = _given(answered)
        if PLACEHOLDER.search(step.request.path) or PLACEHOLDER.search(_text_of(step.request)):
            raise CannotTell("it holds a secret's placeholder, or text of the target that looks like one")
        request = renamed(with_members_of_now(step.request, answered), given)
        return self._restored(step, request, client, given.values()), self._key(step, client)

    def _minted(
        self, step: Exchange, client: Client, answered: Sequence[tuple[Exchange, Exchange]]
    ) -> Exchange:
        """Repeat a step with the control plane; later requests send the key that it mints now."""
        payload = json.loads(renamed(step.request, _given(answered)).body or b"{}")
        if "{{" in json.dumps(payload):
            raise CannotTell("it needs a key with a webhook of the run")
        what, before = step.request.path.rpartition("/")[2], body_of(step)
        if what not in ("keys", "accounts", "clock"):
            raise CannotTell(f"no test asks a control plane for {what}")
        try:
            answer = ask_control(client, what, payload)
        except UsageError:
            raise CannotTell("it needs a control plane, which the target does not have") from None
        if what == "keys":
            name = str(before.get("name"))
            client.add_persona(
                Persona(
                    name=name,
                    secret=Secret(str(answer["secret"]), f"key:{name}"),
                    capabilities=frozenset(payload["capabilities"]),
                    user=str(payload["account"]),
                    tier="",
                )
            )
        return replace(step, body=json.dumps({**before, "account": answer.get("account")}).encode())

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
        if done:
            removed = client.remove_left()
            self.left = removed.left
            if removed.was_interrupted:
                raise KeyboardInterrupt

    def _restored(self, step: Exchange, request: Request, client: Client, given: Collection[str]) -> Request:
        """Put the keys back into a request; fails if one is unknown, or if it needs resources of the run.

        Keys are restored in headers and in the query, where any other text with braces is encoded in the URL.
        ``given`` are the names that the target has given in the replay.
        """
        if request.persona is not None:
            _secret(request.persona, client)
        made = self._made - {*client.target.workflows, *given}
        body = _text_of(request)
        if not made.isdisjoint(request.path_values.values()) or any(f'"{name}"' in body for name in made):
            raise CannotTell("it is about a resource that was made for the run")
        self._require_price(request, client)
        return replace(
            request,
            cost_credits=0.0,  # a record says nothing about the price
            query=tuple(
                (name, _with_keys(value, client) if f"{name}={value}" in step.url else value)
                for name, value in request.query
            ),
            headers=tuple((name, _with_keys(value, client)) for name, value in request.headers),
        )

    def _require_price(self, request: Request, client: Client) -> None:
        """Refuse a run of which the profile does not say what it costs: a record may come from anywhere.

        Its inputs may cost more than those of the profile, and what it has created may have generators.
        """
        resource = resource_named(request.path, client.target)
        names = request.effect.names(Action.RUN) - {NO_SUCH_MODEL, NO_SUCH_WORKFLOW}
        if names and self.target_name != SANDBOX:
            if resource is None or names != {resource.name}:
                raise CannotTell("the profile does not have what it runs, so its cost is unknown")
            if not has_inputs(request.body, resource.inputs):
                raise CannotTell("its inputs are not those of the profile, so its cost is unknown")
        pricing = Pricing(client.send, client.target, estimates=client.estimates)
        if resource is not None and pricing.worst_case(resource) is None:
            raise CannotTell("its cost is unknown")

    def _key(self, before: Exchange, client: Client) -> Secret | None:
        headers = before.request.headers
        given = [value for name, value in headers if name.lower() == KEY_HEADER and value != KEY_HERE]
        added = before.keys_sent[len(given) :]  # the key that the client added comes last
        if added and before.alteration is not None:
            valid = _secret(before.alteration.label.removeprefix("key:"), client)
            return Secret(before.alteration.apply(valid), "key:altered")
        return Secret(_with_keys(added[0], client), "key:unknown") if added else None


def _given(answered: Iterable[tuple[Exchange, Exchange]]) -> dict[str, str]:
    """Map names that the target gave in the run to those that it gave now."""
    return {old: new for pair in answered for old, new in newly_given(*pair).items()}


def _names_made(record: RunRecord) -> Iterator[str]:
    for exchange in record.exchange_by_id.values():
        if exchange.request.action in (Action.WRITE, Action.RUN) and exchange.status in (200, 201, 202):
            given = map(exchange.members.get, GIVES_NAMES)
            yield from (name for name in given if name and isinstance(name, str))


def _text_of(request: Request) -> str:
    return (request.body or b"").decode("utf-8", "surrogateescape")


def _with_keys(text: str, client: Client) -> str:
    return PLACEHOLDER.sub(lambda found: _secret(found[1].removeprefix("key:"), client), text)


def _secret(persona: str, client: Client) -> str:
    if persona not in client.personas:
        raise CannotTell(f'key "{persona}" is not in the profile')
    return client.secret_of(persona).reveal()


def _tells(exchange: Exchange) -> bool:
    """Whether the response says something about the request: no 429, 5xx or missing response."""
    return exchange.status is not None and exchange.status != 429 and exchange.status < 500
