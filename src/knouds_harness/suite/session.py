"""One conformance run: opens the target, starts the record, and closes everything at its end."""

import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Final

from knouds_harness.contract.document import Document, shipped_document
from knouds_harness.contract.operations import Action
from knouds_harness.errors import ExitCode, GuardStop, HarnessError, RunRecordError, UsageError
from knouds_harness.exchange.client import Client
from knouds_harness.exchange.created_workflows import CreatedWorkflows
from knouds_harness.exchange.creation_record import Ledger
from knouds_harness.exchange.curl import ShellNames
from knouds_harness.exchange.profile_check import Contradiction, ProfileCheck, check_profile, first_contact
from knouds_harness.exchange.recording_folder import RecordingFolder
from knouds_harness.exchange.user_state import alone_on
from knouds_harness.exchange.webhooks import Receiver
from knouds_harness.exchange.workflow_removal import MOST_WAIT_S
from knouds_harness.judging.checks import all_checks
from knouds_harness.judging.claim import Check
from knouds_harness.judging.user_checks import UserChecks
from knouds_harness.locations import recordings_path
from knouds_harness.printable import first_few, printable
from knouds_harness.runs.findings import LEFT_BEHIND
from knouds_harness.runs.run_file import RunSetup, run_setup
from knouds_harness.runs.unsettled import note_usage, settle_earlier
from knouds_harness.runs.writer import RunWriter
from knouds_harness.suite.concurrent_tests import RunLock
from knouds_harness.suite.nights import Nights, read_nights, write_nights
from knouds_harness.suite.options import RunOptions
from knouds_harness.suite.recorder import FindingRecorder
from knouds_harness.suite.request_failures import never_ending
from knouds_harness.suite.run_outcome import decided, expected_facts, least_verified
from knouds_harness.suite.selection import Spending
from knouds_harness.suite.support.execution_traces import Executions
from knouds_harness.suite.support.test_data import TestData
from knouds_harness.suite.support.webhook_executions import DeliveredExecutions
from knouds_harness.suite.tester import Tester
from knouds_harness.targets.builtin import open_target
from knouds_harness.targets.guards import Guard
from knouds_harness.targets.needs.keys import active_keys
from knouds_harness.targets.needs.webhooks import mints_webhooks
from knouds_harness.targets.profile import Target
from knouds_harness.targets.resources import Persona, Waiver

_MOST_NAMED: Final = 10
_DISTANT_MS: Final = 5.0
"""Time from connecting to the first response; below this, threads cost more than they save."""


@dataclass(kw_only=True)
class ConformanceRun:
    """An opened target with all that tests need.

    Attributes:
        profile: The target as its profile describes it.
        target: The profile without what the target contradicts; equal to it before ``begin``.
        selected: The facts that the selected tests are about; None for all.
        cut: Ids of the tests that they were to suffice for, and did not.
        ended: Ids of the tests that have ended; in a run that was stopped, not of all.
        left: Lines that say what could not be deleted; empty if everything was.
        is_distant: Responses take so long that independent tests should run side by side.
    """

    options: RunOptions
    profile: Target
    document: Document
    resources: ExitStack
    outcome: str | None = None
    exit_code: ExitCode = ExitCode.KEPT
    note: str = ""
    harness_errors: list[str] = field(default_factory=list)
    user_errors: list[str] = field(default_factory=list)
    user_checks: UserChecks = field(default_factory=UserChecks)
    is_begun: bool = False
    is_distant: bool = False
    selected: frozenset[str] | None = None
    spending: Spending = field(default_factory=Spending)
    cut: list[str] = field(default_factory=list)
    ended: set[str] = field(default_factory=set)
    nights: Nights = field(default_factory=Nights)
    contradictions: tuple[Contradiction, ...] = ()
    left: tuple[str, ...] = ()
    target: Target = field(init=False)
    recorder: FindingRecorder = field(init=False)
    lock: RunLock = field(default_factory=RunLock)
    _checked: ProfileCheck | None = None
    _every_exchange: tuple[Check[[]], ...] = ()
    least: int | None = None
    expected: frozenset[str] = frozenset()
    _unsteady: tuple[Waiver, ...] = ()

    def __post_init__(self) -> None:
        self.target = self.profile

    def add_user_checks(self, of_tests: UserChecks, of_file: UserChecks) -> None:
        """Add the user's facts and checks to those of the harness; call it before ``begin``."""
        added = self.user_checks = of_tests.joined(of_file)
        self._every_exchange = tuple(of_file.checks.values())
        if added.facts:
            self.document = replace(self.document, facts={**self.document.facts, **added.facts})

    def begin(self) -> None:
        """Start the record, reach the target, and compare its profile with its responses."""
        self.nights = read_nights(self.options.rotate)
        if self.options.rotate is not None:  # before anything is paid for: it has to be noted afterwards
            write_nights(self.options.rotate, self.nights)
        if self.options.alarm_after > 1 and self.options.rotate is None:
            raise UsageError("--alarm-after counts nights\n  Name the file that keeps them: --rotate FILE")
        text = self.options.min_verified
        self.least = None if text is None else least_verified(text, of=len(self.asked))
        self.expected = expected_facts(self.profile)
        self.resources.enter_context(alone_on(self.profile, _tell))
        writer = self.resources.enter_context(
            RunWriter(self.options.runs_folder, kind="check", target=self.profile, setup=self._setup())
        )
        today = datetime.now(UTC).date()
        self._unsteady = self.nights.waivers(self.options.alarm_after, self.asked, today)
        self.recorder = FindingRecorder(
            document=self.document,
            writer=writer,
            waivers=(*self.target.waivers, *self._unsteady),
            today=today,
            strict=self.options.strict,
            names=ShellNames.of(self.target),
            user_checks=self._every_exchange,
        )
        self.is_begun = True
        self.is_distant = first_contact(self.client).elapsed_ms > _DISTANT_MS
        for line in settle_earlier(self.options.runs_folder, self.client):
            _tell(line)
        if Action.RUN in self.target.limits.allow:  # before anything that may be charged
            self.client.watch_charges(each.user for each in active_keys(self.target))
        # On a near target, one request at a time is faster, and the order is the same in each run.
        self._checked = check_profile(self.client, most_at_once=None if self.is_distant else 1)
        self.target, self.contradictions = self._checked.target, self._checked.contradictions
        for contradiction in self.contradictions:
            self.recorder.record_contradiction(contradiction)

    @property
    def asked(self) -> frozenset[str]:
        """The facts that the run is about."""
        return frozenset(self.document.facts) if self.selected is None else self.selected

    @property
    def never_ending(self) -> tuple[str, ...]:
        """The keys whose executions do not end."""
        return never_ending(self.recorder.steps.executions, self.profile)

    @cached_property
    def client(self) -> Client:
        guard = Guard(self.profile, yes_production=self.options.yes_production)
        self.recorder.writer.budget = guard.budget
        return self.resources.enter_context(
            Client(
                target=self.profile,
                guard=guard,
                created=CreatedWorkflows(
                    target=self.profile, ledger=Ledger(write=self.recorder.writer.add_created)
                ),
                on_exchange=self.recorder.keep,
                while_waiting=self.lock.released,
                reads_usage=True,
            )
        )

    @cached_property
    def tester(self) -> Tester:
        checked, self._checked = self._checked, None  # frees what the tester does not keep
        return Tester(
            client=self.client,
            document=self.document,
            recorder=self.recorder,
            wait=self.lock.wait,
            lock=self.lock,
            checked=checked,
        )

    @cached_property
    def test_data(self) -> TestData:
        return TestData(self.tester, unpaid=self.spending.unpaid_parts)

    @property
    def personas(self) -> list[Persona]:
        """The active keys of accounts that may use keys, in the profile's order."""
        working = active_keys(self.target)
        return [persona for persona in self.target.personas.values() if persona in working]

    @cached_property
    def executions(self) -> Executions:
        return Executions(self.tester, self.test_data)

    @cached_property
    def deliveries(self) -> DeliveredExecutions:
        return DeliveredExecutions(self.tester, self.executions, self.receiver)

    @cached_property
    def receiver(self) -> Receiver:
        """Accepts deliveries until the run ends, at the profile's ``[webhook]`` address or a free port."""
        listen = self.target.webhook.receiver if self.target.webhook else None
        if listen is None or mints_webhooks(self.target):
            return self.resources.enter_context(Receiver())
        return self.resources.enter_context(Receiver(*listen))

    def stop(self, outcome: str, error: HarnessError) -> None:
        self.outcome, self.exit_code, self.note = outcome, error.exit_code, str(error)

    def conclude(self, *, was_interrupted: bool) -> ExitCode:
        """Delete what was made on the target, finish the record and return the exit code."""
        self._clean_up(is_urgent=was_interrupted)
        if self.outcome is None and not was_interrupted:
            self._conclude_costs()
        self.recorder.begin_test()
        self.tester.judge_first_contacts()
        keys = self.never_ending
        users = {self.client.persona(key).user for key in keys}
        of_accounts = [each.name for each in self.client.personas.values() if each.user in users]
        self.recorder.writer.note_endless(keys, of_accounts=of_accounts)
        self.recorder.record_drift()
        if self.outcome is None:
            self.outcome, self.exit_code, lines = decided(self, was_interrupted=was_interrupted)
            self.note = "\n".join(lines)
        about_nights = self._note_night(self.options.rotate) if self.options.rotate else []
        if self.left and self.exit_code is ExitCode.KEPT:
            self.outcome, self.exit_code = "broken", ExitCode.BREACH
        note = "\n".join(filter(None, [self.note, *self.left, *about_nights]))
        self.recorder.writer.finish(self.outcome or "", int(self.exit_code), note=note)
        return self.exit_code

    def _conclude_costs(self) -> None:
        """Compare what was charged with the limit: a run that cost more never passes."""
        budget, writer = self.client.guard.budget, self.recorder.writer
        with suppress(HarnessError):
            shown = self.client.note_charges()
            note_usage(writer, self.profile, shown, counted_credits=budget.spent_credits)
        if budget.overcharge is not None:
            self.stop("stopped", GuardStop(budget.overcharge))

    def _note_night(self, path: Path) -> list[str]:
        """Add this night to the file of ``--rotate``; return lines about all nights together."""
        findings, excused = self.recorder.findings.values(), {each.excuse for each in self._unsteady}
        nights = self.nights.with_night(
            self.recorder.today,
            paid=(self.spending.paid & self.ended).difference(self.cut),
            verified=self.recorder.writer.verified_facts,
            broken={each.fact for each in findings if self.recorder.fails(each) or each.waived_by in excused},
        )
        lines = list(nights.lines(self.asked, self.spending.beyond))
        try:
            write_nights(path, nights)
        except RunRecordError as error:
            if self.exit_code is ExitCode.KEPT:
                self.outcome, self.exit_code = "stopped", error.exit_code
            lines.insert(0, str(error))
        return lines

    def _clean_up(self, *, is_urgent: bool) -> None:
        """Delete what was made; waits for a target that throttles, unless ``is_urgent``."""
        left = self.client.remove_left(most_wait_s=0 if is_urgent else MOST_WAIT_S).left
        if left:
            command = f"knouds-harness cleanup {self.recorder.writer.folder}"
            slugs_by_reason: dict[str, list[str]] = defaultdict(list)
            for slug, _, reason in (each.partition(": ") for each in left):
                slugs_by_reason[reason].append(slug)
            lines = (
                f"  {first_few(slugs, _MOST_NAMED)}: {reason}" for reason, slugs in slugs_by_reason.items()
            )
            self.left = (f"{LEFT_BEHIND} ({command} tries again):", *lines)

    def _setup(self) -> RunSetup:
        checks = {**all_checks(), **self.user_checks.checks}.values()
        facts, selected = self.document.facts, self.selected
        return replace(
            run_setup(self.profile, seed=self.options.seed, checks=[each.recorded for each in checks]),
            facts=facts,
            selected=None if selected is None else tuple(fact for fact in facts if fact in selected),
            strict=self.options.strict,
            recordings=RecordingFolder.open(recordings_path()).names_by_fact(),
            **self.options.of_sandbox,
            examples=self.options.examples_per_property,
        )


def _tell(line: str) -> None:
    """Print a line at once: pytest captures what is written to ``sys.stderr``."""
    if sys.__stderr__ is not None:
        sys.__stderr__.write(f"{printable(line)}\n")
        sys.__stderr__.flush()


@contextmanager
def open_run(options: RunOptions) -> Iterator[ConformanceRun]:
    """Open the target and read the document; starts, seeds and stops the built-in sandbox."""
    document = shipped_document()
    with ExitStack() as resources:
        target = resources.enter_context(open_target(options.target, **options.of_sandbox))
        profile = target.spending(options.credits)
        yield ConformanceRun(options=options, profile=profile, document=document, resources=resources)
