"""What checks know: an exchange, what its request asked for, and what was learned elsewhere."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from knouds_harness.body_bounds import is_too_deep
from knouds_harness.contract.capabilities import EVERYTHING, WITHOUT_MODELS
from knouds_harness.contract.document import Document
from knouds_harness.contract.operations import RUN_OPERATIONS, Operation
from knouds_harness.contract.shapes import ShapeJudge
from knouds_harness.exchange.evidence import JSON, KEY_HEADER, Exchange
from knouds_harness.exchange.execution_status import body_of
from knouds_harness.runs.header import RunPersona
from knouds_harness.targets.personas import Persona

NOT_JSON: Final = object()
"""Stands for a sent body that is not JSON."""
EXTREME: Final = object()
"""Stands for a body that correct parsers may accept or refuse, so nothing is claimed about the response."""
_KNOWN_KEY: Final = "{{key:"
_NAME: Final = re.compile(r"[a-z0-9-]+")


@dataclass(frozen=True, kw_only=True)
class Context:
    """What is known besides an exchange.

    Attributes:
        keys: The known keys, by persona.
        is_ours: Whether this harness sent the request, so that all that was sent is known; a browser's HAR
            export may leave out cookies and keys.
        is_delivery: Whether the request is a webhook delivery, sent by the target.
        applying: Ids of checks that the sender knows to apply.
        known: More arguments for checks, by name.
    """

    document: Document
    shapes: ShapeJudge
    keys: Mapping[str, RunPersona | Persona] = field(default_factory=dict)
    is_ours: bool = True
    is_delivery: bool = False
    applying: frozenset[str] = frozenset()
    known: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Case:
    """One exchange in its context: tells whether a check applies, and gives it its arguments."""

    exchange: Exchange
    context: Context

    @cached_property
    def operation(self) -> Operation | None:
        """The documented operation that the request addresses."""
        return self.context.document.operation_by_id.get(self.exchange.request.operation_id or "")

    @property
    def operation_id(self) -> str:
        """Its id; empty for a request to no documented operation."""
        return self.operation.id if self.operation else ""

    @property
    def is_run(self) -> bool:
        """Whether it is a run with a response other than a 429."""
        return self.operation_id in RUN_OPERATIONS and self.is_answered

    @property
    def is_answered(self) -> bool:
        """Whether the target sent a complete response other than a 429, which says nothing of the request."""
        return self.exchange.status not in (None, 429) and not self.context.is_delivery

    @property
    def is_about_input(self) -> bool:
        """Whether the response may be about the input: the sender was not refused."""
        return self.is_answered and self.exchange.status not in (401, 402, 403)

    @cached_property
    def sent_headers(self) -> Mapping[str, str]:
        """The headers that were sent, by lower-case name."""
        return {name.lower(): value for name, value in self.exchange.sent_headers}

    @cached_property
    def key(self) -> RunPersona | Persona | None:
        """The known key that was sent, unaltered and alone, to an operation that requires one."""
        key = self.context.keys.get(self.exchange.request.persona or "")
        if key is None or self.operation is None or self.operation.is_public:
            return None
        return key if self.exchange.keys_sent == (f"{_KNOWN_KEY}{key.name}}}}}",) else None

    @property
    def key_state(self) -> str:
        """The state of the known key; empty without one, without a response, or for a 429."""
        return self.key.state if self.key and self.is_answered else ""

    @property
    def is_open(self) -> bool:
        """Whether it is undocumented if the key may do this: ``*``, but not an administrator's."""
        key = self.key
        asks = self.operation is not None and bool(self.operation.alternatives)
        return key is not None and asks and EVERYTHING in key.capabilities and key.role != "admin"

    @property
    def is_below_models(self) -> bool:
        """Whether an account below business, not an administrator's, runs a model: that is refused.

        The code of the refusal is undocumented.
        """
        is_below = self.known.get("tier") in WITHOUT_MODELS and self.known.get("role") != "admin"
        return self.operation_id == "runModel" and is_below

    @property
    def is_admitted(self) -> bool:
        """Whether the known key works and may do this."""
        key, path_values = self.key, self.path_values
        return (
            key is not None
            and key.state == "active"
            and self.operation is not None
            and path_values is not None
            and self.operation.admits(frozenset(key.capabilities), path_values)
        )

    @property
    def path_values(self) -> Mapping[str, str] | None:
        """The values of the path's placeholders; None unless all are known."""
        values = self.exchange.request.path_values
        is_known = self.operation is None or values.keys() >= set(self.operation.path_parameters)
        return values if is_known else None

    @cached_property
    def key_sent(self) -> str:
        """How the key was sent, or falsified, to an operation that requires one.

        ``missing``, ``bearer``, ``query``, ``malformed``, ``empty``, ``unknown`` or ``altered``; empty for
        any other way, or if that is unknown.
        """
        if not (self.context.is_ours and self.is_answered and self.operation) or self.operation.is_public:
            return ""
        key = self.sent_headers.get(KEY_HEADER)
        if key is None:
            if self.sent_headers.get("authorization", "").startswith(f"Bearer {_KNOWN_KEY}"):
                return "bearer"
            if any(_KNOWN_KEY in value for _, value in self.exchange.request.query):
                return "query"
            return "" if self.sent_headers.keys() & {"authorization", "cookie"} else "missing"
        if not key.startswith("{{"):
            return "malformed" if key.strip() else "empty"
        return {"{{key:unknown}}": "unknown", "{{key:altered}}": "altered"}.get(key, "")

    @property
    def names(self) -> tuple[str, ...]:
        """The names in the path, such as a slug."""
        return tuple(self.exchange.request.path_values.values())

    @property
    def query(self) -> Mapping[str, str]:
        """The query parameters; of repeated ones the last."""
        return dict(self.exchange.request.query)

    @property
    def is_async(self) -> bool:
        """Whether the query asks for an asynchronous run."""
        return self.query.get("async") == "true"

    @cached_property
    def is_json_sent(self) -> bool:
        """Whether the Content-Type header says JSON."""
        types = [value for name, value in self.exchange.sent_headers if name.lower() == "content-type"]
        return "json" in ", ".join(types).lower()

    @cached_property
    def sent(self) -> JSON:
        """The request's body as JSON, ``NOT_JSON`` or ``EXTREME``; None without a body."""
        body = self.exchange.request.body
        if not body:
            return None
        try:
            sent = json.loads(body, parse_int=_double, parse_float=_double, parse_constant=_refuse)
            json.dumps(sent, ensure_ascii=False).encode()
        except (OverflowError, RecursionError, UnicodeEncodeError):
            return EXTREME
        except ValueError:
            return NOT_JSON
        return EXTREME if is_too_deep(body, sent) else sent

    @cached_property
    def run_defect(self) -> str | None:
        """The one defect of a run's request; empty if it has none.

        ``name``, ``inputs missing``, ``inputs not object`` or ``body not JSON``; None for any other request,
        for several defects, and if the response may be about something else.
        """
        if not (self.is_run and self.is_about_input) or self.sent is EXTREME:
            return None
        is_named = all(map(_NAME.fullmatch, self.names))
        if isinstance(self.sent, dict) and isinstance(self.sent.get("inputs"), dict):
            return "" if is_named else "name"
        is_elsewhere = self.exchange.status == 404 or self.exchange.code == "ASYNC_NOT_SUPPORTED"
        if is_elsewhere or not is_named or not self.is_json_sent:
            return None
        if isinstance(self.sent, dict):
            return "inputs not object" if "inputs" in self.sent else "inputs missing"
        return "body not JSON" if self.sent is NOT_JSON else None

    @cached_property
    def shown(self) -> Mapping[str, JSON]:
        """The members of the response's body; empty if it is not an object."""
        return body_of(self.exchange)

    @cached_property
    def known(self) -> Mapping[str, object]:
        """The arguments of checks, by name; None for what is unknown."""
        request, key = self.exchange.request, self.key
        own: dict[str, object] = {
            "catalogue": self.context.document.error_codes,
            "operation": self.operation,
            "path_values": self.path_values,
            "shapes": self.context.shapes,
            "slug": request.path_values.get("slug"),
        }
        if key is not None:
            own |= {"held": key.capabilities, "tier": key.tier, "role": key.role, "user": key.user}
        return {**own, **self.context.known}


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is not JSON")  # by default, json.loads accepts NaN and Infinity


def _double(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise OverflowError
    return number
