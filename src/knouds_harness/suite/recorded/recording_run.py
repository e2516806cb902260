"""Record: run the tests that show outcomes, and keep their responses."""

from collections.abc import Callable, Collection, Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.metadata import version

import pytest
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from knouds_harness.errors import HarnessError
from knouds_harness.exchange.evidence import Exchange
from knouds_harness.exchange.recording import BASE_URL, BUILT_IN, Recording, RecordingOrigin
from knouds_harness.exchange.traffic_redaction import RecordingRedactor
from knouds_harness.judging.checks import all_checks, capabilities
from knouds_harness.judging.engine import checks_of_every_answer
from knouds_harness.suite.plugin import ONE_BY_ONE, UNTESTED, opened_run
from knouds_harness.suite.recorded.outcomes import (
    Outcome,
    OutcomeName,
    Plan,
    all_outcomes,
    choose_outcomes,
    make_plan,
    tests_of,
)
from knouds_harness.suite.recorded.verification import judgement_of
from knouds_harness.suite.recorder import Received
from knouds_harness.suite.running import SessionErrors, run_pytest, show_wait
from knouds_harness.suite.session import ConformanceRun
from knouds_harness.suite.support.test_data import disputed_slug
from knouds_harness.suite.untested import Untested
from knouds_harness.targets.needs import MAY_READ
from knouds_harness.targets.needs.webhooks import mints_webhooks
from knouds_harness.targets.resources import Persona

_CHECKS_OF_EVERY_ANSWER = frozenset(each.id for each in checks_of_every_answer())


@dataclass(frozen=True, kw_only=True)
class KeptAnswer:
    """The result for one outcome that was to be recorded.

    Attributes:
        problem: Why there is no recording of this outcome; empty if there is one.
        is_untested: Whether the problem lies in the profile or the target's state, not in a wrong response.
    """

    outcome: Outcome
    recording: Recording | None = None
    problem: str = ""
    is_untested: bool = False


@dataclass(eq=False, kw_only=True)  # pytest hashes plugins
class RecordingRun(SessionErrors):
    """A pytest plugin that runs the tests that show outcomes, one by one, and keeps their responses.

    Attributes:
        agree: Called with the plan once the target has responded; raises if nothing may be sent.
    """

    recorded: Collection[OutcomeName]
    patterns: Collection[str]
    agree: Callable[[Plan, ConformanceRun], None]
    console: Console
    outcomes: list[Outcome] = field(default_factory=list)
    answers: list[KeptAnswer] = field(default_factory=list)
    plan: Plan = field(init=False)
    run: ConformanceRun = field(init=False)
    _chosen: tuple[list[Outcome], list[Outcome]] | None = None
    _redactor: RecordingRedactor = field(init=False)
    _refused: HarnessError | None = None

    def __post_init__(self) -> None:
        columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
        is_hidden = not self.console.is_terminal
        self._progress = Progress(*columns, console=self.console, transient=True, disable=is_hidden)
        self._task = self._progress.add_task("", total=None)

    def start(self, arguments: list[str]) -> int:
        """Run pytest; returns its exit code."""
        with self._progress:
            code = run_pytest(arguments, self)
        if self._refused is not None:
            raise self._refused
        return code

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        config.stash[ONE_BY_ONE] = True
        self.outcomes = all_outcomes(items)
        with self._stopping():
            chosen, _ = self._chosen = choose_outcomes(
                self.outcomes, recorded=self.recorded, patterns=self.patterns
            )
        items[:] = tests_of(chosen)

    def pytest_runtestloop(self, session: pytest.Session) -> None:
        """Plan after the target was reached and before the first test."""
        if self._chosen is None:
            return
        self.run = run = opened_run(session.config)
        run.lock.on_long_wait = partial(show_wait, self.console)
        self._redactor = RecordingRedactor(base_url=run.target.base_url, personas=run.target.personas)
        price = run.tester.pricing.worst_case if run.is_begun else lambda _: 0.0
        self.plan = make_plan(*self._chosen, target=run.target, price=price)
        with self._stopping():
            self.agree(self.plan, run)
        self._progress.update(self._task, total=len(session.items))
        if run.is_begun:
            run.recorder.keeps_answers = True
        if run.is_begun and MAY_READ.find(run.target) is not None:
            self._meet_users()

    def _meet_users(self) -> None:
        """Learn the ids and addresses of the profile's users, so that recordings show their names instead."""
        run = self.run
        if run.target.webhook:
            self._redactor.hide_receiver(run.target.webhook.url)
        if mints_webhooks(run.target):
            self._redactor.hide_receiver(run.receiver.url("/"))
        key_by_user = {each.user: each for each in run.target.personas.values() if each.state == "active"}
        for user, persona in key_by_user.items():
            with suppress(Untested), self._stopping():
                self._redactor.introduce(run.tester.whoami(persona), user)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Keep the responses that a test got."""
        report = yield
        error = call.excinfo.value if call.excinfo else item.stash.get(UNTESTED, None)
        is_over = call.when == "call" or (call.when == "setup" and error is not None)
        if is_over and not isinstance(error, HarnessError):
            outcomes = [each for each in self.plan.outcomes if each.test is item]
            self.answers += [self._kept(each, error, was_called=call.when == "call") for each in outcomes]
        if call.when == "teardown":
            with suppress(Untested, HarnessError):
                self.run.test_data.await_all_ends()  # so that the next recordings show nothing in flight
            self._progress.update(self._task, advance=1, description=item.name)
        return report

    def _kept(self, outcome: Outcome, error: BaseException | None, *, was_called: bool) -> KeptAnswer:
        shown = self.run.recorder.shown
        came = shown.kept.get(str(outcome)) if was_called else None
        if came is None and isinstance(error, Untested):
            return KeptAnswer(outcome=outcome, problem=f"it needs {error}", is_untested=True)
        if came is None and not outcome.is_named:
            came = shown.answers.get(outcome.operation)
        exchange = came.exchange if isinstance(came, Received) else came
        if came is None or exchange is None:
            return KeptAnswer(outcome=outcome, problem="no response showed it", is_untested=True)
        if exchange.status is None:
            return KeptAnswer(outcome=outcome, problem=f"no response: {exchange.failure}")
        asked = exchange.request.operation_id
        if isinstance(came, Exchange) and asked != outcome.operation:
            return KeptAnswer(outcome=outcome, problem=f"only {asked} showed it", is_untested=True)
        return KeptAnswer(
            outcome=outcome, recording=self._recording(outcome, came), problem=self._misses(outcome, exchange)
        )

    def _misses(self, outcome: Outcome, exchange: Exchange) -> str:
        if slug := disputed_slug(exchange, self.run.client.created):
            return (
                f'it breaks a promise: create answered "{slug}", which does not show the name that was sent'
            )
        if outcome.statuses and exchange.status not in outcome.statuses:
            expected = " or ".join(map(str, outcome.statuses))
            return f"answered {exchange.answer}, expected {expected}"
        if broken := self.run.recorder.broken_by_exchange.get(exchange.id):
            return f"it breaks a promise: {broken[0]}"
        return ""

    def _recording(self, outcome: Outcome, came: Exchange | Received) -> Recording:
        run, persona = self.run, None
        if isinstance(came, Received):
            exchange = self._redactor.delivery(came.exchange, raw=came.raw, secret=came.secret)
        else:
            exchange = self._redactor.ours(came)
            persona = run.client.persona(came.request.persona) if came.request.persona else None
        claimed = run.recorder.checks_by_exchange[exchange.id] - _CHECKS_OF_EVERY_ANSWER
        if persona and exchange.is_success and self._is_known_to_suffice(persona, exchange):
            claimed |= {capabilities.admitted.id}
        return Recording(
            operation=outcome.operation,
            outcome=outcome.outcome,
            says=outcome.says,
            exchange=exchange,
            kind="delivery" if isinstance(came, Received) else "answer",
            story=outcome.story,
            checks=tuple(each for each in all_checks() if each in claimed),
            held=tuple(sorted(persona.capabilities)) if persona else None,
            tier=persona.tier if persona else None,
            origin=RecordingOrigin(
                target=run.target.name,
                server=BUILT_IN if run.target.is_built_in else BASE_URL,
                recorded_at=exchange.started_at,
                contract_version=run.document.version,
                tool_version=version("knouds-harness"),
                seed=run.options.seed,
            ),
        )

    def _is_known_to_suffice(self, persona: Persona, exchange: Exchange) -> bool:
        """Whether the documents say that the key's capabilities admit the request."""
        operation = self.run.document.operation_by_id[exchange.request.operation_id or ""]
        is_open = persona.is_open and bool(operation.alternatives)
        return not is_open and operation.admits(persona.capabilities, exchange.request.path_values)

    def judged(self) -> list[KeptAnswer]:
        """Have checks judge the recordings, and add the facts that each shows, or the promise it breaks."""
        recordings = [each.recording for each in self.answers if each.recording]
        judged = []
        for kept in self.answers:
            if (recording := kept.recording) is None:
                judged.append(kept)
                continue
            story = [each for each in recordings if each.story and each.story == recording.story]
            judgement = judgement_of(recording, story=story, waivers=self.run.target.waivers)
            broken = f"it breaks a promise: {judgement.breaches[0]}" if judgement.breaches else ""
            shown = replace(recording, facts=judgement.facts)
            judged.append(replace(kept, recording=shown, problem=kept.problem or broken))
        return judged

    @contextmanager
    def _stopping(self) -> Iterator[None]:
        """End the session on an error, which ``start`` then raises."""
        try:
            yield
        except HarnessError as error:
            self._refused = error
            pytest.exit(str(error), returncode=error.exit_code)
