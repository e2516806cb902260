"""What may be answered to a request."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from knouds_harness.exchange.evidence import Exchange
from knouds_harness.judging.rule.asked import AskedRequest, Known
from knouds_harness.judging.rule.reason import Reason
from knouds_harness.judging.rule.reasons import OF_KEYS, REASONS

_WORDS: Final = {True: "yes", None: "unknown"}


@dataclass(frozen=True, kw_only=True)
class Allowed:
    """What a legal server may answer: a refusal for any reason that may apply, else a success.

    Attributes:
        reasons: Whether each reason applies that concerns the operation: True, False, or None if unknown.
    """

    asked: AskedRequest
    known: Known
    reasons: Mapping[Reason, bool | None]

    @property
    def sure(self) -> list[Reason]:
        return [reason for reason, applies in self.reasons.items() if applies]

    @property
    def possible(self) -> list[Reason]:
        return [reason for reason, applies in self.reasons.items() if applies is not False]

    def explaining(self, exchange: Exchange) -> list[Reason]:
        """Return the reasons for which a server may have refused in this way."""
        fitting = [each for each in self.possible if each.fits(exchange)]
        if fitting or any(each.has_status(exchange) for each in self.sure):
            return fitting
        return [each for each in self.possible if each.may_explain(exchange)]


def allowed(asked: AskedRequest, known: Known) -> Allowed:
    """Return what may be answered to a request.

    Without a valid key, only reasons that may be told to everybody are left besides the key itself: whether
    something exists, and what the key might do, must not show. What comes last shows if nothing else refuses.
    """
    told = [each.implies for each in REASONS if each.id in known.asserted]
    for implied in told:
        known = replace(known, resource=replace(known.resource, **implied))
    reasons = {
        each: each.applies(asked, known)
        for each in REASONS
        if each.concerns(asked) or each.id in known.asserted
    }
    if any(reasons[each] for each in OF_KEYS):
        for each in reasons:
            if each not in OF_KEYS and not each.is_told_to_all:
                reasons[each] = False
    if any(applies and not each.comes_last for each, applies in reasons.items()):
        reasons |= {each: False for each in reasons if each.comes_last and each.id not in known.asserted}
    return Allowed(asked=asked, known=known, reasons=reasons)


def why_expected(allowed: Allowed) -> tuple[str, ...]:
    """Return in one line each which reasons to refuse the request apply: yes, no or unknown."""
    told = []
    for reason, applies in allowed.reasons.items():
        if applies is not False:
            told.append(f"{_WORDS[applies]}: {reason.because} → {reason.refusal}")
        elif reason.otherwise:
            told.append(f"no: {reason.otherwise}")
    return tuple(told)
