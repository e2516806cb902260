"""Calls, requests and exchanges: what to send to an operation, and what came back, kept as evidence."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property, lru_cache
from typing import Any, Final, NoReturn

from knouds_harness.body_bounds import KEPT_BYTES, MAX_LEVELS, MAX_VALUES, has_too_many_values, is_too_deep
from knouds_harness.contract.capabilities import WINDOW_S
from knouds_harness.contract.operations import Action, Operation
from knouds_harness.exchange.alterations import Alteration
from knouds_harness.whole_numbers import whole_number

NO_BODY: Final = object()
JSON = Any
Pairs = tuple[tuple[str, str], ...]
KEY_HEADER = "x-api-key"
TRACE_HEADER = "traceparent"  # of W3C Trace Context; new for each request
CONTROL_HEADER = "x-sandbox-token"  # of what mints keys and moves the clock, which no check judges
_TOO_DEEP = f"the body is nested too deeply: over {MAX_LEVELS} levels"
_TOO_MANY = f"the body holds over {MAX_VALUES:,} values"
_LONG_BYTES = 10_000
_MOST_KEPT_BYTES = 32_000_000
_LEAST_KEPT_BYTES = 1000
_LONGEST_WAIT_S = 65
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


@dataclass(frozen=True, kw_only=True)
class Request:
    """One request, before the key is added.

    Attributes:
        method: Upper case.
        path: Under the target's base URL, from the slash on, percent-encoded.
        query: Parameters in order, not yet encoded.
        headers: In order, without the key.
        body: The bytes to send, or None for no body.
        operation_id: The operation it exercises, if the document has one for it.
        persona: Whose key is added; None adds no key.
        path_values: What stands for the path's placeholders.
        action: What it may do to the target.
        cost_credits: The most it may cost.
        is_abandoned: Whether the connection is closed when it is sent, without waiting for an answer.
    """

    method: str
    path: str
    action: Action
    query: Pairs = ()
    headers: Pairs = ()
    body: bytes | None = None
    operation_id: str | None = None
    persona: str | None = None
    path_values: Mapping[str, str] = field(default_factory=dict)
    cost_credits: float = 0.0
    is_abandoned: bool = False

    @property
    def members(self) -> dict[str, JSON]:
        """The members of the body; empty where it is not an object in JSON."""
        return members_of(parsed_json(self.body or b"")[0])


@dataclass(frozen=True, kw_only=True)
class Call:
    """What to send to one operation.

    Attributes:
        path_values: By path parameter.
        query: Name and value, in order.
        json: The body, encoded as JSON; ``NO_BODY`` for none.
        raw: The body as bytes, sent as JSON all the same; wins over ``json``.
        headers: Besides those that the client sends.
        cost_credits: The most that the target may charge; 0 where it has to refuse, or the run is free. What
            it would charge if it did not refuse is reserved all the same.
        is_abandoned: Whether the connection is closed when it is sent, without waiting for an answer.
    """

    path_values: Mapping[str, str] = field(default_factory=dict)
    query: tuple[tuple[str, str], ...] = ()
    json: Any = NO_BODY
    raw: bytes | None = None
    headers: tuple[tuple[str, str], ...] = ()
    cost_credits: float = 0.0
    is_abandoned: bool = False

    def having(self, **changes: Any) -> Call:  # noqa: ANN401 - each member has its own type
        """The same call with some members replaced."""
        return replace(self, **changes)

    def encoded_body(self) -> bytes | None:
        """The body as it is sent."""
        if self.raw is not None or self.json is NO_BODY:
            return self.raw
        return json.dumps(self.json).encode()

    def all_headers(self) -> tuple[tuple[str, str], ...]:
        """The headers, with the content type that a body asks for."""
        names = {name.lower() for name, _ in self.headers}
        if self.encoded_body() is None or "content-type" in names:
            return self.headers
        return (*self.headers, ("content-type", "application/json"))

    def request(self, operation: Operation, *, persona: str | None) -> Request:
        """This call as one operation's request; where ``persona`` is None, no key is added."""
        return Request(
            method=operation.method,
            path=operation.url_path(self.path_values),
            query=self.query,
            headers=self.all_headers(),
            body=self.encoded_body(),
            operation_id=operation.id,
            persona=persona,
            path_values=self.path_values,
            action=operation.action,
            cost_credits=self.cost_credits,
            is_abandoned=self.is_abandoned,
        )


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """One request and the answer to it, with every secret replaced by a pseudonym such as ``{{key:full}}``.

    Attributes:
        id: Unique in its run, in the order of sending: ``x00001``.
        request: What was asked for.
        url: As sent.
        sent_headers: As sent, the key among them.
        status: Of the answer; None where no whole answer came.
        headers: Of the answer, in order, repeated ones repeated.
        body: Of the answer, whole; what had come until then where no whole answer came.
        started_at: When sending began, UTC.
        elapsed_ms: From then until the last byte, by a monotonic clock.
        failure: Why no whole answer came, in words.
        is_lost: Whether nothing came because a connection that had answered before was closed: the server may
            have done that just before the request, as it is free to. Or the request was abandoned.
        alteration: How the key that was sent, ``{{key:altered}}``, was made of a known one.
    """

    id: str
    request: Request
    url: str
    sent_headers: Pairs
    status: int | None
    headers: Pairs
    body: bytes
    started_at: datetime
    elapsed_ms: float
    failure: str | None = None
    is_lost: bool = False
    alteration: Alteration | None = None

    @property
    def is_control(self) -> bool:
        """Whether it went to the target's control plane."""
        return any(name.lower() == CONTROL_HEADER for name, _ in self.sent_headers)

    @property
    def keys_sent(self) -> tuple[str, ...]:
        """What was sent as keys, as it stands in the record: ``{{key:full}}``."""
        return tuple(value for name, value in self.sent_headers if name.lower() == KEY_HEADER)

    @property
    def trace_id(self) -> str:
        """By which the server's traces and logs have it; empty where none was sent."""
        sent = (value for name, value in self.sent_headers if name.lower() == TRACE_HEADER)
        return [*next(sent, "").split("-"), ""][1]

    @property
    def asked_headers(self) -> Pairs:
        """What was sent, without what is new in each request."""
        return tuple(pair for pair in self.sent_headers if pair[0].lower() != TRACE_HEADER)

    def header(self, name: str) -> str | None:
        """The value of a header of the answer, whatever its case; repeated ones joined as RFC 9110 says."""
        name = name.lower()
        values = [value for each, value in self.headers if each.lower() == name]
        return ", ".join(values) if values else None

    def json(self) -> JSON:
        """The body as JSON; shared between callers, so leave it as it is.

        Raises:
            ValueError: It is not UTF-8, or not JSON (NaN and Infinity are not), or nested beyond reason.
        """
        value, problem = self._parsed
        if problem is not None:
            raise ValueError(problem)
        return value

    def json_or_none(self) -> JSON:
        """The body as JSON, or None where it is not JSON."""
        return self._parsed[0]

    @property
    def members(self) -> dict[str, JSON]:
        """The members of the body; empty where it is not an object."""
        return members_of(self.json_or_none())

    @property
    def is_success(self) -> bool:
        """Whether the request was accepted; which 2xx says so is open."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def code(self) -> str | None:
        """The ``code`` of an error body, if it is text."""
        code = self.members.get("code")
        return code if isinstance(code, str) else None

    @property
    def told_wait_s(self) -> int:
        """How long a 429 asks to wait: at least a second, and little more than a window, whatever it says."""
        told_s = whole_number(self.header("retry-after"))
        return WINDOW_S if told_s is None else min(max(told_s, 1), _LONGEST_WAIT_S)

    @property
    def _parsed(self) -> tuple[JSON, str | None]:
        return self._kept_parsed if len(self.body) <= _LONG_BYTES else _parsed_lately(self.body)

    @cached_property
    def _kept_parsed(self) -> tuple[JSON, str | None]:
        return parsed_json(self.body)


class KeptBodies:
    """Cuts what is kept for long: to ``KEPT_BYTES`` each, and to 1,000 once all take 32 MB."""

    def __init__(self) -> None:
        self._left_bytes = _MOST_KEPT_BYTES

    def kept(self, exchange: Exchange) -> Exchange:
        """The exchange with no more of its body than evidence needs, and not yet parsed if that is long."""
        if len(exchange.body) <= _LEAST_KEPT_BYTES:
            return exchange
        most_bytes = KEPT_BYTES if self._left_bytes > 0 else _LEAST_KEPT_BYTES
        self._left_bytes -= min(len(exchange.body), most_bytes)
        return replace(exchange, body=exchange.body[:most_bytes])


def members_of(value: JSON) -> dict[str, JSON]:
    """The members of an object; empty for anything else, which a server may show in its place."""
    return value if isinstance(value, dict) else {}


def objects_in(value: JSON) -> list[dict[str, JSON]]:
    """The objects in a list; a server may show anything else in their place."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def parsed_json(body: bytes) -> tuple[JSON, str | None]:
    """A body as JSON, or None and why it is not JSON.

    Half of a surrogate pair is JSON and no text: it becomes U+FFFD, so that the rest can be judged and kept.
    A number without a fraction is an int, however it is written (4.0 is 4); one beyond all doubles becomes
    the greatest. What is nested over ``MAX_LEVELS`` deep, or holds over ``MAX_VALUES``, counts as none.
    """
    if has_too_many_values(body):
        return None, _TOO_MANY
    try:
        text = body.decode("utf-8")
        value = json.loads(text, parse_float=_number, parse_constant=_refuse_constant)
        if is_too_deep(body, value):
            return None, _TOO_DEEP
        return _as_text(value) if _SURROGATE.search(text) else value, None
    except RecursionError:
        return None, _TOO_DEEP
    except UnicodeDecodeError as error:
        return None, f"the body is not UTF-8 (byte {error.start})"
    except ValueError as error:
        return None, f"the body is not JSON: {error}" if body else "the body is empty"


_parsed_lately = lru_cache(maxsize=2)(parsed_json)
"""Long bodies, of which a run may keep hundreds, take ten times their length once they are parsed."""


def _as_text(value: JSON) -> JSON:
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {_as_text(name): _as_text(member) for name, member in value.items()}
    return [_as_text(item) for item in value] if isinstance(value, list) else value


def _number(text: str) -> int | float:
    value = float(text)
    if math.isinf(value):
        return math.copysign(sys.float_info.max, value)
    return int(value) if value.is_integer() else value


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a JSON value")
