"""The tables of a profile besides its keys: workflows, models, webhook, control plane, limits and waivers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Annotated, Any, ClassVar

from pydantic import Field, StringConstraints

from knouds_harness.contract.operations import Action
from knouds_harness.targets.address import host_and_port, own_address
from knouds_harness.targets.personas import SecretSource, SecretValue
from knouds_harness.targets.profile_format import (
    NOT_IN_FILE,
    Amount,
    Day,
    Duration,
    Flag,
    Number,
    Text,
    Whole,
)


@dataclass(frozen=True, kw_only=True)
class Workflow:
    """One workflow on the target: ``[workflows.SLUG]``.

    Attributes:
        owner: The account that owns it, as personas name it.
        public: Whether it is open to everyone (``publicPlayground``).
        template: Whether everyone sees it listed (``isTemplate``).
        polled: Whether it can run asynchronously.
        has_generator: Whether it holds a generator node; without one its estimated cost is null.
        has_request_input: Whether it holds a Request Input node; without one its schema has no fields.
        image_count_input: The input that asks for a number of images, where each of them is charged.
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
        """Its name in paths and capabilities, as for a model."""
        return self.slug

    @property
    def path_values(self) -> dict[str, str]:
        return {"slug": self.slug}


@dataclass(frozen=True, kw_only=True)
class Model:
    """One model on the target: ``[models.NAME]``.

    Attributes:
        polled: Whether its provider is polled, so that it can run asynchronously.
        disabled: Whether it answers 404 ``MODEL_NOT_FOUND``.
        needs_tier: The tier an account needs; below it 403 ``MODEL_TIER_REQUIRED``.
        image_count_input: The input that asks for a number of images, where each of them is charged.
        cost_credits: The most one run with these inputs costs; None if not known, and then it is never run.

    Source: docs, models.
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


@dataclass(frozen=True, kw_only=True)
class Webhook(SecretSource):
    """Where deliveries of this target's keys arrive, and the secret that signs them: ``[webhook]``.

    Attributes:
        listen: Host and port of this machine to which a tunnel or proxy leads from there.
        deadline_s: Seconds that a delivery, or the next attempt of a refused one, is awaited.
    """

    url: Text
    secret: SecretValue
    listen: Text | None = None
    deadline_s: Duration = 60.0

    @property
    def receiver(self) -> tuple[str, int] | None:
        """Host and port to listen at for deliveries; None if these go to another machine."""
        return own_address(self.url) if self.listen is None else host_and_port(self.listen)

    @property
    def is_direct(self) -> bool:
        """Whether the URL itself names the receiver, with no tunnel or proxy between."""
        return self.receiver is not None and self.receiver == own_address(self.url)


@dataclass(frozen=True, kw_only=True)
class Control(SecretSource):
    """A control plane that mints keys and moves the clock: ``[control]``; only the sandbox has one.

    Attributes:
        secret: Sent as ``x-sandbox-token``.
    """

    secret: SecretValue
    path: Annotated[str, StringConstraints(pattern=r"^/[\w/-]*\w$")] = "/__sandbox__"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The bounds that the guards keep: ``[limits]``.

    Attributes:
        credits: The most that all runs of one session may cost together; 0 forbids any paid run.
        requests_per_s: The most requests started per second, evenly spaced; None for no bound.
        concurrency: The most requests in flight at once; of a load, over all its workers.
        timeout_s: Seconds that one exchange may take, connecting included.
        allow: The kinds of action that may be sent at all.
        fill_rate_windows: Whether windows of rate limits are filled, where that takes a window's time; None
            fills them where the runs cost nothing.
        credits_by: What sets the credits: the key of the profile, or what was asked for in its place.
    """

    credits: Amount = 0.0
    requests_per_s: Annotated[Number, Field(gt=0)] | None = None
    concurrency: Annotated[Whole, Field(ge=1, le=1_000_000)] = 4
    timeout_s: Duration = 30.0
    allow: frozenset[Action] = frozenset({Action.READ})
    fill_rate_windows: Flag | None = None
    credits_by: Annotated[str, NOT_IN_FILE] = "limits.credits"

    def spending(self, asked_credits: float | None, *, by: str) -> Limits:
        """These limits for a run that was asked to cost at most so much; that can only lower the credits."""
        if asked_credits is None or asked_credits >= self.credits:
            return self
        return replace(self, credits=asked_credits, credits_by=by)


@dataclass(frozen=True, kw_only=True)
class Waiver:
    """Accepts the findings that fit everything it names: ``[[waivers]]``.

    A waiver names a fingerprint, a fact, or a check with an operation; status and code narrow it further.

    Attributes:
        reason: Why the finding is accepted, for readers of the report.
        expires: The last day on which it holds; afterwards its findings fail the run again.
        fingerprint: Fingerprint of one finding.
        fact: The fact that is not kept.
        check: The check that found it.
        operation: The operationId that it was found on.
        status: The HTTP status of the answer.
        code: The ``code`` of the answer; an empty string for an answer without one.
    """

    reason: Text
    expires: Day
    fingerprint: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{12}$")] | None = None
    fact: Text | None = None
    check: Text | None = None
    operation: Text | None = None
    status: Annotated[Whole, Field(ge=100, le=599)] | None = None
    code: str | None = None

    def matches(
        self,
        *,
        fingerprint: str,
        check: str,
        operation: str | None,
        status: int | None,
        code: str | None,
        fact: str | None = None,
    ) -> bool:
        """Whether a finding with these properties is the one meant; whether still, ``is_expired`` says."""
        return (
            self.fingerprint in (None, fingerprint)
            and self.fact in (None, fact)
            and self.check in (None, check)
            and self.operation in (None, operation)
            and self.status in (None, status)
            and self.code in (None, code or "")
        )

    def is_expired(self, today: date) -> bool:
        """Whether its last day has passed."""
        return today > self.expires

    def __str__(self) -> str:
        """What it names, as ``fact envelope.plain-401-has-code, status 401``."""
        names = ("fingerprint", "fact", "check", "operation", "status", "code")
        return ", ".join(f"{name} {getattr(self, name)}" for name in names if getattr(self, name) is not None)
