"""One conformance run: opens the target, starts the record, and closes everything at its end."""

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Final

from knouds_harness.contract.document import Document, shipped_document
from knouds_harness.contract.operations import Action
from knouds_harness.errors import ExitCode, GuardStop, HarnessError
from knouds_harness.exchange.client import Client
from knouds_harness.exchange.contradictions import Contradiction
from knouds_harness.exchange.created_workflows import CreatedWorkflows
from knouds_harness.exchange.creation_record import Ledger
from knouds_harness.exchange.curl import ShellNames
from knouds_harness.exchange.first_contact import first_contact
from knouds_harness.exchange.profile_check import ProfileCheck, check_profile
from knouds_harness.exchange.recordings.folder import RecordingFolder
from knouds_harness.exchange.user_state import alone_on
from knouds_harness.exchange.webhook_receiver import Receiver
from knouds_harness.exchange.workflow_removal import MOST_WAIT_S
from knouds_harness.judging.checks import all_checks
from knouds_harness.judging.claim import Check
from knouds_harness.judging.user_checks import UserChecks
from knouds_harness.locations import recordings_path
from knouds_harness.printable import counted, printable
from knouds_harness.runs.findings import CUT_SHORT, LEFT_BEHIND, OWN_CODE_FAILED
from knouds_harness.runs.header import RunSetup, run_setup
from knouds_harness.runs.unsettled import note_usage, settle_earlier
from knouds_harness.runs.writer import RunWriter
from knouds_harness.suite.concurrent_tests import RunLock
from knouds_harness.suite.minimum_verified import VerifiedFacts, expected_facts, least_verified, shortfall
from knouds_harness.suite.nights import Nights, read_nights, write_nights
from knouds_harness.suite.options import RunOptions
from knouds_harness.suite.preceding_requests import ENDS_IN_TIME
from knouds_harness.suite.recorder import FindingRecorder
from knouds_harness.suite.support.execution_traces import Executions
from knouds_harness.suite.support.test_data import TestData
from knouds_harness.suite.support.webhook_executions import DeliveredExecutions
from knouds_harness.suite.tester import Tester
from knouds_harness.suite.untested import Untested
from knouds_harness.targets.builtin import open_target
from knouds_harness.targets.guards import Guard
from knouds_harness.targets.needs.keys import active_keys, without_working_keys
from knouds_harness.targets.needs.webhooks import mints_webhooks
from knouds_harness.targets.personas import Persona
from knouds_harness.targets.profile import Target

_MOST_MISSING: Final = 5
_DISTANT_MS: Final = 5.0
"""Time from connecting to the first response; below this, threads cost more than they save."""


@dataclass(kw_only=True)
class ConformanceRun:
    """An opened target with all that tests need.

    Attributes:
        profile: The target as its profile describes it.
        target: The profile without what the target contradicts; equal to it before ``begin``.
        selected: The facts that the selected tests are about; None for all.
        paid: Ids of the tests that the credits suffice for.
        unpaid: Ids of the tests that they do not suffice for.
        cut: Ids of the tests that they were to suffice for, and did not.
        nights: Those before this one, by ``--rotate``.
        left: Lines that say what could not be deleted; empty if everything was.
        about_costs: Lines about what this run may still be charged, and what earlier ones were.
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
    paid: frozenset[str] = frozenset()
    unpaid: frozenset[str] = frozenset()
    cut: list[str] = field(default_factory=list)
    nights: Nights = field(default_factory=Nights)
    contradictions: tuple[Contradiction, ...] = ()
    left: tuple[str, ...] = ()
    about_costs: list[str] = field(default_factory=list)
    target: Target = field(init=False)
    recorder: FindingRecorder = field(init=False)
    lock: RunLock = field(default_factory=RunLock)
    _checked: ProfileCheck | None = None
    _every_exchange: tuple[Check[[]], ...] = ()
    _least: int | None = None
    _expected: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        self.target = self.profile

    def add_user_checks(self, of_tests: UserChecks, of_file: UserChecks) -> None:
        """Add the user's facts and checks to those of the harness; call it before ``begin``."""
        added = self.user_checks = of_tests.joined(of_file)
        self._every_exchange = tuple(of_file.checks.values())
        if added.facts:
            self.document = replace(self.document, facts={**self.document.facts, **added.facts})

    def begin(self) -> None:
        """Start the record, reach the target, and compare its profile with its responses.

        Raises:
            UsageError: ``min_verified`` is not a number of facts, or ``rotate`` is another file.
            ProfileError: ``[expect]`` names an unknown fact or family.
            TargetUnreachable: The target gives no usable response.
            RunRecordError: The record cannot be written.
        """
        self.nights = read_nights(self.options.rotate)
        text = self.options.min_verified
        self._least = None if text is None else least_verified(text, of=len(self._asked))
        self._expected = expected_facts(self.profile)
        self.resources.enter_context(alone_on(self.profile, _tell))
        writer = self.resources.enter_context(
            RunWriter.start(self.options.runs_folder, kind="check", target=self.profile, setup=self._setup())
        )
        self.recorder = FindingRecorder(
            document=self.document,
            writer=writer,
            waivers=self.target.waivers,
            today=datetime.now(UTC).date(),
            strict=self.options.strict,
            names=ShellNames.of(self.target),
            user_checks=self._every_exchange,
        )
        self.is_begun = True
        self.is_distant = first_contact(self.client).elapsed_ms > _DISTANT_MS
        self.about_costs += settle_earlier(self.options.runs_folder, self.client)
        if Action.RUN in self.target.limits.allow:  # before anything that may be charged
            self.client.watch_charges(each.user for each in active_keys(self.target))
        # On a near target, one request at a time is faster, and the order is the same in each run.
        self._checked = check_profile(self.client, most_at_once=None if self.is_distant else 1)
        self.target, self.contradictions = self._checked.target, self._checked.contradictions
        for contradiction in self.contradictions:
            self.recorder.record_contradiction(contradiction)

    @property
    def _asked(self) -> frozenset[str]:
        return frozenset(self.document.facts) if self.selected is None else self.selected

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
        """Resources to act on, deleted when the run ends."""
        return TestData(self.tester)

    @property
    def personas(self) -> list[Persona]:
        """The active keys of accounts that may use keys."""
        working = active_keys(self.target)
        return [persona for persona in self.target.personas.values() if persona in working]

    @cached_property
    def executions(self) -> Executions:
        return Executions(self.tester, self.test_data)

    @cached_property
    def deliveries(self) -> DeliveredExecutions:
        """Executions of keys with a webhook, and their deliveries."""
        return DeliveredExecutions(self.tester, self.executions, self.receiver)

    @cached_property
    def receiver(self) -> Receiver:
        """Accepts deliveries until the run ends, at the profile's ``[webhook]`` address or a free port.

        Raises:
            UsageError: The port cannot be opened.
        """
        listen = self.target.webhook.receiver if self.target.webhook else None
        if listen is None or mints_webhooks(self.target):
            return self.resources.enter_context(Receiver())
        return self.resources.enter_context(Receiver(*listen))

    def note_untested(self, test: str, untested: Untested) -> None:
        """Note a test that was skipped, if the credits were to suffice for it."""
        if untested.is_unpaid and test in self.paid:
            self.cut.append(test)

    def stop(self, outcome: str, error: HarnessError) -> None:
        self.outcome, self.exit_code, self.note = outcome, error.exit_code, str(error)

    def conclude(self, *, was_interrupted: bool) -> ExitCode:
        """Delete what was made on the target, finish the record and return the exit code."""
        self._clean_up(is_urgent=was_interrupted)
        if self.outcome is None and not was_interrupted:
            self._conclude_costs()
        self.recorder.begin_test()
        self.tester.judge_first_contacts()
        self._note_endless()
        self.recorder.record_drift()
        if self.outcome is None:
            self.outcome, self.exit_code, lines = self._decided(was_interrupted=was_interrupted)
            self.note = "\n".join(lines)
        if self.left and self.exit_code is ExitCode.KEPT:
            self.outcome, self.exit_code = "broken", ExitCode.BREACH
        elif self.options.rotate and self.outcome in ("kept", "broken", "short"):
            self.about_costs += self._note_night(self.options.rotate)
        note = "\n".join(filter(None, [self.note, *self.left, *self.about_costs]))
        self.recorder.writer.finish(self.outcome or "", int(self.exit_code), note=note)
        return self.exit_code

    def _conclude_costs(self) -> None:
        """Compare what was charged with the limit: a run that cost more never passes."""
        budget = self.client.guard.budget
        with suppress(HarnessError):
            shown = self.client.note_charges()
            writer, counted = self.recorder.writer, budget.spent_credits
            self.about_costs += note_usage(writer, self.profile, shown, counted_credits=counted)
        if budget.overcharge is not None:
            self.stop("stopped", GuardStop(budget.overcharge))

    def _note_night(self, path: Path) -> list[str]:
        """Add this night to the file of ``--rotate``; return lines about all nights together."""
        findings, verified = self.recorder.findings.values(), self.recorder.writer.verified_facts
        nights = self.nights.with_night(
            self.recorder.today,
            paid=self.paid.difference(self.cut),
            verified=verified,
            broken={each.fact for each in findings if self.recorder.fails(each)},
        )
        write_nights(path, nights)
        return list(nights.lines(self._asked))

    def _clean_up(self, *, is_urgent: bool) -> None:
        """Delete what was made; waits for a target that throttles, unless ``is_urgent``."""
        left = self.client.remove_left(most_wait_s=0 if is_urgent else MOST_WAIT_S).left
        if left:
            command = f"knouds-harness cleanup {self.recorder.writer.folder}"
            self.left = (f"{LEFT_BEHIND} ({command} tries again):", *(f"  {each}" for each in left))

    def _note_endless(self) -> None:
        keys, all_keys = self.tester.endless.personas, self.client.personas.values()
        users = {self.client.persona(key).user for key in keys}
        of_accounts = [each.name for each in all_keys if each.user in users]
        self.recorder.writer.note_endless(keys, of_accounts=of_accounts)

    def _decided(self, *, was_interrupted: bool) -> tuple[str, ExitCode, list[str]]:
        """Return the outcome, the exit code, and lines that say why."""
        if was_interrupted:
            return "interrupted", ExitCode.INTERRUPTED, []
        cut, own_errors = self._cut_short(), self._user_errors()
        unproven = [*([] if self._accepts_cut else cut), *self._unproven(), *self._shortfall()]
        if self.recorder.is_broken:
            expired = [
                f"waiver expired on {waiver.expires}: {waiver}. Fix what it waives, or renew it."
                for waiver in self.recorder.expired_waivers
            ]
            return "broken", ExitCode.BREACH, [*expired, *unproven, *own_errors]
        if errors := len(self.harness_errors):
            words = f"{counted(errors, 'test')} ended in an error of the harness itself"
            return "failed", ExitCode.BREACH, [words]
        if own_errors:
            return "failed", ExitCode.BREACH, own_errors
        is_skipped, lacks_keys = self.recorder.writer.is_all_skipped, not active_keys(self.target)
        if is_skipped or (lacks_keys and not self._asked <= self.recorder.writer.verified_facts):
            admitted = (key.tier for key in self.target.personas.values() if key.state == "active")
            words = without_working_keys(admitted) if lacks_keys else "Every test was skipped"
            counts = Counter(each.missing for each in self.recorder.writer.untested)
            missing = [f"  {each}" for each, _ in counts.most_common(_MOST_MISSING)]
            return "untested", ExitCode.USAGE, [f"{words}. What is missing:", *missing]
        return ("short", ExitCode.BREACH, unproven) if unproven else ("kept", ExitCode.KEPT, cut)

    @property
    def _accepts_cut(self) -> bool:
        """Whether the user says what has to be verified, or that less will do."""
        expect = self.profile.expect
        return self.options.allow_short or bool(expect.facts or expect.families)

    def _cut_short(self) -> list[str]:
        """Say which tests ran out of credits that doctor had foretold, and which asked family has none."""
        lines = []
        if self.cut:
            tests, limits = counted(len(self.cut), "test"), self.profile.limits
            lines.append(
                f"{CUT_SHORT}: {tests} found no credits left of the {limits.credits:,.10g} that "
                f"{limits.credits_by} allows, which was to pay for them."
            )
        passed = {each.check.partition(".")[0] for each in self.recorder.writer.tests if each.passed}
        if missing := [each for each in self.options.families if each not in passed]:
            lines.append(f"{CUT_SHORT}: not one test passed of {', '.join(missing)}.")
        return lines

    def _user_errors(self) -> list[str]:
        lines = []
        if self.user_errors:
            lines += [f"{OWN_CODE_FAILED}: tests that ended in an error, not in an assert about a response:"]
            lines += [f"  {each}" for each in self.user_errors]
        if self.recorder.user_errors:
            lines += [f"{OWN_CODE_FAILED}: checks of --checks that ended in an error:"]
            lines += [f"  {check}: {error}" for check, error in self.recorder.user_errors.items()]
        return lines

    def _unproven(self) -> list[str]:
        """Say whose runs all failed, and whose executions never ended, unless the profile accepts it."""
        lines = [
            f"No run of {user} succeeded: {told}. If that is expected, say so in the profile."
            for user, told in self.test_data.unsuccessful.items()
        ]
        is_accepted = any(
            waiver.fact == ENDS_IN_TIME and not waiver.is_expired(self.recorder.today)
            for waiver in self.recorder.waivers
        )
        if self.tester.endless.personas and not is_accepted:
            lines.append(
                "In the profile, raise deadline_s of what was run, or accept that no execution ends: "
                f'[[waivers]] with fact = "{ENDS_IN_TIME}".'
            )
        return lines

    def _shortfall(self) -> list[str]:
        writer = self.recorder.writer
        seen = VerifiedFacts(asked=self._asked, verified=writer.verified_facts, untested=writer.untested)
        return shortfall(
            seen, least=self._least, text=self.options.min_verified or "", expected=self._expected
        )

    def _setup(self) -> RunSetup:
        return run_setup(
            self.profile,
            seed=self.options.seed,
            document=self.document,
            selected=self.selected,
            checks={**all_checks(), **self.user_checks.checks}.values(),
            strict=self.options.strict,
            recordings=RecordingFolder.open(recordings_path()).names_by_fact(),
            faults=self.options.faults,
            legal=self.options.legal,
            between=self.options.between,
            examples=self.options.examples_per_property,
        )


def _tell(line: str) -> None:
    """Print a line at once: pytest captures what is written to ``sys.stderr``."""
    if sys.__stderr__ is not None:
        sys.__stderr__.write(f"{printable(line)}\n")
        sys.__stderr__.flush()


@contextmanager
def open_run(options: RunOptions) -> Iterator[ConformanceRun]:
    """Open the target and read the document; starts, seeds and stops the built-in sandbox.

    Raises:
        HarnessError: The target, its profile or the document is not usable.
    """
    document = shipped_document()
    with ExitStack() as resources:
        target = resources.enter_context(
            open_target(
                options.target,
                seed=options.seed,
                faults=options.faults,
                legal=options.legal,
                between=options.between,
            )
        )
        profile = target.spending(options.credits)
        yield ConformanceRun(options=options, profile=profile, document=document, resources=resources)
