"""Replay a finding: send its request again, run its test, or compare target and profile again."""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from secrets import token_hex
from typing import Final

from knouds_harness.contract.operations import Action
from knouds_harness.errors import GuardStop, NotSent
from knouds_harness.exchange.client import Client
from knouds_harness.exchange.created_workflows import CreatedWorkflows
from knouds_harness.exchange.creation_record import Ledger, append
from knouds_harness.exchange.evidence import (
    KEY_HEADER,
    KEY_HERE,
    NO_SUCH_MODEL,
    NO_SUCH_WORKFLOW,
    Exchange,
    Request,
)
from knouds_harness.exchange.pricing import Pricing, has_inputs, resource_named
from knouds_harness.exchange.profile_check import check_profile, first_contact
from knouds_harness.exchange.redaction import PLACEHOLDER
from knouds_harness.judging.context import Context
from knouds_harness.judging.engine import PROFILE_CHECK, claims_of, contradiction_finding
from knouds_harness.judging.rule.resources import KnownResources
from knouds_harness.locations import SANDBOX
from knouds_harness.printable import counted
from knouds_harness.runs.findings import Finding, Verdict
from knouds_harness.runs.record import RunRecord
from knouds_harness.suite.options import ReplayOptions
from knouds_harness.suite.replay_judgement import (
    CannotTell,
    RepeatedTests,
    ReplayStatus,
    is_shown_by_suite,
    judge_again,
)
from knouds_harness.targets.builtin import open_target
from knouds_harness.targets.guards import Guard
from knouds_harness.targets.profile import Target
from knouds_harness.targets.secrets import Secret

_OF_SEVERAL_EXCHANGES: Final = frozenset({"rate_limits", "concurrency", "webhooks"})
_TESTS_OF_RACES: Final = "test_concurrency.py::"
_OF_HISTORY: Final = frozenset({"listUsage", "listUsageModels"})
"""Operations whose responses depend on earlier runs, also of other tests."""
_MOST_TRIES: Final = 5
"""Tries to show a race."""
_GIVES_NAMES: Final = ("slug", "executionId", "account")
"""Members of a response that name what was created."""


@dataclass(frozen=True)
class Replayed:
    """One finding, whether it still stands, and why."""

    finding: Finding
    status: ReplayStatus
    reason: str


@dataclass(kw_only=True)
class Replayer:
    """Replays findings on one target; a sandbox that a request may have changed is restarted.

    Attributes:
        show: Is told what is being done, in a line.
        runs: Folders of the repeated tests' runs.
        charged_credits: What was charged by all that has ended.
    """

    record: RunRecord
    target_name: str
    options: ReplayOptions = field(default_factory=ReplayOptions)
    resources: ExitStack = field(default_factory=ExitStack)
    show: Callable[[str], None] = lambda _: None
    left: tuple[str, ...] = ()
    runs: list[Path] = field(default_factory=list)
    charged_credits: float = 0.0
    _client: Client | None = None

    def __post_init__(self) -> None:
        self._made = frozenset(_names_made(self.record))

    def close(self) -> None:
        """End the connection to the target, or the sandbox."""
        if self._client is not None:
            self.charged_credits += self._client.guard.budget.spent_credits
        self._client = None
        self.resources.close()

    @property
    def left_credits(self) -> float | None:
        """What is left of the credits that the run was allowed; None if it was one of recorded traffic."""
        if self.record.kind == "verify":
            return None
        return max(0.0, self.record.setup.target.limits.credits - self.charged_credits)

    def replay_all(self, findings: Sequence[Finding]) -> Iterator[Replayed]:
        """Send the request of each finding again; if that does not tell, run the test that showed it."""
        unsettled: list[Replayed] = []
        for number, finding in enumerate(findings, start=1):
            self.show(f"replaying finding {number} of {len(findings)}: {finding.fact}")
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
        self.close()  # the target may admit only one client at a time
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
        of_sandbox = self.options.of_sandbox(setup) if self.target_name == SANDBOX else {}
        repeated = RepeatedTests.repeat(
            tests,
            show=self.show,
            target=self.target_name,
            examples=setup.examples,
            credits=self.left_credits,
            yes_production=self.options.yes_production,
            runs_folder=self.record.folder.absolute(),
            **{"seed": setup.seed, **of_sandbox},
        )
        if repeated.run is not None and repeated.run.is_begun:
            writer = repeated.run.recorder.writer
            self.runs.append(writer.folder)
            self.charged_credits += writer.cost_credits
            self.left += repeated.run.left
        if repeated.was_interrupted:
            raise KeyboardInterrupt
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
        """Send the request of one finding again, and judge the response."""
        try:
            if finding.check == PROFILE_CHECK:
                return Replayed(finding, *self._profile_again(finding))
            before = self._evidence(finding)
            client = self._opened()
            keys, target = client.personas, client.target
            known = KnownResources(target.workflows, target.models, user_of=lambda key: keys[key].user)
            after = self._sent_again(before, client)
            status, reason = judge_again(finding, before, after, Context(keys=keys, resources=known))
        except CannotTell as reason_why:
            status, reason = ReplayStatus.OPEN, str(reason_why)
        return Replayed(finding=finding, status=status, reason=reason)

    def _profile_again(self, finding: Finding) -> tuple[ReplayStatus, str]:
        """Return whether the target still contradicts its profile in the same place."""
        looked = check_profile(self._opened())
        for each in looked.contradictions:
            if contradiction_finding(each).fingerprint == finding.fingerprint:
                return ReplayStatus.STANDS, f"{each.target_says}: {each.either}"
        asked = finding.operation, finding.persona
        for now in looked.exchanges:
            is_told = now.status is not None and now.status != 429 and now.status < 500
            if is_told and (now.request.operation_id, now.request.persona) == asked:
                return ReplayStatus.GONE, f"answered {now.answer}, which does not contradict the profile"
        raise CannotTell("the profile and the target were not compared there")

    def _evidence(self, finding: Finding) -> Exchange:
        shown_by = self.record.exchange_by_id.get(finding.exchange_id or "")
        if shown_by is None:
            raise CannotTell("its exchange is not in the record")
        if finding.family in _OF_SEVERAL_EXCHANGES:
            raise CannotTell("its check judges several exchanges together")
        if len(finding.steps) > 1:
            raise CannotTell(f"it rests on {len(finding.steps)} requests")
        if finding.verdict is Verdict.ADDITIVE and finding.operation is None:
            raise CannotTell("it is a delivery, which the target sends")
        if is_shown_by_suite(finding) and self._is_relation(finding, shown_by):
            raise CannotTell("its check relates several responses")
        return shown_by

    def _is_relation(self, finding: Finding, shown_by: Exchange) -> bool:
        """Whether the finding needs more than sending its request again and judging the one response."""
        if shown_by.request.operation_id in _OF_HISTORY and finding.where.startswith("/"):
            return True
        context = Context(keys=self.record.setup.target.personas)
        return claims_of(finding.check, shown_by, context) is None

    def _opened(self) -> Client:
        if self._client is None:
            options = self.options.of_sandbox(self.record.setup) if self.target_name == SANDBOX else {}
            target = self.resources.enter_context(open_target(self.target_name, **options))
            target = target.spending(self.left_credits)
            guard = Guard(target, yes_production=self.options.yes_production)
            self._client = self.resources.enter_context(
                Client(target=target, guard=guard, created=self._created_on(target))
            )
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

    def _sent_again(self, before: Exchange, client: Client) -> Exchange:
        try:
            after = client.send(self._restored(before, client), key=self._key(before, client))
        except (GuardStop, NotSent) as refused:
            raise CannotTell(f"a guard forbids it: {str(refused).partition(chr(10))[0]}") from None
        if after.is_success and after.request.action is not Action.READ:
            self._undo(client)
        return after

    def _undo(self, client: Client) -> None:
        if self.target_name == SANDBOX:
            self.close()  # the next finding gets a fresh one
            return
        removed = client.remove_left()
        self.left = removed.left
        if removed.was_interrupted:
            raise KeyboardInterrupt

    def _restored(self, before: Exchange, client: Client) -> Request:
        """Put the keys back into a request; fails if one is unknown, or if it needs resources of the run.

        Keys are restored in headers and in the query, where any other text with braces is encoded in the URL.
        """
        request = before.request
        body = (request.body or b"").decode("utf-8", "surrogateescape")
        if PLACEHOLDER.search(request.path) or PLACEHOLDER.search(body):
            raise CannotTell("it holds a secret's placeholder, or text of the target that looks like one")
        if request.persona is not None:
            _secret(request.persona, client)
        made = self._made - {*client.target.workflows}
        if not made.isdisjoint(request.path_values.values()) or any(f'"{name}"' in body for name in made):
            raise CannotTell("it is about a resource that was made for the run")
        self._require_price(request, client)
        return replace(
            request,
            cost_credits=0.0,  # a record says nothing about the price
            query=tuple(
                (name, _with_keys(value, client) if f"{name}={value}" in before.url else value)
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
        if resource is not None and Pricing(client).worst_case(resource) is None:
            raise CannotTell("its cost is unknown")

    def _key(self, before: Exchange, client: Client) -> Secret | None:
        headers = before.request.headers
        given = [value for name, value in headers if name.lower() == KEY_HEADER and value != KEY_HERE]
        added = before.keys_sent[len(given) :]  # the key that the client added comes last
        if added and before.alteration is not None:
            valid = _secret(before.alteration.label.removeprefix("key:"), client)
            return Secret(before.alteration.apply(valid), "key:altered")
        return Secret(_with_keys(added[0], client), "key:unknown") if added else None


def _names_made(record: RunRecord) -> Iterator[str]:
    for exchange in record.exchange_by_id.values():
        if exchange.request.action in (Action.WRITE, Action.RUN) and exchange.status in (200, 201, 202):
            given = map(exchange.members.get, _GIVES_NAMES)
            yield from (name for name in given if name and isinstance(name, str))


def _with_keys(text: str, client: Client) -> str:
    return PLACEHOLDER.sub(lambda found: _secret(found[1].removeprefix("key:"), client), text)


def _secret(persona: str, client: Client) -> str:
    if persona not in client.personas:
        raise CannotTell(f'key "{persona}" is not in the profile')
    return client.persona(persona).secret.reveal()
