"""What an answer breaks and verifies, by the reasons to refuse its request."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from knouds_harness.contract.shapes import as_json
from knouds_harness.exchange.evidence import Exchange
from knouds_harness.judging.claim import Claim
from knouds_harness.judging.context import Case
from knouds_harness.judging.rule import admission, reasons
from knouds_harness.judging.rule.admission import Admission, why_denied
from knouds_harness.judging.rule.allowed import Allowed, why_expected
from knouds_harness.judging.rule.reason import MOST_STATUSES, Reason
from knouds_harness.judging.rule.reasons import CAPABILITY, OF_KEYS

_MOST_SAID: Final = 3
_GATES: Final = (reasons.REVOKED_KEY, CAPABILITY, reasons.MODEL_ABOVE_TIER)
"""Reasons about the sender: a refusal for one that does not apply says nothing of what else is wrong."""
Ruled = tuple[str, Claim]
"""The id of the check that makes a claim, and the claim."""


def claims_by_rule(case: Case) -> Iterator[Ruled]:
    if not case.exchange.is_delivery:
        yield from read(case.exchange, case.allowed)


def read(exchange: Exchange, allowed: Allowed) -> Iterator[Ruled]:
    """Yield what an answer breaks, and what it verifies.

    A success where a reason surely applies breaks the fact of that reason. A refusal that no reason which may
    apply explains breaks the facts of those that surely apply, or the fact that admits the request if none
    does. A fact is verified only by an answer that a server which breaks it could not have given.
    """
    return _Answer(exchange, allowed).claims()


@dataclass(frozen=True)
class _Answer:
    exchange: Exchange
    allowed: Allowed

    def claims(self) -> Iterator[Ruled]:
        exchange, status, sure = self.exchange, self.exchange.status, self.allowed.sure
        if status is None or 300 <= status < 400 or exchange.is_from_outside:
            return
        if status == 429:  # which says nothing of other reasons
            over_limit = [each for each in sure if each is reasons.OVER_LIMIT]
            yield from (
                self._like(*over_limit) if reasons.OVER_LIMIT.fits(exchange) else self._unlike(*over_limit)
            )
        elif status >= 500 and exchange.code != "EXECUTION_FAILED":
            # It breaks ground.no-undocumented-server-error, and says nothing of reasons.
            owed = (reasons.PROVIDER_FAILURE, reasons.OVER_LIMIT)
            yield from self._unlike(*(each for each in owed if each in sure))
        elif exchange.is_success:
            yield from self._of_success()
        else:
            yield from self._of_refusal()

    def _of_success(self) -> Iterator[Ruled]:
        refusing = [each for each in self.allowed.sure if not each.lets_pass]
        yield from self._unlike(*refusing)
        if not refusing:
            for admitted in self._admissions():
                yield self._claim(*admitted, "admitted", holds=True)

    def _admissions(self) -> Iterator[Admission]:
        """Yield what a success verifies: of each reason that does not apply, what admits the request."""
        asked, known = self.allowed.asked, self.allowed.known
        if asked.operation is None:
            return
        if asked.body is None and asked.is_body_known:
            yield admission.of_type(asked, known)
        if asked.operation.is_public:
            if asked.key == "missing":
                yield admission.of_key(asked, known)
        elif known.state == "active":
            yield admission.of_key(asked, known)
            if self.allowed.reasons[CAPABILITY] is False:
                yield admission.of_capabilities(asked, known)
        if asked.operation_id == "runModel" and known.role == "admin" and known.state == "active":
            yield admission.of_tier(asked, known)
        found = known.resource
        is_own = found.exists and found.owner is not None and found.owner == known.user
        if is_own and asked.operation_id != "cancelExecution":
            yield admission.of_owner(asked, known)
        if asked.operation_id == "getPublicWorkflowSchema" and found.is_public:
            yield admission.of_public_schema(asked, known)

    def _of_refusal(self) -> Iterator[Ruled]:
        exchange, sure, explaining = self.exchange, self.allowed.sure, self.allowed.explaining(self.exchange)
        is_denied = exchange.code == "CAPABILITY_DENIED"
        of_key = [each for each in sure if each in OF_KEYS]
        if is_denied and of_key:
            expected = "401, as the key is judged before its capabilities"
            yield self._claim(of_key[0].id, "auth.before-capability", expected, holds=False)
            return
        if explaining:
            if len(explaining) == 1 and explaining[0] in sure:
                yield from self._like(explaining[0])
            if not {*explaining} & {*OF_KEYS} and all(not each.is_told_to_all for each in explaining):
                yield from self._key_was_accepted()
            if is_denied:
                yield from self._names_required()
            return
        gate = next((each for each in _GATES if each.fits(exchange) and each in self.allowed.reasons), None)
        if gate is not None and gate.admits is not None:
            yield from self._refused(gate.admits(self.allowed.asked, self.allowed.known))
            yield from self._unlike(*(each for each in sure if each is CAPABILITY or each in OF_KEYS))
        elif any(each.id for each in sure):
            is_of_input = exchange.status not in (401, 403, 404)
            alike = [each for each in sure if each.has_status(exchange)]
            alike = alike or [each for each in sure if each.is_told_to_all is is_of_input]
            yield from self._unlike(*(alike or sure))
            yield from self._key_was_accepted()
        elif not sure and not any(exchange.code in each.codes for each in self.allowed.possible):
            yield from self._unexplained()

    def _key_was_accepted(self) -> Iterator[Ruled]:
        """A refusal other than a 401 that tells of the request shows that the key was accepted."""
        asked, known = self.allowed.asked, self.allowed.known
        if asked.is_secured and known.state == "active":
            yield self._claim(*admission.of_key(asked, known), "any answer but 401", holds=True)

    def _unexplained(self) -> Iterator[Ruled]:
        """Blame what admits the request: the opposite of the reason that the refusal looks like."""
        exchange, asked = self.exchange, self.allowed.asked
        alike = [
            reason
            for reason, applies in self.allowed.reasons.items()
            if applies is False and reason.admits is not None and reason.has_status(exchange)
        ]
        named = [each for each in alike if exchange.code in each.codes]
        named = named or [each for each in alike if each.fits(exchange)]
        if named and named[0].admits is not None:
            yield from self._refused(named[0].admits(asked, self.allowed.known))
        elif asked.operation is None or not asked.operation.is_public:
            # pricing.is-public-json, health.is-public-json and the schema's own facts judge the public ones
            yield from self._refused(Admission("schemas.status-is-documented", "ground.status-is-documented"))

    def _refused(self, admitted: Admission) -> Iterator[Ruled]:
        """Claim that the request was to be admitted, if its sender is known to be admitted at all."""
        asked, known = self.allowed.asked, self.allowed.known
        is_sender_known = known.state == "active" or self.exchange.code == "CAPABILITY_DENIED"
        if asked.operation is None or not (is_sender_known or asked.operation.is_public):
            return
        said = dict.fromkeys(
            f"the key holds {self._held}"
            if reason is CAPABILITY and known.held is not None
            else reason.otherwise
            for reason, applies in self.allowed.reasons.items()
            if applies is False and reason.otherwise
        )
        words = ", ".join([*said][:_MOST_SAID])
        yield self._claim(*admitted, f"no documented reason to refuse: {words}", holds=False)

    def _unlike(self, *refusing: Reason) -> Iterator[Ruled]:
        """Claim that the answer is not the refusal that it had to be for these reasons."""
        for reason in refusing:
            if not reason.id:
                continue
            is_of_code = bool(reason.codes) and self.exchange.status in reason.statuses
            expected, where = (" or ".join(reason.codes), "/code") if is_of_code else (reason.refusal, "")
            if reason.status_fact or len(reason.statuses) > MOST_STATUSES:
                expected = "a refusal"
            because = f"holds {self._held}" if reason is CAPABILITY else reason.because
            fact = self._fact_of(reason)
            yield self._claim(reason.id, fact, f"{expected}: {because}", holds=False, where=where)

    def _like(self, *refusing: Reason) -> Iterator[Ruled]:
        """Claim that the answer is the refusal that it had to be for these reasons, and no other."""
        for reason in refusing:
            if not reason.id:
                continue
            if reason in OF_KEYS:
                yield self._claim(reason.id, "auth.before-capability", "a key judged first", holds=True)
            yield self._claim(reason.id, self._fact_of(reason), reason.status_words, holds=True)
            if reason.status_fact:
                holds = self.exchange.status in reason.statuses
                yield self._claim(reason.id, reason.status_fact, reason.status_words, holds=holds)
            code, plain = self.exchange.code, "UNAUTHORIZED"
            if reason in OF_KEYS and not reason.codes and code is not None:
                holds = code == plain
                yield self._claim(reason.id, "auth.plain-401-code", plain, holds=holds, where="/code")

    def _names_required(self) -> Iterator[Ruled]:
        """A denial names a capability that would have been enough."""
        operation, values = self.allowed.asked.operation, self.allowed.asked.path_values
        required = self.exchange.members.get("required")
        if operation is None or values is None or not required or self.exchange.status != 403:
            return
        listed = required if isinstance(required, list) else [required]  # the docs leave open which
        named = [each for each in listed if isinstance(each, str)]
        yield self._claim(
            CAPABILITY.id,
            "capability.denied-names-required",
            " or ".join(operation.required_capabilities(values)) or "no denial",
            ", ".join(sorted(named)) if named else as_json(required),
            holds=any(operation.admits({capability}, values) for capability in named),
            where="/required",
        )

    def _fact_of(self, reason: Reason) -> str:
        asked, known = self.allowed.asked, self.allowed.known
        if reason is CAPABILITY and asked.operation is not None:
            return why_denied(asked.operation, known.held or (), asked.path_values or {})
        return reason.fact

    @property
    def _held(self) -> str:
        return ", ".join(sorted(self.allowed.known.held or ())) or "nothing"

    def _claim(
        self, check: str, fact: str, expected: str, observed: str = "", *, holds: bool, where: str = ""
    ) -> Ruled:
        observed, reasons = observed or self.exchange.answer, () if holds else why_expected(self.allowed)
        return check, Claim(expected, observed, holds=holds, where=where, fact=fact, reasons=reasons)
