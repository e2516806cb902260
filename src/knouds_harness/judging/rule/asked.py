"""What a request asks for, and what is known of its sender and of what it names."""

import json
import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from knouds_harness.body_bounds import is_too_deep
from knouds_harness.contract.document import shipped_document
from knouds_harness.contract.operations import RUN_OPERATIONS, Operation
from knouds_harness.exchange.evidence import JSON, KEY_HEADER, Exchange

NOT_JSON: Final = object()
"""Stands for a sent body that is not JSON."""
EXTREME: Final = object()
"""Stands for a body that correct parsers may accept or refuse, so nothing is claimed about the response."""
_KNOWN_KEY: Final = "{{key:"
_NAME: Final = re.compile(r"[a-z0-9-]+")


@dataclass(frozen=True, kw_only=True)
class AskedRequest:
    """A request, as far as reasons to refuse it depend on it.

    Attributes:
        operation: The documented operation that it addresses; None for any other path or method.
        key: How a key was sent: ``known`` (a known one, unaltered and alone), ``missing``, ``empty``,
            ``malformed``, ``unknown``, ``altered``, ``bearer`` or ``query``; empty if that cannot be told.
        path_values: The values of the path's placeholders; None unless all are known.
        body: Its bytes; None without a body.
        is_body_known: Whether the body is known; captured traffic may leave it out.
        is_json: Whether the Content-Type header says JSON.
        is_session_only: Whether its path is for browser sessions only.
    """

    operation: Operation | None
    key: str = ""
    path_values: Mapping[str, str] | None = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    is_body_known: bool = True
    is_json: bool = True
    is_session_only: bool = False

    @classmethod
    def of(cls, exchange: Exchange, *, is_ours: bool, key_names: Collection[str]) -> "AskedRequest":
        request, document = exchange.request, shipped_document()
        operation = document.operation_by_id.get(request.operation_id or "")
        values = request.path_values
        types = [value for name, value in exchange.sent_headers if name.lower() == "content-type"]
        is_named = operation is None or values.keys() >= set(operation.path_parameters)
        takes_none = operation is None or operation.request_schema is None
        return cls(
            operation=operation,
            key=_key_sent(exchange, key_names, is_ours=is_ours),
            path_values=values if is_named else None,
            query=dict(request.query),
            body=request.body or None,
            is_body_known=is_ours or bool(request.body) or takes_none,
            is_json="json" in ", ".join(types).lower(),
            is_session_only=is_ours and request.path in document.session_only_paths,
        )

    @property
    def operation_id(self) -> str:
        """The operation's id; empty for a request to no documented operation."""
        return self.operation.id if self.operation else ""

    @property
    def is_run(self) -> bool:
        return self.operation_id in RUN_OPERATIONS

    @property
    def is_async(self) -> bool:
        return self.query.get("async") == "true"

    @property
    def is_secured(self) -> bool:
        return self.operation is not None and not self.operation.is_public

    @property
    def is_well_named(self) -> bool:
        """Whether the names in its path have the characters of slugs and model names."""
        return all(map(_NAME.fullmatch, (self.path_values or {}).values()))

    @cached_property
    def sent(self) -> JSON:
        """The body as JSON, ``NOT_JSON`` or ``EXTREME``; None without a body."""
        if not self.body:
            return None
        try:
            sent = json.loads(self.body, parse_int=_double, parse_float=_double, parse_constant=_refuse)
            json.dumps(sent, ensure_ascii=False).encode()
        except (OverflowError, RecursionError, UnicodeEncodeError):
            return EXTREME
        except ValueError:
            return EXTREME if _may_be_extended(self.body) else NOT_JSON
        return EXTREME if is_too_deep(self.body, sent) else sent


def _key_sent(exchange: Exchange, key_names: Collection[str], *, is_ours: bool) -> str:
    persona = exchange.request.persona or ""
    if persona in key_names and exchange.keys_sent == (f"{_KNOWN_KEY}{persona}}}}}",):
        return "known"
    if not is_ours:
        return ""
    headers = {name.lower(): value for name, value in exchange.sent_headers}
    key = headers.get(KEY_HEADER)
    if key is None:
        return _key_elsewhere(exchange, headers)
    if not key.startswith("{{"):
        return "malformed" if key.strip() else "empty"
    return {"{{key:unknown}}": "unknown", "{{key:altered}}": "altered"}.get(key, "")


def _key_elsewhere(exchange: Exchange, headers: Mapping[str, str]) -> str:
    if headers.get("authorization", "").startswith(f"Bearer {_KNOWN_KEY}"):
        return "bearer"
    if any(_KNOWN_KEY in value for _, value in exchange.request.query):
        return "query"
    return "" if headers.keys() & {"authorization", "cookie"} else "missing"


def _may_be_extended(body: bytes) -> bool:
    """Whether all its brackets close: parsers may take more than JSON, such as comments (RFC 8259, 9)."""
    pairs = ((b"{", b"}"), (b"[", b"]"))
    return b"{" in body and all(body.count(opened) == body.count(closed) for opened, closed in pairs)


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is not JSON")  # by default, json.loads accepts NaN and Infinity


def _double(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise OverflowError
    return number


@dataclass(frozen=True, kw_only=True)
class KnownResource:
    """What is known of the workflow, model or execution that a path names; None stands for unknown.

    Attributes:
        owner: The account that it belongs to, as the profile names accounts.
        is_public: Whether a workflow is open to everyone (``publicPlayground``).
        is_template: Whether a workflow is listed for everyone.
        fails: Whether each run fails at its provider.
    """

    exists: bool | None = None
    owner: str | None = None
    is_deleted: bool | None = None
    is_public: bool | None = None
    is_template: bool | None = None
    needs_tier: str | None = None
    is_polled: bool | None = None
    is_disabled: bool | None = None
    is_paid: bool | None = None
    fails: bool | None = None
    has_ended: bool | None = None


@dataclass(frozen=True, kw_only=True)
class Known:
    """What is known besides the request; None stands for unknown.

    Attributes:
        state: Whether the key that was sent is ``active``, ``revoked``, ``legacy`` or ``unapproved``.
        funds: How its paid runs end, in the words of the profile.
        asserted: Ids of reasons that the sender knows to apply.
    """

    state: str | None = None
    held: frozenset[str] | None = None
    user: str | None = None
    tier: str | None = None
    role: str | None = None
    funds: str | float | None = None
    has_workflow: bool | None = None
    resource: KnownResource = KnownResource()
    asserted: frozenset[str] = frozenset()
