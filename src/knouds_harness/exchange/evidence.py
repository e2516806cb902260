"""Calls, requests and exchanges: what is sent to an operation, and the response, kept as evidence."""

from __future__ import annotations

import json
import math
import re
import sys
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property, lru_cache
from typing import Any, Final, NoReturn, TypeGuard
from urllib.parse import quote, urlencode

from knouds_harness.body_bounds import (
    MAX_LEVELS,
    MAX_VALUES,
    TOO_LONG,
    has_too_many_values,
    is_too_deep,
    whole_number,
)
from knouds_harness.contract.effects import Effect, effect_of
from knouds_harness.contract.operations import FINAL, IN_FLIGHT, WINDOW_S, Action, Operation
from knouds_harness.exchange.alterations import Alteration

NO_BODY: Final = object()
JSON = Any
Pairs = tuple[tuple[str, str], ...]
KEY_HEADER = "x-api-key"
KEY_HERE: Final = "{{the key}}"
"""The value of a header of a request in whose place, and under whose name, the key is sent."""
TRACE_HEADER = "traceparent"  # W3C Trace Context; new for each request
CONTROL_HEADER = "x-sandbox-token"  # to the control plane, which no check judges
_TOO_DEEP = f"the body is nested too deeply: over {MAX_LEVELS} levels"
_TOO_MANY = f"the body holds over {MAX_VALUES:,} values"
_LONG_BYTES = 10_000
_LONGEST_WAIT_S = 65
_OF_GATEWAYS = frozenset({403, 407, 408, 413, 414, 421, 429, 431, 494, 502, 503, 504, *range(520, 531)})
"""Statuses with which what stands in between answers by itself; those of an API have the envelope."""
_WITHOUT_SERVER = frozenset({502, 503, 504})
_OF_METHODS = frozenset({405, 501})
"""The same for methods that no operation has."""
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


@dataclass(frozen=True, kw_only=True)
class Request:
    """One request, before the key is added.

    Attributes:
        path: Relative to the target's base URL, with the leading slash, percent-encoded.
        query: Parameters in order, not yet encoded.
        headers: In order, without the key; one with the value ``KEY_HERE`` says where the key goes.
        persona: The persona whose key is sent; None sends no key.
        cost_credits: The most that it may cost.
        is_abandoned: Whether the connection is closed after sending, without waiting for a response.
        is_effectless: Whether it has no effect, whatever the server makes of it, as its resource does not
            exist or its body cannot be read; then it may be sent where only reads may.
        is_deliberate: Whether it is meant to be one that the document does not have, such as an unknown path
            or another spelling of a known one. Neither is ever read from a record.
    """

    method: str
    path: str
    query: Pairs = ()
    headers: Pairs = ()
    body: bytes | None = None
    operation_id: str | None = None
    persona: str | None = None
    path_values: Mapping[str, str] = field(default_factory=dict)
    cost_credits: float = 0.0
    is_abandoned: bool = False
    is_effectless: bool = False
    is_deliberate: bool = False

    @property
    def path_and_query(self) -> str:
        """The path and the query as they are sent."""
        path = self.path.replace("{", "%7B").replace("}", "%7D")  # braces in URLs are placeholders
        return f"{path}?{urlencode(self.query, quote_via=quote, errors='replace')}" if self.query else path

    @cached_property
    def effect(self) -> Effect:
        """What it may do, however a server reads it."""
        effect = effect_of(self.method, self.path_and_query, self.headers)
        return replace(effect, actions=frozenset({Action.READ})) if self.is_effectless else effect

    @property
    def action(self) -> Action:
        """The most harmful kind of action that it may be."""
        return self.effect.action

    @property
    def members(self) -> dict[str, JSON]:
        """The members of the body; empty if it is not a JSON object."""
        return members_of(parsed_json(self.body or b"")[0])


@dataclass(frozen=True, kw_only=True)
class Call:
    """What to send to one operation.

    Attributes:
        json: The body, to be encoded as JSON; ``NO_BODY`` for none.
        raw: The body as bytes, also sent with the content type of JSON; takes precedence over ``json``.
        headers: Sent in addition to the client's own headers.
        cost_credits: The most that the target may charge; 0 if it has to refuse, or the run is free. The
            known price of the resource is reserved anyway, in case the target does not refuse.
        is_deliberate: Whether its path values are meant to be unknown, or none that the document admits.
    """

    path_values: Mapping[str, str] = field(default_factory=dict)
    query: tuple[tuple[str, str], ...] = ()
    json: Any = NO_BODY
    raw: bytes | None = None
    headers: tuple[tuple[str, str], ...] = ()
    cost_credits: float = 0.0
    is_abandoned: bool = False
    is_deliberate: bool = False

    def having(self, **changes: Any) -> Call:  # noqa: ANN401 - each member has its own type
        """Return the call with some attributes replaced."""
        return replace(self, **changes)

    def request(self, operation: Operation, *, persona: str | None) -> Request:
        """Turn the call into a request to one operation; without a ``persona``, no key is sent."""
        body, headers = self.raw, self.headers
        if body is None and self.json is not NO_BODY:
            body = json.dumps(self.json).encode()
        if body is not None and all(name.lower() != "content-type" for name, _ in headers):
            headers = (*headers, ("content-type", "application/json"))
        return Request(
            method=operation.method,
            path=operation.url_path(self.path_values),
            query=self.query,
            headers=headers,
            body=body,
            operation_id=operation.id,
            persona=persona,
            path_values=self.path_values,
            cost_credits=self.cost_credits,
            is_abandoned=self.is_abandoned,
            is_deliberate=self.is_deliberate,
        )


NO_SUCH_WORKFLOW: Final = "harness-no-such-workflow"
NO_SUCH_MODEL: Final = "harness-no-such-model"
NO_SUCH_EXECUTION: Final = str(uuid.UUID(int=0x4A8F_0000_0000_4000_8000_0000_0000_0001))
_UNKNOWN: Final = {"slug": NO_SUCH_WORKFLOW, "internalName": NO_SUCH_MODEL, "id": NO_SUCH_EXECUTION}
_BODIES: Final[dict[str, JSON]] = {
    "createWorkflow": {"name": ""},
    "updateWorkflow": {"description": "sent by the harness"},
    "moveWorkflow": {"folderId": None},
    "runWorkflow": {"inputs": {}},
    "runModel": {"inputs": {}},
}


def effectless_call(operation: Operation, resource: str | None = None) -> Call:
    """Return a well-formed call without effect or cost for any key: its resource does not exist.

    ``resource`` names an existing workflow or model instead, for reads and runs only. The inputs of such a
    run are not an object, so it cannot start.
    """
    values = {name: resource or _UNKNOWN[name] for name in operation.path_parameters}
    body = _BODIES.get(operation.id, NO_BODY)
    return Call(path_values=values, json=body if resource is None or body is NO_BODY else {"inputs": []})


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """One request and its response, with every secret replaced by a pseudonym such as ``{{key:full}}``.

    Attributes:
        id: Unique in its run, in the order of sending: ``x00001``.
        sent_headers: All headers as sent, including the key.
        status: The status of the response; None if no complete response came.
        headers: The headers of the response, in order, with repetitions.
        body: The body of the response; if it is not complete, the part that came.
        elapsed_ms: From ``started_at`` until the last byte, by a monotonic clock.
        failure: Why no complete response came, in words.
        is_lost: Whether no response came on a connection that had answered before, or to a body over 64 KB:
            the server may have closed it before it had the request, which is legal. Also True if the request
            was abandoned.
        alteration: How the sent key, ``{{key:altered}}``, was made from a known key.
        is_delivery: Whether it is a webhook delivery, which the target sent and we answered.
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
    is_delivery: bool = False

    @property
    def is_control(self) -> bool:
        """Whether the request went to the target's control plane."""
        return any(name.lower() == CONTROL_HEADER for name, _ in self.sent_headers)

    @property
    def keys_sent(self) -> tuple[str, ...]:
        """The values of the key header as recorded, such as ``{{key:full}}``."""
        return tuple(value for name, value in self.sent_headers if name.lower() == KEY_HEADER)

    @property
    def trace_id(self) -> str:
        """The id of the request in the server's traces and logs; empty if none was sent."""
        sent = (value for name, value in self.sent_headers if name.lower() == TRACE_HEADER)
        return [*next(sent, "").split("-"), ""][1]

    @property
    def asked_headers(self) -> Pairs:
        """The sent headers without the trace header, which differs in each request."""
        return tuple(pair for pair in self.sent_headers if pair[0].lower() != TRACE_HEADER)

    @property
    def ended_at(self) -> datetime:
        """When the last byte of the response had come."""
        return self.started_at + timedelta(milliseconds=self.elapsed_ms)

    def header(self, name: str) -> str | None:
        """Return a response header by name in any case; repeated values are joined as in RFC 9110."""
        name = name.lower()
        values = [value for each, value in self.headers if each.lower() == name]
        return ", ".join(values) if values else None

    def json(self) -> JSON:
        """Return the body as JSON. The value is shared between callers: do not change it.

        Raises:
            ValueError: It is not UTF-8, not JSON (nor are NaN and Infinity), too deeply nested or too large.
        """
        value, problem = self._parsed
        if problem is not None:
            raise ValueError(problem)
        return value

    def json_or_none(self) -> JSON:
        """Return the body as JSON, or None if it is not JSON."""
        return self._parsed[0]

    @property
    def is_beyond_bounds(self) -> bool:
        """Whether the body is longer, deeper or of more values than this harness reads: it may be right."""
        if (self.failure or "").startswith(TOO_LONG):
            return True
        is_kept_in_part = self.body.endswith((_TOO_DEEP.encode(), _TOO_MANY.encode()))
        return is_kept_in_part or self._parsed[1] in (_TOO_DEEP, _TOO_MANY)

    @property
    def members(self) -> dict[str, JSON]:
        """The members of the body; empty if it is not an object."""
        return members_of(self.json_or_none())

    @property
    def answer(self) -> str:
        """What came back, in words: status and code, or the transport's failure."""
        if self.status is None:
            return self.failure or "no answer"
        return f"{self.status} {self.code}" if self.code else str(self.status)

    @property
    def is_from_outside(self) -> bool:
        """Whether a gateway, balancer, firewall or proxy answered, by its status and without the envelope.

        An answer to HEAD has no body, so there the declared type has to tell.
        """
        is_bare = not self.members and not self.is_beyond_bounds
        if self.request.method == "HEAD":
            is_bare = "json" not in (self.header("content-type") or "json").lower()
        statuses = _OF_GATEWAYS if self.request.operation_id else _OF_GATEWAYS | _OF_METHODS
        return self.status in statuses and is_bare and not self.is_delivery

    @property
    def is_from_gateway(self) -> bool:
        """Whether a gateway answered that it has no server just now."""
        return self.status in _WITHOUT_SERVER and self.is_from_outside

    @property
    def is_success(self) -> bool:
        """Whether the status is any 2xx."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def code(self) -> str | None:
        """The ``code`` of an error body, if it is a string."""
        code = self.members.get("code")
        return code if isinstance(code, str) else None

    @property
    def retry_after_s(self) -> int:
        """Seconds to wait after a 429, by its Retry-After: at least 1, at most little more than a window."""
        told_s = whole_number(self.header("retry-after"))
        return WINDOW_S if told_s is None else min(max(told_s, 1), _LONGEST_WAIT_S)

    @property
    def _parsed(self) -> tuple[JSON, str | None]:
        return self._kept_parsed if len(self.body) <= _LONG_BYTES else _parsed_lately(self.body)

    @cached_property
    def _kept_parsed(self) -> tuple[JSON, str | None]:
        return parsed_json(self.body)


def is_final(status: object) -> TypeGuard[str]:
    """Return whether a status from a server, which may be any value, is final."""
    return isinstance(status, str) and status in FINAL


def body_of(exchange: Exchange) -> dict[str, JSON]:
    """Return the members of the body of a 2xx response; empty for any other response."""
    return exchange.members if exchange.is_success else {}


def status_in(exchange: Exchange) -> str | None:
    """Return the status of an execution that a 2xx response shows, if it is one that the docs name."""
    status = body_of(exchange).get("status")
    return status if isinstance(status, str) and status in IN_FLIGHT | FINAL else None


def statuses_in(exchanges: Sequence[Exchange]) -> list[str]:
    """Return the statuses of executions that responses show, in order."""
    return [status for each in exchanges if (status := status_in(each)) is not None]


def members_of(value: JSON) -> dict[str, JSON]:
    """Return the members of an object; empty for any other value, which a server may send instead."""
    return value if isinstance(value, dict) else {}


def objects_in(value: JSON) -> list[dict[str, JSON]]:
    """Return the objects in a list; skip other items, which a server may send."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def members_once(pairs: list[tuple[str, JSON]]) -> dict[str, JSON]:
    """Return an object; raise ValueError if it has a member twice: parsers differ in which one they take."""
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("a member is there twice")
    return members


def parsed_json(body: bytes) -> tuple[JSON, str | None]:
    """Parse a body as JSON; return the value, or None and the reason why it is not JSON.

    A lone surrogate is valid JSON but not valid text: it becomes U+FFFD, so that the rest can be judged and
    kept. A number without a fraction becomes an int (4.0 is 4), and one beyond the range of a double the
    largest double. A body that is nested over ``MAX_LEVELS`` deep, or has over ``MAX_VALUES`` values, counts
    as not JSON.
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
"""Long bodies are not kept parsed: a run may keep hundreds, and parsing takes ten times their length."""


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
