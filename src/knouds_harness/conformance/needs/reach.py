"""What a check can verify with a profile: it follows from what the suite's tests need."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import cache

from knouds_harness.conformance.needs.need import MAY_READ, Need
from knouds_harness.conformance.suite.running import collect_suite
from knouds_harness.conformance.suite.selection import facts_of, needs_of
from knouds_harness.targets.profile import Target

Proof = frozenset[Need[object]]
"""What a test needs that shows a fact."""


@cache
def proofs_by_fact() -> Mapping[str, tuple[Proof, ...]]:
    """Each fact that the suite can show, and what the tests that show it need: the least demanding."""
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
    """What a profile lacks for each fact, in words, and of the ways to show it the one that is nearest."""
    missing = {need: need.missing(target) for need in _all_needs()}

    def missing_in(proof: Proof) -> list[str]:
        return sorted({says for need in proof if (says := missing[need]) is not None})

    def nearest(proofs: Iterable[Proof]) -> list[str]:
        return missing_in(min(proofs, key=lambda proof: (len(missing_in(proof)), -len(proof))))

    return {fact: nearest(proofs) for fact, proofs in proofs_by_fact().items()}


@cache
def _all_needs() -> frozenset[Need[object]]:
    return frozenset(need for proofs in proofs_by_fact().values() for proof in proofs for need in proof)


def provable_facts(target: Target) -> frozenset[str]:
    """The facts that a check can verify with this profile."""
    return frozenset(fact for fact, lacking in lacking_by_fact(target).items() if not lacking)
