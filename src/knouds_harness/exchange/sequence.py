"""A script of ``curl`` lines that sends a whole sequence of requests again, one after the other."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from itertools import groupby
from typing import Final

from knouds_harness.contract.operations import Action
from knouds_harness.exchange.evidence import Exchange
from knouds_harness.exchange.reproduction import command, shell_variable

_VARIABLE_BY_MEMBER: Final = {"slug": "slug", "executionId": "execution"}
_KEY_VARIABLE: Final = re.compile(r"\$\{(KNOUDS_KEY_\w+)\}")
_PRINTABLE: Final = {chr(code) for code in range(0x20, 0x7F)}
_SHORTEST_PAUSE_S: Final = 0.05
_LONGEST_PAUSE_S: Final = 10.0
_GIVEN: Final = r"""given() {
  printf '%s\n' "$answer" | grep -o "\"$1\" *: *\"[^\"]*\"" | sed -n "$2p" | cut -d '"' -f 4
}"""


def essential_steps(exchanges: Sequence[Exchange]) -> tuple[Exchange, ...]:
    """Of what was sent, all that may have led to the last answer.

    Left out are reads by other operations than the last one's, and of equal answers to one read in a row all
    but the first and the last.
    """
    last = exchanges[-1]
    acting = [
        each
        for each in exchanges
        if each.request.action is not Action.READ or each.request.operation_id == last.request.operation_id
    ]
    steps: list[Exchange] = []
    for _, run in groupby(acting, key=_sameness):
        alike = list(run)
        steps += alike[:1] if len(alike) == 1 else [alike[0], alike[-1]]
    return tuple(steps)


def _sameness(exchange: Exchange) -> object:
    if exchange.request.action is not Action.READ:
        return exchange.id
    return exchange.url, exchange.sent_headers, exchange.status, exchange.body


@dataclass(frozen=True, kw_only=True)
class _Given:
    """A value that an answer gave and that later requests name.

    Attributes:
        variable: That holds it in the script.
        value: As it was in the run.
        member: Of the answer's body.
        occurrence: Which of the members of this name in the answer's text it is, counted from 1.
    """

    variable: str
    value: str
    member: str
    occurrence: int


def script(steps: Sequence[Exchange], *, shows: str) -> str:
    """A script for any shell that sends these requests one after the other, and shows each answer.

    The base URL is a variable, keys are, as in ``reproduction.curl``, and so is each slug and execution that
    an answer gives; pauses are kept. Workflows that would be left over are deleted in the end.

    Args:
        steps: In the order of sending; the last one's answer is what matters.
        shows: What that answer is expected to be and was, in words.
    """
    base = _base_of(steps[-1])
    known: list[_Given] = []
    lines: list[str] = []
    fill = partial(_filled, base=base, known=known)  # which grows from step to step
    for number, (before, step) in enumerate(zip((None, *steps[:-1]), steps, strict=True), start=1):
        lines += _pause(before, step)
        lines.append(f"# {number}. {_told(step)}")
        given = _given_by(step, known)
        lines += _sent(step, given, fill)
        known += given
    for step, each in _left_over(steps, known):
        lines.append("# Leaves nothing behind.")
        lines.append(command(_deletion(step, each.value), fill)[0])
    return "\n".join(["sh -eu <<'END'", *_head(steps, base, lines, shows), *lines, "END"])


def _head(steps: Sequence[Exchange], base: str, lines: Sequence[str], shows: str) -> Iterator[str]:
    yield f"# {_plain(shows)}"
    cost_credits = sum(step.request.cost_credits for step in steps)
    if cost_credits:
        yield f"# Costs up to {cost_credits:g} credits."
    yield f'base="${{KNOUDS_BASE_URL:-{base}}}"'
    for key in dict.fromkeys(_KEY_VARIABLE.findall("\n".join(lines))):
        yield f': "${{{key}:?export it first}}"'
    if any("=$(given " in line for line in lines):
        yield _GIVEN


def pause_s(earlier: Exchange, later: Exchange) -> float:
    """How long nothing was sent between two requests, in seconds; no pause is longer than 10 s."""
    ended_at = earlier.started_at + timedelta(milliseconds=earlier.elapsed_ms)
    return min(max(0.0, (later.started_at - ended_at).total_seconds()), _LONGEST_PAUSE_S)


def _pause(before: Exchange | None, step: Exchange) -> Iterator[str]:
    if before is not None and pause_s(before, step) >= _SHORTEST_PAUSE_S:
        yield f"sleep {pause_s(before, step):.1f}"


def _sent(step: Exchange, given: Sequence[_Given], fill: Callable[[str], str]) -> Iterator[str]:
    line, note = command(step, fill)
    if note:
        yield f"# {note}"
    if not given:
        yield f"{line}; echo"
        return
    yield f"answer=$({line})"
    yield "printf '%s\\n' \"$answer\""
    for each in given:
        yield f"{each.variable}=$(given {each.member} {each.occurrence})"
        yield f': "${{{each.variable}:?the answer has no {each.member}}}"'


def _given_by(step: Exchange, known: Sequence[_Given]) -> list[_Given]:
    body = step.json_or_none()
    is_success = step.status is not None and 200 <= step.status < 300
    is_giving = step.request.action in (Action.WRITE, Action.RUN) and is_success
    given = []
    for member, name in _VARIABLE_BY_MEMBER.items() if is_giving and isinstance(body, dict) else ():
        value = body.get(member)
        values = re.findall(rf'"{member}" *: *"([^"]*)"', step.body.decode("utf-8", "replace"))
        if value in values and value not in {each.value for each in known}:
            number = 1 + sum(each.member == member for each in known)
            occurrence = 1 + values.index(value)
            given.append(
                _Given(variable=f"{name}{number}", value=value, member=member, occurrence=occurrence)
            )
    return given


def _filled(text: str, *, base: str, known: Sequence[_Given]) -> str:
    """The text with variables for the base URL and for given values, where one is a whole segment or text."""
    if text.startswith(base):
        path, mark, query = text.removeprefix(base).partition("?")
        for each in known:
            path = re.sub(rf"/{re.escape(each.value)}(?=/|$)", f"/{shell_variable(each.variable)}", path)
        return f"{shell_variable('base')}{path}{mark}{query}"
    for each in known:
        text = text.replace(f'"{each.value}"', f'"{shell_variable(each.variable)}"')
    return text


def _left_over(steps: Sequence[Exchange], known: Sequence[_Given]) -> Iterator[tuple[Exchange, _Given]]:
    """The workflows that were created and not deleted, with what created each."""
    deleted = {
        (step.request.persona, step.request.path_values.get("slug"))
        for step in steps
        if step.request.operation_id == "deleteWorkflow"
    }
    for step in steps:
        if step.request.operation_id == "createWorkflow":
            for each in known:
                is_made_here = f'"{each.value}"' in step.body.decode("utf-8", "replace")
                if is_made_here and (step.request.persona, each.value) not in deleted:
                    yield step, each


def _deletion(creation: Exchange, slug: str) -> Exchange:
    """The request that deletes what another one created, with the same key."""
    request = replace(creation.request, method="DELETE", body=None)
    headers = tuple(pair for pair in creation.sent_headers if pair[0].lower() != "content-type")
    return replace(creation, request=request, url=f"{creation.url}/{slug}", sent_headers=headers)


def _base_of(exchange: Exchange) -> str:
    return exchange.url.partition("?")[0].removesuffix(exchange.request.path)


def _told(step: Exchange) -> str:
    request = step.request
    return _plain(
        f"{request.operation_id or request.method} as {request.persona or 'nobody'} "
        f"was answered {step.status or step.failure}"
    )


def _plain(text: str) -> str:
    """One line of a comment, whatever a server or a profile put into it."""
    return "".join(char if char in _PRINTABLE else "?" for char in " ".join(text.split()))
