"""The user's own tests that use fixtures of the suite: each shows a fact of its own."""

import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final, Literal

import pytest

from knouds_harness.contract.sources import Fact, Source
from knouds_harness.exchange.evidence import Exchange
from knouds_harness.judging.claim import Check, Claim
from knouds_harness.judging.user_checks import USER, UserChecks
from knouds_harness.suite.recorder import FindingRecorder
from knouds_harness.suite.selection import checks_of
from knouds_harness.suite.test_invocation import FoundByChecks

RUN_FIXTURE: Final = "knouds_run"
"""What all fixtures of the suite rest on, so that a test that takes one of them has this one too."""
_MARK: Final = "user_test"


def mark_user_tests(items: Iterable[pytest.Item]) -> UserChecks:
    """Give each test of the user's a check and a fact of its own; returns all of them."""
    facts, checks = {}, {}
    for item in items:
        if checks_of(item) or RUN_FIXTURE not in getattr(item, "fixturenames", ()):
            continue
        fact = Fact(id=_id_of(item), says=_says(item), source=Source.USER)
        facts[fact.id], checks[fact.id] = fact, _check_of(fact)
        item.add_marker(pytest.mark.proves(checks[fact.id]))
        item.add_marker(_MARK)
    return UserChecks(facts=facts, checks=checks)


def is_user_test(item: pytest.Item) -> bool:
    """Whether a test is the user's and takes part in the run."""
    return item.get_closest_marker(_MARK) is not None


def record_kept(item: pytest.Item, recorder: FindingRecorder) -> None:
    """Write down that the fact of a test that passed held; a test that has sent nothing shows nothing."""
    check, exchange = checks_of(item)[0], recorder.steps.last_of_test
    if exchange is not None:
        recorder.record(check, exchange, check.judge(exchange))


def record_failure(
    item: pytest.Item, recorder: FindingRecorder, error: BaseException
) -> Literal["finding", "waived", "error"]:
    """Write down that the fact of a test did not hold, which all that the test has sent shows.

    Returns an error where no assert failed, or where nothing was sent that could show it.
    """
    if isinstance(error, FoundByChecks):
        return "finding"
    check, exchange = checks_of(item)[0], recorder.steps.last_of_test
    if exchange is None or not _is_assert(error):
        return "error"
    callspec = getattr(item, "callspec", None)
    broken = [
        replace(claim, holds=False, observed=_observed(error), where=callspec.id if callspec else "")
        for claim in check.judge(exchange)
    ]
    return "finding" if recorder.record(check, exchange, broken, compared=()) else "waived"


def _check_of(fact: Fact) -> Check[[]]:
    def judge(_exchange: Exchange) -> Iterator[Claim]:
        yield Claim(fact=fact.id, holds=True, expected=_after_expected(fact.says), observed="the test passed")

    judge.__doc__ = fact.says
    return Check(id=fact.id, facts=(fact.id,), judge=judge)


def _after_expected(sentence: str) -> str:
    """A sentence as it goes on after the word "expected"."""
    begins_as_name = sentence[1:2].isupper()
    return f"that {sentence if begins_as_name else sentence[:1].lower() + sentence[1:]}".rstrip(".")


def _id_of(item: pytest.Item) -> str:
    """Such as ``user.tests.test_orders.test_price``: the same for all parameters, and in every run."""
    name = item.nodeid.partition("[")[0].replace(".py::", "::")
    return f"{USER}.{re.sub(r'[^A-Za-z0-9_-]+', '.', name).strip('.')}"


def _says(item: pytest.Item) -> str:
    first = (getattr(getattr(item, "obj", None), "__doc__", None) or "").strip().partition("\n")[0]
    name = getattr(item, "originalname", None) or item.name
    return first or name.removeprefix("test_").replace("_", " ")


def _is_assert(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):  # of hypothesis, where a property fails in several ways
        return all(map(_is_assert, error.exceptions))
    return isinstance(error, AssertionError | pytest.fail.Exception)


def _observed(error: BaseException) -> str:
    """The message of an assert, without where pytest took its values from."""
    lines = itertools.takewhile(
        lambda line: not line.startswith(("+", "-", "?")), map(str.strip, str(error).splitlines())
    )
    return "; ".join(filter(None, lines)) or "the assert failed"
