"""Lays an exchange out for reading: headers, bodies in lines, and the offending place marked."""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from knouds_harness.contract.document import steps_of, value_at
from knouds_harness.exchange.evidence import JSON, Exchange, Pairs, status_in

_MOST_LINES = 80
_LONGEST_LINE = 500
_MOST_LAID_OUT_BYTES = 500_000
"""A larger body is not laid out: a line for each value would take seconds and hundreds of megabytes."""
_EXCERPT_LINES = 12
_LONGEST_EXCERPT = 500
_MOST_ROWS = 6
_LONGEST_ROW = 70
_HEADER = "header "
_ID = re.compile(r"[0-9a-fA-F-]{32,}")


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of text; ``is_marked`` if it is what the finding is about."""

    text: str
    is_marked: bool = False


@dataclass(frozen=True, kw_only=True)
class Message:
    """One half of an exchange; ``size_bytes`` is that of the whole body."""

    first_line: str
    headers: tuple[Line, ...]
    body: tuple[Line, ...]
    size_bytes: int


@dataclass(frozen=True, kw_only=True)
class Step:
    """A request that a finding rests on; what came is an execution's status, or an HTTP status and code."""

    id: str
    request: str
    came: str


@dataclass(frozen=True, kw_only=True)
class Excerpt:
    """A few lines of a response, around the place that a finding is about or was compared with."""

    title: str
    lines: tuple[Line, ...]

    @property
    def text(self) -> str:
        return "\n".join(line.text for line in self.lines)[:_LONGEST_EXCERPT]


@dataclass(frozen=True, kw_only=True)
class EvidenceView:
    """The exchange that shows a finding, the requests that led to it, and what it was compared with."""

    id: str
    persona: str | None
    elapsed_ms: float
    sent: Message
    received: Message
    excerpt: Excerpt
    steps: Sequence[Step] = ()
    compared: Sequence[Excerpt] = ()


def evidence_of(
    exchange: Exchange,
    *,
    where: str = "",
    steps: Sequence[Exchange] = (),
    compared: Iterable[tuple[Exchange, str]] = (),
) -> EvidenceView:
    """Lay out an exchange, with one place marked: of our request's response, or of a delivery's request."""
    numbers = {each.id: number for number, each in enumerate(steps, 1)}

    def excerpt(of: Exchange, place: str, words: str) -> Excerpt:
        step = f"step {numbers[of.id]}, " if of.id in numbers else ""
        at = f", {place}" if place else ""
        return Excerpt(title=f"{words} {step}{of.id}{at}:", lines=tuple(_excerpt(of, place)))

    request = exchange.request
    in_request, in_response = (where, "") if exchange.is_delivery else ("", where)
    code = f" {exchange.code}" if exchange.code else ""
    return EvidenceView(
        id=exchange.id,
        persona=request.persona,
        elapsed_ms=exchange.elapsed_ms,
        sent=Message(
            first_line=f"{request.method} {exchange.url}",
            headers=tuple(_header_lines(exchange.sent_headers, in_request)),
            body=_cut(_body_lines(request.body or b"", in_request)),
            size_bytes=len(request.body or b""),
        ),
        received=Message(
            first_line=exchange.failure or f"{exchange.status}{code}",
            headers=tuple(_header_lines(exchange.headers, in_response)),
            body=_cut(_body_lines(exchange.body, in_response)),
            size_bytes=len(exchange.body),
        ),
        excerpt=excerpt(exchange, in_response, "Response to"),
        steps=[_step(each, request.persona) for each in steps],
        compared=[excerpt(other, place, "Compared with") for other, place in compared],
    )


def _step(step: Exchange, persona: str | None) -> Step:
    """Tell a step; its key, if it is another one than that of the finding."""
    request = step.request
    who = "" if request.persona in (persona, None) else f" as {request.persona}"
    path = _ID.sub("…", request.path_and_query)
    return Step(id=step.id, request=f"{request.method} {path}{who}", came=status_in(step) or step.answer)


def _excerpt(exchange: Exchange, where: str) -> Iterator[Line]:
    """Yield a response in a few lines: the status, marked headers, and the part of the body at a place.

    An object is shown whole, of a list each item in a line.
    """
    yield Line(text=exchange.failure or exchange.answer)
    yield from (line for line in _header_lines(exchange.headers, where) if line.is_marked)
    is_short = len(exchange.body) <= _MOST_LAID_OUT_BYTES
    part = value_at(exchange.json_or_none(), where) if where.startswith("/") and is_short else None
    if isinstance(part, list) and part:
        rows = [json.dumps(each, ensure_ascii=False) for each in part[:_MOST_ROWS]]
        yield from (Line(text=row if len(row) <= _LONGEST_ROW else f"{row[:_LONGEST_ROW]}…") for row in rows)
        if len(part) > len(rows):
            yield Line(text="…")
        return
    if isinstance(part, dict):
        yield from _cut(_body_lines(json.dumps(part).encode(), ""))
        return
    yield from _cut(_body_lines(exchange.body, where), most=_EXCERPT_LINES)


def _header_lines(headers: Pairs, where: str) -> Iterator[Line]:
    name_at_fault = where.removeprefix(_HEADER).lower() if where.startswith(_HEADER) else None
    is_there = False
    for name, value in headers:
        is_fault = name.lower() == name_at_fault
        is_there = is_there or is_fault
        yield Line(text=f"{name}: {value}", is_marked=is_fault)
    if name_at_fault is not None and not is_there:
        yield Line(text=f"({where.removeprefix(_HEADER)} is missing)", is_marked=True)


def _body_lines(body: bytes, where: str) -> list[Line]:
    if not body:
        return []
    if len(body) <= _MOST_LAID_OUT_BYTES:
        path = steps_of(where) if where.startswith("/") else None
        with suppress(ValueError, RecursionError):
            return list(_json_lines(json.loads(body), path, indent="", before="", after=""))
    return [Line(text=text) for text in body.decode("utf-8", "backslashreplace").splitlines()]


def _json_lines(
    value: JSON, path: list[str] | None, *, indent: str, before: str, after: str
) -> Iterator[Line]:
    """Pretty-print a value.

    ``path`` leads from here to the place to mark: empty for all of this value, None for nothing in it; ``*``
    is any item of an array, and then the place is marked in each. ``after`` is a comma, if more follow.
    """
    members: list[tuple[str, str, JSON]] = []
    opening, closing = f"{json.dumps(value, ensure_ascii=False)}{after}", ""
    if isinstance(value, dict) and value:
        members = [(name, f"{json.dumps(name, ensure_ascii=False)}: ", each) for name, each in value.items()]
        opening, closing = "{", "}"
    elif isinstance(value, list) and value:
        members = [(str(index), "", each) for index, each in enumerate(value)]
        opening, closing = "[", "]"
    is_marked, next_ = path == [], path[0] if path else None
    is_any_item = closing == "]" and next_ == "*"
    is_there = is_any_item or any(name == next_ for name, _, _ in members)
    lacks = next_ is not None and isinstance(value, dict | list) and not is_there
    missing = f"   ← {next_} is missing" if lacks else ""
    yield Line(text=f"{indent}{before}{opening}{missing}", is_marked=is_marked or lacks)
    for number, (name, label, each) in enumerate(members, start=1):
        rest = path if is_marked else path[1:] if path and (is_any_item or name == next_) else None
        comma = "," if number < len(members) else ""
        yield from _json_lines(each, rest, indent=f"{indent}  ", before=label, after=comma)
    if members:
        yield Line(text=f"{indent}{closing}{after}", is_marked=is_marked)


def _cut(lines: Sequence[Line], *, most: int = _MOST_LINES) -> tuple[Line, ...]:
    """Keep so many lines, around the first mark if it is far from the first line; shorten long ones."""
    mark = next((number for number, line in enumerate(lines) if line.is_marked), 0)
    start = max(0, min(mark - most // 2, len(lines) - most))
    end = start + most
    return (
        *_left_out(start),
        *(replace(line, text=_shortened(line.text)) for line in lines[start:end]),
        *_left_out(len(lines) - end),
    )


def _shortened(text: str) -> str:
    left_out = len(text) - _LONGEST_LINE
    return f"{text[:_LONGEST_LINE]} … {left_out:,} characters left out" if left_out > 0 else text


def _left_out(count: int) -> list[Line]:
    return [Line(text=f"… {count:,} lines left out")] if count > 0 else []
