"""What a profile makes possible: the facts that a check can verify, and what it would send, at what cost."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Final

import pytest

from knouds_harness.contract.document import shipped_document
from knouds_harness.contract.operations import Action
from knouds_harness.judging.user_checks import UserChecks, load_checks
from knouds_harness.printable import counted
from knouds_harness.suite.nights import read_nights
from knouds_harness.suite.options import RunOptions
from knouds_harness.suite.recorded.outcomes import Plan
from knouds_harness.suite.running import collect_suite
from knouds_harness.suite.selection import Selection, Spending, checks_of, facts_of, needs_of, operation_of
from knouds_harness.targets.needs import CONTROL, MAY_READ, Need, may, missing_in
from knouds_harness.targets.needs.keys import ANY_KEY, listed
from knouds_harness.targets.profile import Target
from knouds_harness.targets.resources import Model, Workflow

_PERMISSIONS: Final[Mapping[Need[object], Action]] = {may(action): action for action in Action}
Proof = frozenset[Need[object]]
"""What a test that shows a fact needs."""


@cache
def proofs_by_fact() -> Mapping[str, tuple[Proof, ...]]:
    """Return each fact that the suite can show, with the needs of the least demanding tests that show it."""
    proofs: dict[str, dict[Proof, None]] = defaultdict(dict)
    for item in collect_suite():
        needs = (MAY_READ, *needs_of(item))
        for fact, more in facts_of(item).items():
            proofs[fact][frozenset((*needs, *more))] = None
    return {
        fact: tuple(proof for proof in found if not any(other < proof for other in found))
        for fact, found in proofs.items()
    }


def lacking_by_fact(target: Target) -> dict[str, list[str]]:
    """Return what a profile lacks to show each fact, in the way that lacks the least."""

    def nearest(proofs: Iterable[Proof]) -> list[str]:
        lacking = ((len(proof), sorted(missing_in(target, proof))) for proof in proofs)
        return min(lacking, key=lambda each: (len(each[1]), -each[0]))[1]

    return {fact: nearest(proofs) for fact, proofs in proofs_by_fact().items()}


def provable_facts(target: Target) -> frozenset[str]:
    return frozenset(fact for fact, lacking in lacking_by_fact(target).items() if not lacking)


def missing_by_need(target: Target) -> dict[str, list[str]]:
    """Return what a profile lacks, with the facts that stay untested without it; most facts first."""
    missing: dict[str, list[str]] = defaultdict(list)
    for fact, lacking in lacking_by_fact(target).items():
        if lacking:
            missing[" and ".join(lacking)].append(fact)
    return dict(sorted(missing.items(), key=lambda each: -len(each[1])))


def ways_by_fact() -> dict[str, tuple[str, ...]]:
    """Say what a profile must offer for each fact: the shortest way first, those by a control plane last."""
    return {fact: _ways(proofs) for fact, proofs in proofs_by_fact().items()}


def _ways(proofs: Iterable[Proof]) -> tuple[str, ...]:
    ways: list[list[str]] = []
    for words in sorted(map(_words, proofs), key=lambda each: (CONTROL.says in each, len("".join(each)))):
        if not any(all(_is_implied(text, words) for text in shorter) for shorter in ways):
            ways.append(words)
    return tuple("; ".join(words) or "nothing" for words in ways)


def _words(proof: Proof) -> list[str]:
    """Describe a proof's needs, without those that others imply, and without permission to read."""
    whole = {each: len([*each.whole()]) for need in proof for each in need.whole()}
    needs = sorted(whole.keys() - _PERMISSIONS.keys(), key=lambda each: (whole[each], each.says))
    texts = list(dict.fromkeys(each.says for each in needs))
    allowed = sorted(f'"{_PERMISSIONS[each]}"' for each in whole.keys() & _PERMISSIONS.keys() - {MAY_READ})
    said = [text for text in texts if not _is_implied(text, {*texts} - {text})]
    return [*said, f"{listed(allowed)} in limits.allow"] if allowed else said


def _is_implied(text: str, others: Iterable[str]) -> bool:
    """Whether one of the other texts says the same, or more."""
    return any(
        (other.startswith(text) and not other.removeprefix(text).startswith(" or "))
        or (text == ANY_KEY.says and " key " in other)
        for other in others
    )


# --- the plan of a run


def possible_in(items: Iterable[pytest.Item], target: Target) -> list[pytest.Item]:
    return [item for item in items if not missing_in(target, (MAY_READ, *needs_of(item)))]


def check_plan(target: Target, options: RunOptions) -> Iterator[str]:
    of_file = load_checks(options.checks) if options.checks else UserChecks()
    selection = Selection(options=options, of_file=of_file)
    asked = [item for item in collect_suite() if selection.keeps(item)]
    possible = possible_in(asked, target)
    limits = target.limits
    spending = Spending.of(
        possible,
        target,
        lambda each: each.cost_credits,
        limit_credits=limits.credits,
        nights=read_nights(options.rotate),
    )
    if spending.unpaid:
        possible = [item for item in possible if item.nodeid not in spending.unpaid]
    families = Counter(checks_of(item)[0].family for item in possible)
    yield f"check   {target.name} ({target.base_url}), profile {target.source}"
    yield f"tests   {len(possible)} of {len(asked)}: {_counted(families)}"
    if spending.unpaid:
        yield (
            f"tests   {len(spending.unpaid)} stay untested, as {limits.credits_by} does not pay for them: "
            "the cheapest are paid first"
        )
    by_operation = Counter(each.id for item in possible if (each := operation_of(item)))
    yield f"sends   tests of one operation each: {_counted(by_operation) or 'none'}"
    others = len(possible) - by_operation.total()
    if others:
        tests = counted(others, "test")
        yield f"sends   {tests} of several operations, of these kinds of action: {_allowed(target)}"
    yield (
        f"sends   an unknown number of requests, as it depends on the responses; "
        f"{options.examples_per_property} for each property with generated inputs"
    )
    yield from _resources(target, spending.runs)


def record_plan(target: Target, plan: Plan) -> Iterator[str]:
    operations = shipped_document().operation_by_id  # deliveries are not sent
    counts = Counter(each.operation for each in plan.outcomes if each.operation in operations)
    yield f"sends   at least once for each outcome: {_counted(counts) or 'nothing'}"
    yield f"sends   also what the tests of outcomes need, of these kinds of action: {_allowed(target)}"
    yield from _resources(target, plan.runs)


def _resources(target: Target, runs: Iterable[Workflow | Model]) -> Iterator[str]:
    counts = Counter(each.name for each in runs)
    resources: list[Workflow | Model] = [*target.workflows.values(), *target.models.values()]
    costs = {each.name: each.cost_credits for each in resources}
    limit = f"{target.limits.credits:,.0f} credits, which {target.limits.credits_by} sets"
    unknown = sorted(name for name in counts if costs[name] is None)
    unpriced = sum(counts[name] for name in unknown)
    likely = sum(count * (costs[name] or 0.0) for name, count in counts.items())
    yield f"keys    those that a test needs, of {', '.join(target.personas) or 'none'}"
    yield f"runs    about, by the profile: {_counted(counts) or 'nothing that is paid for'}"
    yield (
        f"costs   likely {min(likely, target.limits.credits):,.0f} credits"
        f"{f', plus {unpriced} runs whose price is unknown' if unpriced else ''} (an estimate for a target "
        "that keeps the contract)"
    )
    yield f"costs   at most {limit}, if the target runs what it should refuse"
    if unknown:
        yield f"costs   a run first asks the server what {', '.join(unknown)} cost"


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.most_common())


def _allowed(target: Target) -> str:
    operations = shipped_document().operations
    by_action = {
        action: ", ".join(each.id for each in operations if each.action is action)
        for action in Action
        if action in target.limits.allow
    }
    return "; ".join(f"{action} ({ids})" for action, ids in by_action.items())
