"""What checks know: an exchange, what its request asked for, and what was learned elsewhere."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from knouds_harness.contract.document import shipped_document
from knouds_harness.contract.operations import RUN_OPERATIONS
from knouds_harness.exchange.evidence import JSON, Exchange, body_of
from knouds_harness.judging.rule.allowed import Allowed, allowed
from knouds_harness.judging.rule.asked import AskedRequest, Known
from knouds_harness.judging.rule.resources import KnownResources
from knouds_harness.runs.run_file import RunPersona
from knouds_harness.targets.resources import Persona


@dataclass(frozen=True, kw_only=True)
class Context:
    """What is known besides an exchange.

    Attributes:
        keys: The known keys, by persona.
        is_ours: Whether this harness sent the request, so that all that was sent is known; a browser's HAR
            export may leave out cookies and keys.
        applying: Ids of checks that the sender knows to apply.
        known: More arguments for checks, by name.
    """

    keys: Mapping[str, RunPersona | Persona] = field(default_factory=dict)
    is_ours: bool = True
    applying: frozenset[str] = frozenset()
    known: Mapping[str, object] = field(default_factory=dict)
    resources: KnownResources = field(default_factory=KnownResources)


@dataclass(frozen=True, kw_only=True)
class Case:
    """One exchange in its context: tells whether a check applies, and gives it its arguments."""

    exchange: Exchange
    context: Context

    @property
    def operation_id(self) -> str:
        """The documented operation that the request addresses; empty for none."""
        return self.asked.operation_id

    @property
    def is_run(self) -> bool:
        """Whether it is a run with a response other than a 429."""
        return self.operation_id in RUN_OPERATIONS and self.is_answered

    @property
    def is_answered(self) -> bool:
        """Whether the API sent a complete response other than a 429, which says nothing of the request."""
        is_complete = self.exchange.status not in (None, 429) and not self.exchange.is_delivery
        return is_complete and not self.exchange.is_from_outside

    @cached_property
    def key(self) -> RunPersona | Persona | None:
        """The known key that was sent, unaltered and alone, to an operation that requires one."""
        is_used = self.asked.key == "known" and self.asked.is_secured
        return self.context.keys.get(self.exchange.request.persona or "") if is_used else None

    @property
    def key_state(self) -> str:
        """The state of the known key; empty without one, without a response, or for a 429."""
        return self.key.state if self.key and self.is_answered else ""

    @cached_property
    def asked(self) -> AskedRequest:
        names = set(self.context.keys)
        if "state" in self.context.known:
            names.add(self.exchange.request.persona or "")
        return AskedRequest.of(self.exchange, is_ours=self.context.is_ours, key_names=names)

    @cached_property
    def allowed(self) -> Allowed:
        key, resources = self.key, self.context.resources
        names = ("state", "held", "user", "tier", "role")
        told: dict[str, Any] = {each: self.known.get(each) for each in names}
        if key is not None:
            told |= {"state": key.state, "funds": key.credits}
            told["has_workflow"] = resources.has_workflow(key.user, self.exchange)
        if told["held"] is not None:
            told["held"] = frozenset(told["held"])
        found = resources.of(self.exchange)
        return allowed(self.asked, Known(**told, resource=found, asserted=self.context.applying))

    @cached_property
    def shown(self) -> Mapping[str, JSON]:
        """The members of the response's body; empty if it is not an object."""
        return body_of(self.exchange)

    @cached_property
    def known(self) -> Mapping[str, object]:
        """The arguments of checks, by name; None for what is unknown."""
        request, key = self.exchange.request, self.key
        own: dict[str, object] = {
            "catalogue": shipped_document().error_codes,
            "operation": self.asked.operation,
            "path_values": self.asked.path_values,
            "slug": request.path_values.get("slug"),
        }
        if key is not None:
            own |= {"held": key.capabilities, "tier": key.tier, "role": key.role, "user": key.user}
        return {**own, **self.context.known}
