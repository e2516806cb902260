"""What a run must verify at least: ``--min-verified`` and the profile's ``[expect]``."""

import math
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from knouds_harness.contract.document import shipped_document
from knouds_harness.contract.operations import Source
from knouds_harness.errors import UnknownName, UsageError
from knouds_harness.judging.checks import all_checks, families, family_by_fact
from knouds_harness.printable import counted, first_few
from knouds_harness.runs.results import UntestedFact
from knouds_harness.targets.profile import Target
from knouds_harness.targets.profile_format import Problem, profile_error

_AMOUNT: Final = re.compile(r"(\d{1,6}(?:\.\d+)?)(%?)")
_MOST_NAMED: Final = 3
_MOST_EXPECTED: Final = 10


def least_verified(text: str, *, of: int) -> int:
    """Return how many facts ``--min-verified`` asks for.

    Raises:
        UsageError: The text is neither ``N`` nor ``N%``, or asks for more facts than there are.
    """
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
    """Return the facts that the profile expects to be verified; for a family, all documented ones.

    Raises:
        ProfileError: A fact or family is unknown; lists the known ones.
    """
    facts = shipped_document().facts
    problems = [
        *_unknown("fact", target.expect.facts, facts),
        *_unknown("family", target.expect.families, families()),
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


def _unknown(kind: str, names: Iterable[str], known: Collection[str]) -> Iterator[Problem]:
    for name in names:
        if name not in known:
            says, _, remedy = str(UnknownName(kind, name, known)).partition(" (known")
            yield Problem(where="expect", says=says, remedy=f"Known{remedy.removesuffix(')')}")


@dataclass(frozen=True, kw_only=True)
class VerifiedFacts:
    """The facts that a run was about, and what became of them."""

    asked: Collection[str]
    verified: Collection[str]
    untested: Collection[UntestedFact]

    @property
    def unverified(self) -> list[str]:
        """The facts that were not verified, in the document's order, the user's last."""
        in_order = dict.fromkeys([*shipped_document().facts, *sorted(self.asked)])
        return [fact for fact in in_order if fact in self.asked and fact not in self.verified]


def shortfall(
    seen: VerifiedFacts, *, least: int | None, text: str = "", expected: Collection[str] = ()
) -> list[str]:
    """Return lines that say what a run has failed to verify; none if it has verified enough.

    ``text`` is ``least`` as on the command line. Facts of ``expected`` count only if the run is about them.
    """
    lines = []
    unverified = seen.unverified
    count = len(seen.asked) - len(unverified)
    if least is not None and count < least:
        verified = f"{count} of {counted(len(seen.asked), 'fact')} verified"
        lines.append(f"{verified}; --min-verified {text} asks for {least}. Missing:")
        lines += [
            f"  {family} ({len(facts)}): {first_few(facts, _MOST_NAMED)}"
            for family, facts in _by_family(unverified)
        ]
    missing = [fact for fact in unverified if fact in expected]
    if missing:
        named = "fact that [expect] in the profile names was", "facts that [expect] in the profile names were"
        lines.append(f"{counted(len(missing), *named)} not verified:")
        lines += [f"  {fact}: {_reason(fact, seen)}" for fact in missing[:_MOST_EXPECTED]]
        if len(missing) > _MOST_EXPECTED:
            lines.append(f"  and {len(missing) - _MOST_EXPECTED} more")
    return lines


def _by_family(facts: Iterable[str]) -> list[tuple[str, list[str]]]:
    by_family: dict[str, list[str]] = defaultdict(list)
    for fact in facts:
        by_family[family_by_fact().get(fact, "no check")].append(fact)
    return sorted(by_family.items(), key=lambda item: -len(item[1]))


def _reason(fact: str, seen: VerifiedFacts) -> str:
    reasons = dict.fromkeys(each.missing for each in seen.untested if each.fact == fact)
    return f"needs {'; '.join(reasons)}" if reasons else "it was not seen to hold"
