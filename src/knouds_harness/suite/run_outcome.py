"""How a run ends: its outcome, its exit code, and what it had to verify at least."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator
from typing import TYPE_CHECKING, Final

from knouds_harness.contract.document import shipped_document
from knouds_harness.contract.known_places import known_capabilities
from knouds_harness.contract.operations import Source
from knouds_harness.errors import LIKELY_MISTYPED, ExitCode, UnknownName, UsageError, suggestion
from knouds_harness.judging.checks import all_checks, families, family_by_fact
from knouds_harness.judging.user_checks import USER
from knouds_harness.printable import counted, first_few
from knouds_harness.runs.findings import CUT_SHORT, OWN_CODE_FAILED
from knouds_harness.runs.run_file import UntestedFact
from knouds_harness.suite.request_failures import ENDS_IN_TIME
from knouds_harness.targets.needs.keys import active_keys, without_working_keys
from knouds_harness.targets.profile import Expect, Target
from knouds_harness.targets.profile_format import Problem, profile_error

if TYPE_CHECKING:
    from knouds_harness.suite.session import ConformanceRun

_AMOUNT: Final = re.compile(r"(\d{1,6}(?:\.\d+)?)(%?)")
_MOST_NAMED: Final = 3
_MOST_EXPECTED: Final = 10
_MOST_MISSING: Final = 5


def decided(run: ConformanceRun, *, was_interrupted: bool) -> tuple[str, ExitCode, list[str]]:
    """Return a run's outcome and exit code, and lines that say why."""
    if was_interrupted:
        return "interrupted", ExitCode.INTERRUPTED, []
    cut, own_errors, writer = _cut_short(run), _user_errors(run), run.recorder.writer
    missed = shortfall(
        run.asked,
        writer.verified_facts,
        untested=writer.untested,
        least=run.least,
        text=run.options.min_verified or "",
        expected=run.expected,
    )
    # The user may say what has to be verified, or that less will do.
    accepts_cut = run.options.allow_short or run.profile.expect != Expect()
    unproven = [*([] if accepts_cut else cut), *_unproven(run), *missed]
    if run.recorder.is_broken:
        expired = [
            f"waiver expired on {waiver.expires}: {waiver}. Fix what it waives, or renew it."
            for waiver in run.recorder.expired_waivers
        ]
        return "broken", ExitCode.BREACH, [*expired, *unproven, *own_errors]
    if errors := len(run.harness_errors):
        words = f"{counted(errors, 'test')} ended in an error of the harness itself"
        return "failed", ExitCode.BREACH, [words]
    if own_errors:
        return "failed", ExitCode.BREACH, own_errors
    is_skipped, lacks_keys = writer.is_all_skipped, not active_keys(run.target)
    if is_skipped or (lacks_keys and not run.asked <= writer.verified_facts):
        admitted = (key.tier for key in run.target.personas.values() if key.state == "active")
        words = without_working_keys(admitted) if lacks_keys else "Every test was skipped"
        counts = Counter(each.missing for each in writer.untested)
        missing = [f"  {each}" for each, _ in counts.most_common(_MOST_MISSING)]
        return "untested", ExitCode.USAGE, [f"{words}. What is missing:", *missing]
    return ("short", ExitCode.BREACH, unproven) if unproven else ("kept", ExitCode.KEPT, cut)


def _cut_short(run: ConformanceRun) -> list[str]:
    """Say which tests ran out of credits that doctor had foretold, and which asked family has none."""
    lines = []
    if run.cut:
        tests, limits = counted(len(run.cut), "test"), run.profile.limits
        lines.append(
            f"{CUT_SHORT}: {tests} found no credits left of the {limits.credits:,.10g} that "
            f"{limits.credits_by} allows, which was to pay for them."
        )
    passed = {each.check.partition(".")[0] for each in run.recorder.writer.tests if each.passed}
    families = () if run.options.rotate else run.options.families  # else it may be another night's turn
    if missing := [each for each in families if each not in passed]:
        lines.append(f"{CUT_SHORT}: not one test passed of {', '.join(missing)}.")
    return lines


def _user_errors(run: ConformanceRun) -> list[str]:
    lines = []
    if run.user_errors:
        lines += [f"{OWN_CODE_FAILED}: tests that ended in an error, not in an assert about a response:"]
        lines += [f"  {each}" for each in run.user_errors]
    if run.recorder.user_errors:
        lines += [f"{OWN_CODE_FAILED}: checks of --checks that ended in an error:"]
        lines += [f"  {check}: {error}" for check, error in run.recorder.user_errors.items()]
    return lines


def _unproven(run: ConformanceRun) -> list[str]:
    """Say whose runs all failed, and whose executions never ended, unless the profile accepts it."""
    lines = [
        f"No run of {user} succeeded: {told}. If that is expected, say so in the profile."
        for user, told in run.test_data.unsuccessful.items()
    ]
    is_accepted = any(
        waiver.fact == ENDS_IN_TIME and not waiver.is_expired(run.recorder.today)
        for waiver in run.recorder.waivers
    )
    if run.never_ending and not is_accepted:
        lines.append(
            "In the profile, raise deadline_s of what was run, or accept that no execution ends: "
            f'[[waivers]] with fact = "{ENDS_IN_TIME}".'
        )
    return lines


def least_verified(text: str, *, of: int) -> int:
    """Return how many facts ``--min-verified`` asks for."""
    amount = _AMOUNT.fullmatch(text)
    if amount is None or (not amount[2] and "." in amount[1]):
        raise UsageError(
            f"--min-verified {text}: write a number of facts, such as 120, or a share, such as 65%"
        )
    least = math.ceil(float(amount[1]) * of / 100) if amount[2] else int(amount[1])
    if least > of:
        raise UsageError(f"--min-verified {text}: this run is about {counted(of, 'fact')}")
    return least


def expected_facts(target: Target) -> frozenset[str]:
    """Return the facts that the profile expects to be verified; for a family, all documented ones."""
    facts = shipped_document().facts
    problems = [
        *_unknown("fact", target.expect.facts, facts),
        *_unknown("family", target.expect.families, families()),
        *_mistyped_in_waivers(target),
    ]
    if problems:
        raise profile_error(target.source, problems)
    of_families = frozenset(
        fact
        for check in all_checks().values()
        if check.family in target.expect.families
        for fact in check.facts
        if facts[fact].source is not Source.ASSUMED and facts[fact].conflict is None
    )
    return of_families.union(target.expect.facts)


def _mistyped_in_waivers(target: Target) -> Iterator[Problem]:
    """Find unknown names that are near to a known one; others may be of another version, or the user's."""
    document = shipped_document()
    known = {"fact": document.facts, "check": all_checks(), "operation": document.operation_by_id}
    for position, waiver in enumerate(target.waivers):
        for kind, names in known.items():
            name = getattr(waiver, kind) or ""
            meant = suggestion(name, names, likeness=LIKELY_MISTYPED)
            if meant and name not in names and not name.startswith(f"{USER}."):
                yield Problem(where=f"waivers[{position}].{kind}", says=f'no {kind} "{name}"', remedy=meant)


def mistyped(target: Target) -> Iterator[str]:
    """Say which capabilities and owners are unknown and near to a known one: both are open sets."""
    capabilities = known_capabilities()
    keys = target.personas.values()
    users = {key.user for key in keys}
    held = [
        (f"keys.{key.name}.capabilities", each, capabilities)
        for key in keys
        for each in sorted(key.capabilities)
    ]
    owners = [(f"workflows.{each.slug}.owner", each.owner, users) for each in target.workflows.values()]
    for where, name, known in (*held, *owners):
        meant = suggestion(name, known, likeness=LIKELY_MISTYPED)
        if meant and name not in known and name.count(":") < 2:  # not workflow:SLUG:run
            yield f'{where}: "{name}" is not known. {meant}'


def _unknown(kind: str, names: Iterable[str], known: Collection[str]) -> Iterator[Problem]:
    for name in names:
        if name not in known:
            says, _, remedy = str(UnknownName(kind, name, known)).partition(" (known")
            yield Problem(where="expect", says=says, remedy=f"Known{remedy.removesuffix(')')}")


def shortfall(
    asked: Collection[str],
    verified: Collection[str],
    *,
    untested: Iterable[UntestedFact] = (),
    least: int | None = None,
    text: str = "",
    expected: Collection[str] = (),
) -> list[str]:
    """Return lines that say what a run has failed to verify; none if it has verified enough.

    Missing facts are in the document's order, the user's last. ``text`` is ``least`` as on the command line.
    Facts of ``expected`` count only if the run is about them.
    """
    lines = []
    in_order = dict.fromkeys([*shipped_document().facts, *sorted(asked)])
    unverified = [fact for fact in in_order if fact in asked and fact not in verified]
    count = len(asked) - len(unverified)
    if least is not None and count < least:
        so_far = f"{count} of {counted(len(asked), 'fact')} verified"
        lines.append(f"{so_far}; --min-verified {text} asks for {least}. Missing:")
        by_family: dict[str, list[str]] = defaultdict(list)
        for fact in unverified:
            by_family[family_by_fact().get(fact, "no check")].append(fact)
        for family, facts in sorted(by_family.items(), key=lambda item: -len(item[1])):
            lines.append(f"  {family} ({len(facts)}): {first_few(facts, _MOST_NAMED)}")
    missing = [fact for fact in unverified if fact in expected]
    if missing:
        named = "fact that [expect] in the profile names was", "facts that [expect] in the profile names were"
        lines.append(f"{counted(len(missing), *named)} not verified:")
        needed: dict[str, dict[str, None]] = defaultdict(dict)
        for each in untested:
            needed[each.fact][each.missing] = None
        for fact in missing[:_MOST_EXPECTED]:
            reason = f"needs {'; '.join(needed[fact])}" if needed[fact] else "it was not seen to hold"
            lines.append(f"  {fact}: {reason}")
        if len(missing) > _MOST_EXPECTED:
            lines.append(f"  and {len(missing) - _MOST_EXPECTED} more")
    return lines
