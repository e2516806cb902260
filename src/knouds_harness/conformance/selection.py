"""Which tests of the suite run: by family, operation and fact, and with --quick fewer of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

import pytest

from knouds_harness.conformance.checks import families as all_families
from knouds_harness.conformance.claims import Check
from knouds_harness.conformance.common_checks import COMMON_FACTS
from knouds_harness.contract.document import shipped_document
from knouds_harness.contract.operations import Operation
from knouds_harness.errors import UnknownName


def operations_for(*, secured: bool | None = None, ids: Collection[str] | None = None) -> list[Operation]:
    """The document's operations that a test is parametrized with, by its marker's arguments."""
    return [
        each
        for each in shipped_document().operations
        if secured in (None, not each.is_public) and (ids is None or each.id in ids)
    ]


def checks_of(item: pytest.Item) -> tuple[Check[...], ...]:
    """The checks that a conformance test drives, its own first; none for any other test."""
    marker = item.get_closest_marker("proves")
    return marker.args if marker else ()


def operation_of(item: pytest.Item) -> Operation | None:
    """The operation that a conformance test is parametrized with."""
    callspec = getattr(item, "callspec", None)
    return callspec.params.get("operation") if callspec else None


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What was asked for; where nothing is named, everything is.

    Attributes:
        is_quick: Leave out what shows more of what another test shows as well.
    """

    families: frozenset[str]
    operations: frozenset[str]
    facts: frozenset[str]
    is_quick: bool

    @classmethod
    def of(
        cls, *, families: Collection[str], operations: Collection[str], facts: Collection[str], is_quick: bool
    ) -> Selection:
        """What the options name.

        Raises:
            UnknownName: There is no such family, operation or fact.
        """
        return cls(
            families=_known("family", families, all_families()),
            operations=_known(
                "operation", operations, shipped_document().operation_by_id if operations else ()
            ),
            facts=_known("fact", facts, shipped_document().facts if facts else ()),
            is_quick=is_quick,
        )

    def keeps(self, item: pytest.Item) -> bool:
        """Whether a test runs; one that is none of the suite's always does."""
        checks, operation = checks_of(item), operation_of(item)
        if not checks:
            return True
        shown = COMMON_FACTS.union(*(check.facts for check in checks))
        return (
            not (self.is_quick and item.get_closest_marker("thorough"))
            and (not self.families or checks[0].family in self.families)
            and (not self.operations or operation is None or operation.id in self.operations)
            and (not self.facts or not self.facts.isdisjoint(shown))
        )


def _known(kind: str, names: Collection[str], known: Iterable[str]) -> frozenset[str]:
    for name in names:
        if name not in known:
            raise UnknownName(kind, name, known)
    return frozenset(names)
