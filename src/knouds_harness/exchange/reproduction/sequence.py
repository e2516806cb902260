"""Of a sequence of requests, what matters: which led to an answer, what they gave, what went out at once."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from knouds_harness.contract.operations import Action
from knouds_harness.exchange.evidence import Exchange

KEY_MEMBER: Final = "secret"
_VARIABLE_BY_MEMBER: Final = {"slug": "slug", "executionId": "execution", "pollUrl": "poll_url"}
_VARIABLE_BY_CONTROL_MEMBER: Final = {"account": "account", KEY_MEMBER: "key"}
_LONGEST_PAUSE_S: Final = 10.0
_CHANGES_BY_ITSELF: Final = frozenset({"getExecution", "cancelExecution", "listUsage", "listUsageModels"})
_MOST_AT_ONCE: Final = 16
_FEWEST_REPEATED: Final = 4


def essential_steps(
    exchanges: Sequence[Exchange], *, shown_by: Exchange, is_compared: bool = False
) -> tuple[Exchange, ...]:
    """Of what was sent, all that may have led to an answer.

    Left out are reads by other operations than that answer's and the last one's, unless answers are compared,
    and of equal answers to one read, until something else is sent than reads, all but the first and the last.
    """
    told = {each.request.operation_id for each in (shown_by, exchanges[-1])}
    acting = [
        each
        for each in exchanges
        if is_compared or each.request.action is not Action.READ or each.request.operation_id in told
    ]
    alike: list[list[Exchange]] = []
    latest: dict[object, list[Exchange]] = {}
    for each in acting:
        question = each.url, each.asked_headers
        if each.request.action is not Action.READ:
            latest.clear()
            alike.append([each])
        elif question in latest and _answer_of(latest[question][0]) == _answer_of(each):
            latest[question].append(each)
        else:
            latest[question] = [each]
            alike.append(latest[question])
    kept = {each.id for run in alike for each in (run[0], run[-1])} | {shown_by.id}
    return tuple(each for each in acting if each.id in kept)


def _answer_of(exchange: Exchange) -> object:
    return exchange.status, exchange.body


@dataclass(frozen=True, kw_only=True)
class Given:
    """A value that an answer gave and that later requests name.

    Attributes:
        member: Of the answer's body.
        occurrence: Which of the members of this name in the answer's text it is, counted from 1.
    """

    variable: str
    value: str
    member: str
    occurrence: int


def given_by(step: Exchange, known: Sequence[Given] = ()) -> list[Given]:
    """The values that an answer gives and that are not known yet."""
    body = step.json_or_none()
    is_giving = step.request.action in (Action.WRITE, Action.RUN) and step.is_success
    variables = _VARIABLE_BY_CONTROL_MEMBER if step.is_control else _VARIABLE_BY_MEMBER
    given: list[Given] = []
    for member, name in variables.items() if is_giving and isinstance(body, dict) else ():
        value = body.get(member)
        values = re.findall(rf'"{member}" *: *"([^"]*)"', step.body.decode("utf-8", "replace"))
        is_known = value in [each.value for each in known] or value in step.request.path_values.values()
        if value in values and not is_known:
            number = 1 + sum(each.variable.startswith(name) for each in known)
            occurrence = 1 + values.index(value)
            given.append(Given(variable=f"{name}{number}", value=value, member=member, occurrence=occurrence))
    return given


@dataclass(frozen=True, kw_only=True)
class SequencePart:
    """Requests that a script sends in one go.

    Attributes:
        is_at_once: Whether they go out at once; else they are the same request, again and again.
    """

    steps: Sequence[Exchange]
    first: int
    is_at_once: bool = False


def parts_of(steps: Sequence[Exchange], *, apart: str | None = None) -> list[SequencePart]:
    """What goes out alone, at once, or in a loop; the exchange of the id ``apart`` is in no loop."""
    parts: list[SequencePart] = []
    number = 0
    while number < len(steps):
        together = _count_at_once(steps, number)
        count, is_at_once = together, 1 < together <= _MOST_AT_ONCE
        if not is_at_once:
            alike = _count_alike(steps, number, apart)
            count = alike if alike >= _FEWEST_REPEATED else 1
        parts.append(
            SequencePart(steps=steps[number : number + count], first=number + 1, is_at_once=is_at_once)
        )
        number += count
    return parts


def _count_at_once(steps: Sequence[Exchange], start: int) -> int:
    """How many, from one step on, were sent before any of them was answered; more than enough will do."""
    end, first_answered_at = start + 1, ended_at(steps[start])
    most = min(len(steps), start + _MOST_AT_ONCE + 1)
    while end < most and steps[end].started_at < first_answered_at:
        first_answered_at = min(first_answered_at, ended_at(steps[end]))
        end += 1
    return end - start


def _count_alike(steps: Sequence[Exchange], start: int, apart: str | None) -> int:
    """How many, from one step on, are that one again; a request that gives a name is never a repeat."""
    end = start
    while (
        end < len(steps)
        and steps[end].id != apart
        and steps[end].request.operation_id not in _CHANGES_BY_ITSELF
        and _request_of(steps[end]) == _request_of(steps[start])
        and not given_by(steps[end])
        and not re.search(r"[\[\]{}]", steps[end].url)  # curl would take it for several
    ):
        end += 1
    return end - start


def _request_of(step: Exchange) -> object:
    return step.url, step.asked_headers, step.request.method, step.request.body, step.status


def ended_at(exchange: Exchange) -> datetime:
    """When its answer had come."""
    return exchange.started_at + timedelta(milliseconds=exchange.elapsed_ms)


def pause_s(earlier: Exchange, later: Exchange) -> float:
    """How long nothing was sent between two requests, in seconds; no pause is longer than 10 s.

    Only executions and usage change by themselves; other requests wait for nothing.
    """
    if later.request.operation_id not in _CHANGES_BY_ITSELF:
        return 0.0
    return min(max(0.0, (later.started_at - ended_at(earlier)).total_seconds()), _LONGEST_PAUSE_S)
