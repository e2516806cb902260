"""The operations of the API, who may use them, its error codes, and its promises: facts."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any, Final
from urllib.parse import quote, unquote

EVERYTHING: Final = "*"
RUN_OPERATIONS: Final = ("runWorkflow", "runModel")
"""The operations that run something, and so may cost credits."""
WINDOW_S: Final = 60
LIMIT_BY_TIER: Final[Mapping[str, int]] = {"pro": 100, "business": 1000}
"""Requests to each run operation in a fixed window; no source says whether other operations are limited."""
UNLIMITED: Final = "enterprise"
WITHOUT_KEYS: Final = frozenset({"free", "creator"})
WITHOUT_MODELS: Final = WITHOUT_KEYS | {"pro"}
TIERS: Final = WITHOUT_KEYS | LIMIT_BY_TIER.keys() | {UNLIMITED}
"""The documented tiers; custom tiers exist, but no source says what they admit."""
IN_FLIGHT: Final = frozenset({"processing", "cancel_requested"})
FINAL: Final = frozenset({"completed", "failed", "cancelled"})
NEXT_BY_STATUS: Final = {
    "processing": IN_FLIGHT | FINAL,
    "cancel_requested": {"cancel_requested"} | FINAL,
    **{status: {status} for status in FINAL},
}
"""The statuses that may follow each status of an execution; source: docs, async executions."""
_WORD = r"[a-z]+(?:-[a-z]+)*"
_CAPABILITY = re.compile(rf"\*|{_WORD}:(?:\*|{_WORD})|(?:workflow|model):[a-z0-9-]+:run")
_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_SUCCESS = 2


def is_capability(text: str) -> bool:
    """Return whether a text has the form of a capability; resources and verbs are open sets."""
    return _CAPABILITY.fullmatch(text) is not None


def meets(held: Collection[str], required: str) -> bool:
    """Return whether a key that holds these capabilities meets one requirement.

    It does if it holds ``*``, exactly the required capability, or the wildcard of the required resource.
    Nothing else is implied: ``workflow:write`` does not meet ``workflow:read``.
    """
    resource, separator, _ = required.partition(":")
    return EVERYTHING in held or required in held or (bool(separator) and f"{resource}:*" in held)


class Source(StrEnum):
    """Where a fact, or another statement about the API, comes from.

    Attributes:
        OVERVIEW: The overview page; it wins if sources disagree.
        DOCS: Another public reference page.
        ASSUMED: No source; a choice of this project. A mismatch with it is never a breach.
        USER: The user's own tests and checks; never the document.
    """

    OVERVIEW = "overview"
    DOCS = "docs"
    ASSUMED = "assumed"
    USER = "user"


@dataclass(frozen=True, kw_only=True)
class Fact:
    """One promise of the API that can be observed over HTTP.

    Attributes:
        id: Such as ``auth.revoked-key-is-401``; waivers, faults and reports name it.
        says: The promise in one sentence.
        source: Who states it.
        conflict: What the losing source says instead, if sources disagree.
    """

    id: str
    says: str
    source: Source
    conflict: str | None = None


class Action(StrEnum):
    """The kinds of effect that an operation has on the account; the limits of a target allow some of them."""

    READ = "read"
    WRITE = "write"
    RUN = "run"
    CANCEL = "cancel"


@dataclass(frozen=True, kw_only=True)
class ErrorCode:
    """One value of ``code`` in an error body.

    Attributes:
        context_fields: Members of the body beside ``error`` and ``code``.
        source: Who names it; a server may spell an assumed code differently.
        key_can_provoke: False if it only occurs while a key is created, which no key can do.
    """

    code: str
    statuses: tuple[int, ...]
    context_fields: tuple[str, ...]
    source: Source
    key_can_provoke: bool


_ACTION_BY_VERB = {"write": Action.WRITE, "run": Action.RUN, "cancel": Action.CANCEL}


def action_of(capability: str) -> Action:
    return _ACTION_BY_VERB.get(capability.rpartition(":")[2], Action.READ)


@dataclass(frozen=True, kw_only=True)
class Header:
    name: str
    is_required: bool
    schema: Mapping[str, Any]
    fact: str
    pointer: str


@dataclass(frozen=True, kw_only=True)
class DocumentedResponse:
    """One status that an operation answers with.

    Attributes:
        fact: The fact that names the status, if the response itself cites one.
        facts: Every fact that its headers or its schema cite, in order of appearance.
    """

    status: int
    schema: Mapping[str, Any] | None
    schema_pointer: str | None
    headers: Mapping[str, Header]
    source: Source
    fact: str | None = None
    facts: tuple[str, ...]
    examples: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, eq=False)  # compared by identity, so that it can be a key
class Operation:
    """One method on one path.

    Attributes:
        alternatives: Capabilities, any of which suffices, with placeholders; empty for any valid key.
    """

    id: str
    method: str
    path: str
    tag: str
    is_public: bool
    alternatives: tuple[str, ...]
    error_codes: tuple[str, ...]
    source: Source
    responses: Mapping[int, DocumentedResponse]
    request_schema: Mapping[str, Any] | None
    request_examples: Mapping[str, Any] = field(default_factory=dict)
    path_parameters: tuple[str, ...]
    query_parameters: Mapping[str, Mapping[str, Any]]
    facts: tuple[str, ...]

    def __repr__(self) -> str:
        """Show the id only: Hypothesis prints the arguments of explicit examples, and schemas fill pages."""
        return f"<Operation {self.id}>"

    def required_capabilities(self, path_values: Mapping[str, str]) -> tuple[str, ...]:
        """Return the alternatives with placeholders filled: ``("workflow:run", "workflow:portrait:run")``."""
        return tuple(_filled(alternative, path_values) for alternative in self.alternatives)

    def admits(self, held: Collection[str], path_values: Mapping[str, str]) -> bool:
        """Return whether a valid key with these capabilities may use the operation on this resource."""
        required = self.required_capabilities(path_values)
        return not required or any(meets(held, capability) for capability in required)

    def url_path(self, path_values: Mapping[str, str]) -> str:
        """Return the path with its values filled in, percent-encoded."""
        return _filled(self.path, {name: quote(value, safe="") for name, value in path_values.items()})

    def path_values(self, path: str) -> Mapping[str, str] | None:
        """Return the placeholders' values in a path, percent-decoded; None if it does not match."""
        match = self._pattern.fullmatch(path)
        return None if match is None else {name: unquote(value) for name, value in match.groupdict().items()}

    def assumption_about(self, status: int) -> str | None:
        """Return the assumed fact that an undocumented status breaks, if no source names the right statuses.

        An undocumented success breaks only an assumption if every documented success is assumed. Any other
        status does if a documented response of the same class (such as 4xx) cites an assumed fact. None if
        the status is documented, or contradicts a source.
        """
        if status in self.responses:
            return None
        kin = [response for response in self.responses.values() if response.status // 100 == status // 100]
        if status // 100 == _SUCCESS and not all(response.source is Source.ASSUMED for response in kin):
            return None
        return next(
            (response.fact for response in kin if response.fact and response.source is Source.ASSUMED), None
        )

    @property
    def action(self) -> Action:
        return action_of(self.alternatives[0]) if self.alternatives else Action.READ

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        # re.split with one group: literal, name, literal, name, …, literal
        parts = _PLACEHOLDER.split(self.path)
        return re.compile(
            "".join(
                rf"(?P<{part}>[^/]+)" if index % 2 else re.escape(part) for index, part in enumerate(parts)
            )
        )


def placeholders(template: str) -> tuple[str, ...]:
    return tuple(_PLACEHOLDER.findall(template))


def _filled(template: str, values: Mapping[str, str]) -> str:
    return _PLACEHOLDER.sub(lambda match: values[match[1]], template)
