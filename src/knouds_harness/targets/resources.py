"""Resources that a profile knows: workflows, models, the webhook receiver and a control plane."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

from pydantic import Field, StringConstraints

from knouds_harness.targets.address import host_and_port, own_address
from knouds_harness.targets.personas import SecretSource, SecretValue
from knouds_harness.targets.profile_format import NOT_IN_FILE, Amount, Duration, Flag, Text


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
