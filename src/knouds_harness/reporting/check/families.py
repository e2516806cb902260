"""How the tests of a run fared: by family, and how long the cases took that they made claims about."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from knouds_harness.runs.record import RunRecord
from knouds_harness.runs.results import Result, UntestedFact

Place = tuple[str, str | None]
"""A fact and an operation."""


@dataclass(frozen=True, kw_only=True)
class FamilyRow:
    """The tests of one family.

    Attributes:
        duration_s: What their bodies took; those that ran side by side are added up.
    """

    family: str
    passed: int
    failed: int
    skipped: int
    duration_s: float


def family_rows(record: RunRecord) -> tuple[FamilyRow, ...]:
    """The families of a run, in the order in which their first tests ended."""
    families = dict.fromkeys(each.check.partition(".")[0] for each in record.tests)
    return tuple(
        FamilyRow(
            family=family,
            passed=sum(each.passed for each in of_family),
            failed=sum(each.failed for each in of_family),
            skipped=sum(each.skipped for each in of_family),
            duration_s=sum(each.duration_s for each in of_family),
        )
        for family in families
        if (of_family := [each for each in record.tests if each.check.partition(".")[0] == family])
    )


def duration_s_by_place(record: RunRecord) -> Mapping[Place, float]:
    """What was spent on each fact and operation: a test's time is shared by what its check claimed."""
    places: dict[str, dict[Place, None]] = defaultdict(dict)
    claimed: list[Result | UntestedFact] = [*record.results, *record.untested]
    for each in claimed:
        places[each.check][each.fact, each.operation] = None
    spent_s: dict[Place, float] = defaultdict(float)
    for tests in record.tests:
        of_check = places[tests.check]
        own = [place for place in of_check if tests.operation in (None, place[1])] or list(of_check)
        for place in own:
            spent_s[place] += tests.duration_s / len(own)
    return spent_s
