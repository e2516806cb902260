"""What may be answered to a request, and what an answer then breaks and verifies."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from knouds_harness.contract.shapes import as_json
from knouds_harness.exchange.evidence import Exchange
from knouds_harness.judging.rule import admission, reasons
from knouds_harness.judging.rule.admission import Admission, why_denied
from knouds_harness.judging.rule.asked import AskedRequest, Known
from knouds_harness.judging.rule.reason import Reason
from knouds_harness.judging.rule.reasons import CAPABILITY, OF_KEYS, REASONS

_WORDS: Final = {True: "yes", None: "unknown"}
_MOST_SAID: Final = 3
_GATES: Final = (reasons.REVOKED_KEY, CAPABILITY, reasons.MODEL_ABOVE_TIER)
"""Reasons about the sender: a refusal for one that does not apply says nothing of what else is wrong."""


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
        """The reasons that surely apply."""
        return [reason for reason, applies in self.reasons.items() if applies]

    @property
    def possible(self) -> list[Reason]:
        """The reasons that surely apply, or may."""
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


# --- an answer


class Shown(NamedTuple):
    """What one answer shows about one fact.

    Attributes:
        check: Id of the check that says so.
        where: JSON pointer into the response body, or empty for the whole response.
    """

    check: str
    fact: str
    holds: bool
    expected: str
    observed: str
    where: str = ""


def read(exchange: Exchange, allowed: Allowed) -> Iterator[Shown]:
    """Yield what an answer breaks, and what it verifies.

    A success where a reason surely applies breaks the fact of that reason. A refusal that no reason which may
    apply explains breaks the facts of those that surely apply, or the fact that admits the request if none
    does. A fact is verified only by an answer that a server which breaks it could not have given.
    """
    status = exchange.status
    if status is None or 300 <= status < 400 or exchange.is_from_outside:
        return
    if status == 429:
        if reasons.OVER_LIMIT in allowed.sure:
            fits = reasons.OVER_LIMIT.fits(exchange)
            yield from (
                _like(reasons.OVER_LIMIT, exchange, allowed)
                if fits
                else [_unlike(reasons.OVER_LIMIT, exchange, allowed)]
            )
        return  # which says nothing of other reasons
    if status >= 500 and exchange.code != "EXECUTION_FAILED":
        for reason in (reasons.PROVIDER_FAILURE, reasons.OVER_LIMIT):
            if reason in allowed.sure:
                yield _unlike(reason, exchange, allowed)
        return  # which breaks ground.no-undocumented-server-error, and says nothing of reasons
    if exchange.is_success:
        yield from _read_success(exchange, allowed)
    else:
        yield from _read_refusal(exchange, allowed)


def why_expected(allowed: Allowed) -> tuple[str, ...]:
    """Return in one line each which reasons to refuse the request apply: yes, no or unknown."""
    told = []
    for reason, applies in allowed.reasons.items():
        if applies is not False:
            told.append(f"{_WORDS[applies]}: {reason.because} → {refusal_of(reason)}")
        elif reason.otherwise:
            told.append(f"no: {reason.otherwise}")
    return tuple(told)


def refusal_of(reason: Reason) -> str:
    """Return the status and code of a refusal for a reason, in words."""
    codes = " or ".join(reason.codes)
    return f"{_statuses(reason)}{f' {codes}' if codes else ''}"


# --- a success


def _read_success(exchange: Exchange, allowed: Allowed) -> Iterator[Shown]:
    refusing = [each for each in allowed.sure if not each.lets_pass]
    for reason in refusing:
        if reason.id:
            yield _unlike(reason, exchange, allowed)
    if not refusing:
        for admitted in _admissions(allowed):
            yield Shown(*admitted, holds=True, expected="admitted", observed=exchange.answer)


def _admissions(allowed: Allowed) -> Iterator[Admission]:
    """Yield what a success verifies: of each reason that does not apply, the fact that admits the request."""
    asked, known = allowed.asked, allowed.known
    if asked.operation is None:
        return
    if asked.body is None and asked.is_body_known:
        yield admission.of_type(asked, known)
    if asked.operation.is_public:
        if asked.key == "missing":
            yield admission.of_key(asked, known)
    elif known.state == "active":
        yield admission.of_key(asked, known)
        if allowed.reasons[CAPABILITY] is False:
            yield admission.of_capabilities(asked, known)
    if asked.operation_id == "runModel" and known.role == "admin" and known.state == "active":
        yield admission.of_tier(asked, known)
    found = known.resource
    if (
        found.exists
        and found.owner is not None
        and found.owner == known.user
        and asked.operation_id != "cancelExecution"
    ):
        yield admission.of_owner(asked, known)
    if asked.operation_id == "getPublicWorkflowSchema" and found.is_public:
        yield admission.of_public_schema(asked, known)


# --- a refusal


def _read_refusal(exchange: Exchange, allowed: Allowed) -> Iterator[Shown]:
    sure, explaining = allowed.sure, allowed.explaining(exchange)
    is_denied = exchange.code == "CAPABILITY_DENIED"
    if is_denied and any(each in OF_KEYS for each in sure):
        words = "401, as the key is judged before its capabilities"
        key = next(each for each in sure if each in OF_KEYS)
        yield Shown(key.id, "auth.before-capability", holds=False, expected=words, observed=exchange.answer)
        return
    if explaining:
        if len(explaining) == 1 and explaining[0] in sure:
            yield from _like(explaining[0], exchange, allowed)
        if not {*explaining} & {*OF_KEYS} and all(not each.is_told_to_all for each in explaining):
            yield from _key_was_accepted(exchange, allowed)
        if is_denied:
            yield from _names_required(exchange, allowed)
        return
    gate = next((each for each in _GATES if each.fits(exchange) and each in allowed.reasons), None)
    if gate is not None and gate.admits is not None:
        if (found := _refused(gate.admits(allowed.asked, allowed.known), exchange, allowed)) is not None:
            yield found
        sure = [each for each in sure if each is CAPABILITY or each in OF_KEYS]
        yield from (_unlike(each, exchange, allowed) for each in sure if each.id)
    elif any(each.id for each in sure):
        is_of_input = exchange.status not in (401, 403, 404)
        alike = [each for each in sure if each.has_status(exchange)]
        near = alike or [each for each in sure if each.is_told_to_all is is_of_input] or sure
        yield from (_unlike(each, exchange, allowed) for each in near if each.id)
        yield from _key_was_accepted(exchange, allowed)
    elif not sure and not any(exchange.code in each.codes for each in allowed.possible):
        yield from _unexplained(exchange, allowed)


def _key_was_accepted(exchange: Exchange, allowed: Allowed) -> Iterator[Shown]:
    """A refusal other than a 401 that tells of the request shows that the key was accepted."""
    if allowed.asked.is_secured and allowed.known.state == "active":
        yield Shown(
            *admission.of_key(allowed.asked, allowed.known),
            holds=True,
            expected="any answer but 401",
            observed=exchange.answer,
        )


def _unexplained(exchange: Exchange, allowed: Allowed) -> Iterator[Shown]:
    """Blame what admits the request: the opposite of the reason that the refusal looks like."""
    alike = [
        reason
        for reason, applies in allowed.reasons.items()
        if applies is False and reason.admits is not None and reason.has_status(exchange)
    ]
    named = [each for each in alike if exchange.code in each.codes] or [
        each for each in alike if each.fits(exchange)
    ]
    if not named and allowed.asked.operation is not None and allowed.asked.operation.is_public:
        return  # which pricing.is-public-json, health.is-public-json and the schema's own facts judge
    blame = named[0].admits if named else None
    admitted = (
        blame(allowed.asked, allowed.known)
        if blame is not None
        else Admission("schemas.status-is-documented", "ground.status-is-documented")
    )
    if (found := _refused(admitted, exchange, allowed)) is not None:
        yield found


def _refused(admitted: Admission, exchange: Exchange, allowed: Allowed) -> Shown | None:
    """Claim that the request was to be admitted; nothing if its sender is not known to be admitted at all."""
    asked, known = allowed.asked, allowed.known
    is_sender_known = known.state == "active" or exchange.code == "CAPABILITY_DENIED"
    if asked.operation is None or not (is_sender_known or asked.operation.is_public):
        return None
    said = [
        reason.otherwise
        for reason, applies in allowed.reasons.items()
        if applies is False and reason.otherwise
    ]
    held = f"the key holds {_held(allowed)}" if known.held is not None else ""
    words = [held if each == CAPABILITY.otherwise and held else each for each in dict.fromkeys(said)]
    return Shown(
        *admitted,
        holds=False,
        expected=f"no documented reason to refuse: {', '.join(words[:_MOST_SAID])}",
        observed=exchange.answer,
    )


# --- one reason


def _fact_of(reason: Reason, allowed: Allowed) -> str:
    if reason is CAPABILITY and allowed.asked.operation is not None:
        return why_denied(allowed.asked.operation, allowed.known.held or (), allowed.asked.path_values or {})
    return reason.fact


def _statuses(reason: Reason) -> str:
    if len(reason.statuses) > _MOST_SAID:
        return "4xx"
    return " or ".join(map(str, reason.statuses))


def _unlike(reason: Reason, exchange: Exchange, allowed: Allowed) -> Shown:
    """Claim that an answer is not the refusal that it had to be."""
    is_of_code = bool(reason.codes) and exchange.status in reason.statuses
    codes = " or ".join(reason.codes)
    if reason.status_fact or len(reason.statuses) > _MOST_SAID:
        expected = "a refusal"
    else:
        expected = codes if is_of_code else refusal_of(reason)
    because = f"holds {_held(allowed)}" if reason is CAPABILITY else reason.because
    return Shown(
        reason.id,
        _fact_of(reason, allowed),
        holds=False,
        expected=f"{expected}: {because}",
        observed=exchange.answer,
        where="/code" if is_of_code else "",
    )


def _like(reason: Reason, exchange: Exchange, allowed: Allowed) -> Iterator[Shown]:
    """Claim that an answer is the refusal that it had to be, and no other."""
    if not reason.id:
        return
    if reason in OF_KEYS:
        yield Shown(
            reason.id, "auth.before-capability", holds=True, expected="a key judged first", observed=""
        )
    yield Shown(
        reason.id, _fact_of(reason, allowed), holds=True, expected=_statuses(reason), observed=exchange.answer
    )
    if reason.status_fact:
        holds = exchange.status in reason.statuses
        yield Shown(reason.id, reason.status_fact, holds, _statuses(reason), exchange.answer)
    if reason in OF_KEYS and not reason.codes and exchange.code is not None:
        holds = exchange.code == "UNAUTHORIZED"
        yield Shown(reason.id, "auth.plain-401-code", holds, "UNAUTHORIZED", exchange.answer, "/code")


def _names_required(exchange: Exchange, allowed: Allowed) -> Iterator[Shown]:
    """A denial names a capability that would have been enough."""
    operation, values, required = (
        allowed.asked.operation,
        allowed.asked.path_values,
        exchange.members.get("required"),
    )
    if operation is None or values is None or not required or exchange.status != 403:
        return
    named = required_of(exchange)
    yield Shown(
        CAPABILITY.id,
        "capability.denied-names-required",
        holds=any(operation.admits({capability}, values) for capability in named),
        expected=" or ".join(operation.required_capabilities(values)) or "no denial",
        observed=", ".join(sorted(named)) if named else as_json(required),
        where="/required",
    )


def required_of(exchange: Exchange) -> tuple[str, ...]:
    """Return the capabilities in ``required``, a string or a list: the docs leave open which."""
    required = exchange.members.get("required") if exchange.status == 403 else None
    if isinstance(required, str):
        return (required,)
    return tuple(item for item in required if isinstance(item, str)) if isinstance(required, list) else ()


def _held(allowed: Allowed) -> str:
    return ", ".join(sorted(allowed.known.held or ())) or "nothing"
