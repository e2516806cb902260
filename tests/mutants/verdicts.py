"""The findings of checks about a mutant."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from mutants.answer_operators import either_of_two, same_notation, statuses, wrong_notation
from mutants.delivery_operators import endings, payloads, signatures
from mutants.execution_operators import executions, usage
from mutants.mutant import Label, Mutant, Operator
from mutants.refusal_operators import causes, denials, envelopes, limits, throttlings
from mutants.shape_operators import shapes
from recorded import document, recordings, story_of

from knouds_harness.runs.findings import fails_run, verdict_for
from knouds_harness.suite.recorded.verification import claims_about

OPERATORS: tuple[Operator, ...] = (
    shapes,
    wrong_notation,
    same_notation,
    statuses,
    either_of_two,
    envelopes,
    causes,
    denials,
    throttlings,
    limits,
    executions,
    usage,
    payloads,
    endings,
    signatures,
)


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A mutant, and the facts that checks found broken in it."""

    mutant: Mutant
    broken: frozenset[str]

    @property
    def is_right(self) -> bool:
        """Return whether a breach breaks one of its facts, and another change breaks none."""
        if self.mutant.label is Label.BREACH:
            return not self.broken.isdisjoint(self.mutant.facts)
        return not self.broken


def mutants() -> Iterator[Mutant]:
    for recording in recordings().values():
        for operator in OPERATORS:
            yield from operator(recording)


def judged(changed: Iterable[Mutant]) -> Iterator[Judged]:
    """Judge mutants, each with the rest of its story unchanged."""
    facts = document().facts
    for mutant in changed:
        broken = frozenset(
            claim.fact
            for _, claim in claims_about(mutant.recording, story=story_of(mutant.recording))
            if not claim.holds and fails_run(verdict_for(facts[claim.fact]), strict=False, is_waived=False)
        )
        yield Judged(mutant=mutant, broken=broken)
