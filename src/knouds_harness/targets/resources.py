"""The tables of a profile: keys, workflows, models, webhook, control plane, limits, waivers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Annotated, Any, ClassVar, Literal, cast, get_args

from pydantic import Field, PlainValidator, StringConstraints

from knouds_harness.contract.operations import EVERYTHING, Action, meets
from knouds_harness.targets.address import host_and_port, is_url, own_address
from knouds_harness.targets.profile_format import (
    NOT_IN_FILE,
    Amount,
    Capability,
    Day,
    Duration,
    Flag,
    Number,
    Text,
    Whole,
    fitting,
)
from knouds_harness.targets.secrets import NO_SECRET, SecretSource, SecretValue

KeyState = Literal["active", "revoked", "legacy", "unapproved"]
Funds = Literal["enough", "none", "exhausted", "granted"]
Role = Literal["user", "admin"]


def _funds(value: object) -> Funds | float:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf:
        return float(value)
    named = next((each for each in get_args(Funds) if each == value), None)
    if named is None:
        raise ValueError(
            f"neither a number of credits nor one of {', '.join(get_args(Funds))}: write one of these"
        )
    return cast(Funds, named)


@dataclass(frozen=True, kw_only=True)
class Persona(SecretSource):
    """One API key, with what the profile says about it and its account: ``[keys.NAME]``.

    Attributes:
        credits: How a paid run ends: charged (``enough``), refused (``none``, or ``exhausted`` for a used-up
            trial grant), or free of charge (``granted``, with an active trial grant). A number if the account
            has only that many credits.
        webhook_secret: Signs the key's deliveries; ``NO_SECRET`` if the secret of ``[webhook]`` does.
    """

    name: Annotated[str, NOT_IN_FILE, Field(default="")]
    secret: SecretValue
    capabilities: frozenset[Capability]
    user: Text
    tier: Text
    state: KeyState = "active"
    role: Role = "user"
    credits: Annotated[Funds | float, PlainValidator(_funds)] = "enough"
    webhook: Flag = False
    webhook_secret_env: Text | None = None
    webhook_secret: SecretValue = NO_SECRET

    @property
    def is_open(self) -> bool:
        """Whether it holds ``*`` but is not an administrator's: no source says what such a key may do."""
        return EVERYTHING in self.capabilities and self.role != "admin"

    def holds(self, *capabilities: str) -> bool:
        """Return whether the key certainly meets each of these requirements."""
        held = self.capabilities - {EVERYTHING} if self.is_open else self.capabilities
        return all(meets(held, each) for each in capabilities)

    def is_able(self, *capabilities: str) -> bool:
        return self.state == "active" and self.holds(*capabilities)


@dataclass(frozen=True, kw_only=True)
class Workflow:
    """One workflow on the target: ``[workflows.SLUG]``.

    Attributes:
        cost_credits: The most one run costs; None to ask the server for its estimate.
    """

    slug: Annotated[str, NOT_IN_FILE, Field(default="")]
    owner: Text
    public: Flag = False
    template: Flag = False
    inputs: Mapping[str, Any] = field(default_factory=dict)
    fails: Flag = False
    polled: Flag = False
    has_generator: Flag = True
    has_request_input: Flag = True
    in_folder: Flag = False
    image_count_input: Text | None = None
    cost_credits: Amount | None = None
    deadline_s: Duration | None = None
    kind: ClassVar = "workflow"
    run_operation: ClassVar = "runWorkflow"

    @property
    def name(self) -> str:
        return self.slug

    @property
    def path_values(self) -> dict[str, str]:
        return {"slug": self.slug}


@dataclass(frozen=True, kw_only=True)
class Model:
    """One model on the target: ``[models.NAME]``.

    Attributes:
        cost_credits: The most one run with these inputs costs; if None (unknown), the model is never run.
    """

    name: Annotated[str, NOT_IN_FILE, Field(default="")]
    inputs: Mapping[str, Any] = field(default_factory=dict)
    polled: Flag = False
    fails: Flag = False
    disabled: Flag = False
    needs_tier: Text = "business"
    image_count_input: Text | None = None
    cost_credits: Amount | None = None
    deadline_s: Duration | None = None
    kind: ClassVar = "model"
    run_operation: ClassVar = "runModel"

    @property
    def path_values(self) -> dict[str, str]:
        return {"internalName": self.name}


_DeliveryUrl = Annotated[
    Text,
    fitting(
        is_url,
        "not a URL that deliveries can be sent to: write the URL that is set for the keys: "
        'url = "https://hooks.example.com/knouds"',
    ),
]
_ListeningAddress = Annotated[
    Text,
    fitting(
        lambda text: host_and_port(text) is not None,
        'not an address and port of this machine: write both: listen = "127.0.0.1:9000", or "[::1]:9000"',
    ),
]


@dataclass(frozen=True, kw_only=True)
class Webhook(SecretSource):
    """Where the deliveries of this target arrive, and the secret that signs them: ``[webhook]``."""

    url: _DeliveryUrl
    secret: SecretValue
    listen: _ListeningAddress | None = None
    deadline_s: Duration = 60.0

    @property
    def receiver(self) -> tuple[str, int] | None:
        """Host and port to receive deliveries on; None if they go to another machine."""
        return own_address(self.url) if self.listen is None else host_and_port(self.listen)

    @property
    def is_direct(self) -> bool:
        """Whether the URL leads directly to the receiver, without a tunnel or proxy."""
        return self.receiver is not None and self.receiver == own_address(self.url)


@dataclass(frozen=True, kw_only=True)
class Control(SecretSource):
    """The control plane, which mints keys and moves the clock: ``[control]``; only the sandbox has one."""

    secret: SecretValue
    path: Annotated[str, StringConstraints(pattern=r"^/[\w/-]*\w$")] = "/__sandbox__"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The limits that the guards enforce: ``[limits]``.

    Attributes:
        credits: The most that all runs of one session may cost together; 0 forbids paid runs.
        requests_per_s: The most requests started per second, evenly spaced; None for no limit.
        concurrency: The most requests in flight at once; in a load run, over all workers.
        timeout_s: Seconds that one exchange may take, including connecting.
        allow: The kinds of action that may be sent.
        settle_s: Seconds until a charge shows in usage, at most; 0 if it is there at once.
        fill_rate_windows: Whether tests may fill rate-limit windows in real time; None fills them only if the
            runs cost nothing.
        credits_by: What set the credits, for messages: the key of the profile, or an option.
    """

    credits: Amount = 0.0
    requests_per_s: Annotated[Number, Field(gt=0)] | None = None
    concurrency: Annotated[Whole, Field(ge=1, le=1_000_000)] = 4
    timeout_s: Duration = 30.0
    allow: frozenset[Action] = frozenset({Action.READ})
    settle_s: Annotated[Number, Field(ge=0, le=3_600)] = 20.0
    fill_rate_windows: Flag | None = None
    credits_by: Annotated[str, NOT_IN_FILE] = "limits.credits"

    def spending(self, asked_credits: float | None, *, by: str) -> Limits:
        """Return the limits with ``asked_credits`` as credits, if that is lower than the profile's."""
        if asked_credits is None or asked_credits >= self.credits:
            return self
        return replace(self, credits=asked_credits, credits_by=by)


@dataclass(frozen=True, kw_only=True)
class Waiver:
    """Accepts the findings that match everything it names: ``[[waivers]]``.

    A waiver names a fingerprint, a fact, or a check with an operation; status and code narrow it further.

    Attributes:
        reason: Why the finding is accepted, for readers of the report.
        expires: The last day on which it holds; after that, its findings fail the run again.
        fingerprint: Fingerprint of one finding.
        fact: The fact that does not hold.
        check: The check that found it.
        operation: The operationId of the exchange.
        status: The HTTP status of the response.
        code: The ``code`` of the response; an empty string for a response without one.
    """

    reason: Text
    expires: Day
    fingerprint: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{12}$")] | None = None
    fact: Text | None = None
    check: Text | None = None
    operation: Text | None = None
    status: Annotated[Whole, Field(ge=100, le=599)] | None = None
    code: str | None = None

    def __post_init__(self) -> None:
        if not (self.fingerprint or self.fact or (self.check and self.operation)):
            raise ValueError(
                "does not say which findings it accepts: name a fingerprint, or a fact, or a check together "
                "with an operation"
            )

    @property
    def _named(self) -> dict[str, object]:
        names = ("fingerprint", "fact", "check", "operation", "status", "code")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}

    def matches(self, **finding: object) -> bool:
        """Return whether a finding with these properties matches, even if the waiver ``is_expired``."""
        properties = {**finding, "code": finding["code"] or ""}
        return all(properties[name] == value for name, value in self._named.items())

    def is_expired(self, today: date) -> bool:
        return today > self.expires

    @property
    def excuse(self) -> str:
        return f"{self.reason}, until {self.expires}"

    def __str__(self) -> str:
        """Show what it matches, such as ``fact envelope.plain-401-has-code, status 401``."""
        return ", ".join(f"{name} {value}" for name, value in self._named.items())
