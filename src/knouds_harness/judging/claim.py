"""What a check is: a pure function from an exchange to claims about facts."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import KW_ONLY, dataclass, field, replace
from functools import update_wrapper
from typing import Concatenate, Generic, ParamSpec, cast

from knouds_harness.contract.document import shipped_document
from knouds_harness.contract.operations import LIMIT_BY_TIER
from knouds_harness.contract.shapes import Mismatch, as_json
from knouds_harness.exchange.evidence import JSON, Exchange
from knouds_harness.judging.context import Case
from knouds_harness.judging.rule.reason import Reason
from knouds_harness.judging.rule.reasons import OF_KEYS
from knouds_harness.runs.findings import difference
from knouds_harness.runs.run_file import RunCheck
from knouds_harness.targets.needs import Need

P = ParamSpec("P")

_CHECKS = "knouds_harness.judging.checks."  # followed by the family


@dataclass(frozen=True)
class Claim:
    """Whether one fact held in one exchange.

    Attributes:
        expected: What the fact requires, in words.
        observed: What came instead, in words.
        holds: Whether the exchange kept the fact.
        fact: Id of the fact in the document; a check of one fact leaves it out.
        where: JSON pointer into the response body, ``header NAME``, or empty for the whole response.
        picture: Overlapping requests, drawn in lines of text.
        cause: What answered in place of the API; such claims are one finding, whatever was asked.
        reasons: Whether each documented reason to refuse the request applies, in one line each.
    """

    expected: str
    observed: str
    _: KW_ONLY
    holds: bool
    fact: str = ""
    where: str = ""
    picture: str = ""
    cause: str = ""
    reasons: tuple[str, ...] = ()

    @property
    def difference(self) -> str:
        """What was expected where, and what came instead, in one line."""
        return difference(self.expected, self.observed, self.where)


@dataclass(frozen=True, kw_only=True)
class Check(Generic[P]):
    """A named judgement. A check that does not apply to an exchange makes no claim.

    Attributes:
        id: ``family.name``, as it stands in findings and waivers.
        facts: Every fact that the check may make a claim about.
        given: Names of the arguments that ``judge`` takes besides the exchange.
        reads: Reads arguments from the exchange itself.
        needs: What the target's profile must offer; otherwise the facts count as untested.
        applies: Decides from the exchange and its context whether the check applies; None if only the sender
            knows.
        if_unknown: Replaces arguments that are not known. The check then yields only claims that do not hold.
            None if it can say nothing then.

    """

    id: str
    facts: tuple[str, ...]
    given: tuple[str, ...] = ()
    needs: tuple[Need[object], ...] = ()
    applies: Callable[[Case], object] | None = field(default=None, repr=False)
    reads: Callable[[Case], Mapping[str, object]] | None = field(default=None, repr=False)
    if_unknown: Callable[[Case], Mapping[str, object]] | None = field(default=None, repr=False)
    judge: Callable[Concatenate[Exchange, P], Iterator[Claim]] = field(repr=False)

    @property
    def family(self) -> str:
        """The first part of the id."""
        return self.id.partition(".")[0]

    @property
    def sentence(self) -> str:
        """The promise in one line, for reports."""
        return (inspect.getdoc(self.judge) or "").partition("\n")[0]

    @property
    def recorded(self) -> RunCheck:
        """What a run record keeps of it."""
        return RunCheck(id=self.id, family=self.family, sentence=self.sentence, facts=self.facts)

    def applies_to(self, case: Case) -> bool:
        """Return whether the check applies to this exchange."""
        if self.id in case.context.applying:
            return True
        return self.applies is not None and bool(self.applies(case))

    def lacks_knowledge(self, case: Case) -> bool:
        """Return whether an argument is unknown, so that the check cannot say that a fact holds."""
        return self._known(case).keys() != set(self.given)

    def claims_of(self, case: Case) -> Iterator[Claim]:
        """Return the claims about an exchange to which the check applies; none if it knows too little."""
        judge = cast("Callable[..., Iterator[Claim]]", self.judge)
        known = self._known(case)
        is_known = known.keys() == set(self.given)
        if not is_known and self.if_unknown is not None and self.id not in case.context.applying:
            known = {**self.if_unknown(case), **known}
        if known.keys() == set(self.given):
            yield from (claim for claim in judge(case.exchange, **known) if is_known or not claim.holds)

    def _known(self, case: Case) -> dict[str, object]:
        known = {**(self.reads(case) if self.reads else {}), **case.known}
        return {name: known[name] for name in self.given if known.get(name) is not None}


class RuleCheck(Check[[]]):
    """A check whose claims are what the rule reads about one reason to refuse, or about what admits.

    It judges nothing itself: the engine has every answer read by the rule, once.
    """

    @property
    def sentence(self) -> str:
        """The promise, in the words of the document."""
        return shipped_document().facts[self.facts[0]].says


def by_rule(reason: Reason, *needs: Need[object]) -> RuleCheck:
    """Make the check of a reason to refuse; ``needs`` is what the profile must offer to show it."""
    also = ("auth.before-capability", "auth.plain-401-code") if reason in OF_KEYS and not reason.codes else ()
    facts = (*reason.facts, *filter(None, (reason.status_fact,)), *also)
    return RuleCheck(id=reason.id, facts=facts, needs=needs, judge=_judged_by_rule)


def admitting(check_id: str, *facts: str, needs: tuple[Need[object], ...] = ()) -> RuleCheck:
    """Make the check of facts that admit a request, broken by a refusal without a reason."""
    return RuleCheck(id=check_id, facts=facts, needs=needs, judge=_judged_by_rule)


def _judged_by_rule(_: Exchange) -> Iterator[Claim]:
    return iter(())


def is_answer(case: Case) -> bool:
    """Whether it is a request to the API, answered or not, and not a delivery; nor beyond our own bounds."""
    is_readable = not case.exchange.is_from_outside and not case.exchange.is_beyond_bounds
    return not case.exchange.is_delivery and is_readable


def is_from_elsewhere(case: Case) -> bool:
    """Whether something in front of the API answered."""
    return case.exchange.is_from_outside


def answers_to(operation_id: str) -> Callable[[Case], bool]:
    """Return a predicate: the operation itself responded, and not with a 429."""
    return lambda case: case.operation_id == operation_id and case.is_answered


def is_submit(case: Case) -> bool:
    """Whether an asynchronous run was accepted."""
    return case.is_run and case.asked.is_async and "executionId" in case.shown


def is_limited_run(case: Case) -> bool:
    """Whether it is a run by a known active key of an account on a rate-limited tier."""
    is_limited = case.known.get("tier") in LIMIT_BY_TIER and case.known.get("role") != "admin"
    return case.is_run and case.key_state == "active" and is_limited


def check(
    *facts: str,
    needs: tuple[Need[object], ...] = (),
    applies: Callable[[Case], object] | None = None,
    reads: Callable[[Case], Mapping[str, object]] | None = None,
    if_unknown: Callable[[Case], Mapping[str, object]] | None = None,
) -> Callable[[Callable[Concatenate[Exchange, P], Iterator[Claim]]], Check[P]]:
    """Turn a judging function into a check; its id is ``FAMILY.function-name``.

    The function is given what its keyword-only parameters name.
    """

    def decorate(judge: Callable[Concatenate[Exchange, P], Iterator[Claim]]) -> Check[P]:
        family = judge.__module__.removeprefix(_CHECKS)
        name = judge.__name__.replace("_", "-")
        return Check(
            id=f"{family}.{name}",
            facts=facts,
            given=tuple(inspect.getfullargspec(judge).kwonlyargs),
            needs=needs,
            applies=applies,
            reads=reads,
            if_unknown=if_unknown,
            judge=_about(facts[0], judge) if len(facts) == 1 else judge,
        )

    return decorate


def _about(
    fact: str, judge: Callable[Concatenate[Exchange, P], Iterator[Claim]]
) -> Callable[Concatenate[Exchange, P], Iterator[Claim]]:
    """Have claims that name no fact be about this one."""

    def judged(exchange: Exchange, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[Claim]:
        for claim in judge(exchange, *args, **kwargs):
            yield claim if claim.fact else replace(claim, fact=fact)

    update_wrapper(judged, judge)
    return judged


def answer_is(exchange: Exchange, expected: str, *, holds: bool, fact: str = "") -> Claim:
    """Claim whether an answer is as expected, by its status and code."""
    return Claim(expected, exchange.answer, holds=holds, fact=fact)


def status_is(exchange: Exchange, *statuses: int, fact: str = "") -> Claim:
    """Claim that the response has one of the statuses."""
    expected = " or ".join(map(str, statuses))
    return answer_is(exchange, expected, holds=exchange.status in statuses, fact=fact)


def header_is(exchange: Exchange, name: str, expected: str, *, holds: bool, fact: str = "") -> Claim:
    """Claim whether a header of the response is as expected."""
    observed, where = exchange.header(name), f"header {name}"
    observed = "no such header" if observed is None else observed
    return Claim(expected, observed, holds=holds, where=where, fact=fact)


def member_is(members: Mapping[str, JSON], name: str, expected: str, *, holds: bool, fact: str = "") -> Claim:
    """Claim whether a member of a body is as expected."""
    observed = as_json(members[name]) if name in members else f"no {name}"
    return Claim(expected, observed, holds=holds, where=f"/{name}", fact=fact)


def mismatch_claim(mismatch: Mismatch) -> Claim:
    """Turn a mismatch into a claim that does not hold."""
    return Claim(mismatch.expected, mismatch.observed, holds=False, where=mismatch.where, fact=mismatch.fact)


def explain(check: Check[...], claim: Claim) -> str:
    """Describe a claim that does not hold in one line."""
    return f"{claim.fact} ({claim.difference}; {check.id})"
