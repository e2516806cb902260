"""What a check can verify with a profile, by what the suite's tests need."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Final

from knouds_harness.contract.operations import Action
from knouds_harness.suite.running import collect_suite
from knouds_harness.suite.selection import facts_of, needs_of
from knouds_harness.targets.needs import CONTROL, MAY_READ, Need, may, missing_in
from knouds_harness.targets.needs.keys import ANY_KEY, listed
from knouds_harness.targets.profile import Target

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
    """Return the facts that a check can verify with this profile."""
    return frozenset(fact for fact, lacking in lacking_by_fact(target).items() if not lacking)


def missing_by_need(target: Target) -> dict[str, list[str]]:
    """Return what a profile lacks, with the facts that stay untested without it; most facts first."""
    missing: dict[str, list[str]] = defaultdict(list)
    for fact, lacking in lacking_by_fact(target).items():
        if lacking:
            missing[" and ".join(lacking)].append(fact)
    return dict(sorted(missing.items(), key=lambda each: -len(each[1])))


def ways_by_fact() -> dict[str, tuple[str, ...]]:
    """Say what a profile must offer for each fact: all ways to show it, the shortest first.

    Ways that need a control plane, which only the sandbox has, come last.
    """
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
