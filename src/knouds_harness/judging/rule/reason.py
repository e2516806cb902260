"""One row of the table of reasons to refuse: what it is about, and what a refusal for it looks like."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from knouds_harness.exchange.evidence import Exchange
from knouds_harness.judging.rule.admission import Admits
from knouds_harness.judging.rule.applies import Decision
from knouds_harness.judging.rule.asked import AskedRequest, Known

DOCUMENTED_CODES: Final = frozenset(
    {
        *("INVALID_BODY", "INVALID_INPUTS", "INVALID_SLUG", "ASYNC_NOT_SUPPORTED", "LEGACY_KEY_RETIRED"),
        *("INSUFFICIENT_CREDITS", "grant_exhausted", "CAPABILITY_DENIED", "MODEL_TIER_REQUIRED"),
        *("MODEL_NOT_FOUND", "RATE_LIMIT_EXCEEDED", "EXECUTION_FAILED"),
    }
)
"""The codes that a source names; each belongs to its reasons. A server may spell all others as it likes."""
MOST_STATUSES: Final = 3
"""A reason with more of them is told as ``4xx``."""
REFUSALS: Final = tuple(each for each in range(400, 500) if each not in (401, 402, 429))


@dataclass(frozen=True, kw_only=True, eq=False)
class Reason:
    """One documented reason to refuse.

    Attributes:
        id: Of the check that judges it, ``family.name``; empty if no source promises the refusal.
        because: What is so if it applies, in a few words.
        otherwise: What is so if it does not.
        facts: Promise the refusal; of those about denied capabilities, ``why_denied`` chooses one.
        statuses: Of such a refusal. Documented, or assumed if the fact or ``status_fact`` is.
        status_fact: The assumed fact about the status, if the fact promises only a refusal.
        codes: The documented codes of such a refusal, any of them; empty if no source names one.
        has_any_code: Whether it may have a code of another reason.
        on: The operations that it is about; empty for all.
        is_told_to_all: Whether it may be told without a valid key.
        implies: What it says of the resource, if the sender knows that it applies.
        lets_pass: Whether a success is legal even if it applies.
        comes_last: Whether it shows only if nothing else refuses the request.
        admits: What is broken by a refusal for it that does not apply.
    """

    id: str = ""
    because: str
    otherwise: str = ""
    facts: tuple[str, ...] = ()
    statuses: tuple[int, ...]
    status_fact: str = ""
    codes: tuple[str, ...] = ()
    has_any_code: bool = False
    on: tuple[str, ...] = ()
    is_told_to_all: bool = False
    implies: Mapping[str, Any] = field(default_factory=dict)
    lets_pass: bool = False
    comes_last: bool = False
    admits: Admits | None = None
    decides: Decision = field(repr=False)

    @property
    def open_statuses(self) -> tuple[int, ...]:
        """The statuses of such a refusal if no source says which of them, or with which code."""
        return self.statuses if self.has_any_code and len(self.statuses) > 1 else ()

    @property
    def status_words(self) -> str:
        return "4xx" if len(self.statuses) > MOST_STATUSES else " or ".join(map(str, self.statuses))

    @property
    def refusal(self) -> str:
        return " ".join(filter(None, (self.status_words, " or ".join(self.codes))))

    @property
    def fact(self) -> str:
        return self.facts[0] if self.facts else ""

    def concerns(self, asked: AskedRequest) -> bool:
        return not self.on or asked.operation_id in self.on

    def applies(self, asked: AskedRequest, known: Known) -> bool | None:
        """Return whether it applies: True, False, or None if that is unknown."""
        return True if self.id and self.id in known.asserted else self.decides(asked, known)

    def has_status(self, exchange: Exchange) -> bool:
        """Return whether the status is that of a refusal for this reason; any 4xx if it is only assumed."""
        return exchange.status in self.statuses or (bool(self.status_fact) and exchange.status in REFUSALS)

    def has_code(self, exchange: Exchange) -> bool:
        if self.codes:
            return exchange.code in self.codes
        return self.has_any_code or exchange.code not in DOCUMENTED_CODES

    def fits(self, exchange: Exchange) -> bool:
        return self.has_status(exchange) and self.has_code(exchange)

    def may_explain(self, exchange: Exchange) -> bool:
        """Return whether a refusal may be one for this reason, with a code that no source names."""
        is_coded = self.has_code(exchange) or exchange.code not in DOCUMENTED_CODES
        return self.has_status(exchange) and is_coded


def row(
    name: str,
    fact: str,
    status: int | tuple[int, ...],
    because: str,
    decides: Decision,
    **more: Any,  # noqa: ANN401 - each attribute has its own type
) -> Reason:
    """Make a row of the table: whose check it is, what promises it, how it is told, and when it applies."""
    statuses = status if isinstance(status, tuple) else (status,)
    facts = (fact,) if fact else ()
    return Reason(
        **{"id": name, "facts": facts, "statuses": statuses, "because": because, "decides": decides, **more}
    )


def open_row(because: str, status: int | tuple[int, ...], decides: Decision, **more: Any) -> Reason:  # noqa: ANN401
    """Make a row of what no source promises: nothing is concluded from such a refusal."""
    return row("", "", status, because, decides, **{"has_any_code": True, **more})
