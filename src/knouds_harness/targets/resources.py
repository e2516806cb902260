"""Resources that a profile knows: workflows, models, the webhook receiver and a control plane."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from knouds_harness.targets.address import own_address
from knouds_harness.targets.personas import Secret

JSON = Any


@dataclass(frozen=True, kw_only=True)
class Workflow:
    """One workflow on the target.

    Attributes:
        slug: Lowercase letters, digits and hyphens.
        owner: The account that owns it, as personas name it.
        public: Whether it is open to everyone (``publicPlayground``).
        template: Whether everyone sees it listed (``isTemplate``).
        inputs: Values to run it with, by field name.
        fails: Whether every run of it ends in ``EXECUTION_FAILED``.
        polled: Whether it can run asynchronously.
        has_generator: Whether it holds a generator node; without one its estimated cost is null.
        has_request_input: Whether it holds a Request Input node; without one its schema has no fields.
        in_folder: Whether it lies in a folder.
        image_count_input: The input that asks for a number of images, where each of them is charged.
        cost_credits: The most one run costs; None to ask the server for its estimate.
        deadline_s: Seconds that an asynchronous run may take; None if not known.
    """

    slug: str
    owner: str
    public: bool = False
    template: bool = False
    inputs: Mapping[str, JSON] = field(default_factory=dict)
    fails: bool = False
    polled: bool = False
    has_generator: bool = True
    has_request_input: bool = True
    in_folder: bool = False
    image_count_input: str | None = None
    cost_credits: float | None = None
    deadline_s: float | None = None
    kind: ClassVar = "workflow"
    run_operation: ClassVar = "runWorkflow"

    @property
    def name(self) -> str:
        """What paths and capabilities call it, as a model's."""
        return self.slug

    @property
    def path_values(self) -> dict[str, str]:
        """Of its operations."""
        return {"slug": self.slug}


@dataclass(frozen=True, kw_only=True)
class Model:
    """One model on the target.

    Attributes:
        name: Its internal name.
        inputs: Values to run it with.
        polled: Whether its provider is polled, so that it can run asynchronously.
        fails: Whether every run of it ends in ``EXECUTION_FAILED``.
        disabled: Whether it answers 404 ``MODEL_NOT_FOUND``.
        needs_tier: The tier an account needs; below it 403 ``MODEL_TIER_REQUIRED``.
        image_count_input: The input that asks for a number of images, where each of them is charged.
        cost_credits: The most one run with these inputs costs; None if not known, and then it is never run.
        deadline_s: Seconds that an asynchronous run may take; None if not known.

    Source: docs, models.
    """

    name: str
    inputs: Mapping[str, JSON] = field(default_factory=dict)
    polled: bool = False
    fails: bool = False
    disabled: bool = False
    needs_tier: str = "business"
    image_count_input: str | None = None
    cost_credits: float | None = None
    deadline_s: float | None = None
    kind: ClassVar = "model"
    run_operation: ClassVar = "runModel"

    @property
    def path_values(self) -> dict[str, str]:
        """Of its operations."""
        return {"internalName": self.name}


@dataclass(frozen=True, kw_only=True)
class Webhook:
    """Where deliveries of this target's keys arrive, and the secret that signs them.

    Attributes:
        url: Address that is set for the keys.
        listen: Host and port of this machine to which the URL leads; None where it leads elsewhere.
        deadline_s: Seconds that a delivery, or the next attempt of a refused one, is awaited.
    """

    url: str
    secret: Secret
    listen: tuple[str, int] | None = None
    deadline_s: float = 60.0

    @property
    def is_direct(self) -> bool:
        """Whether the URL itself names where is listened, with no tunnel or proxy between."""
        return self.listen is not None and self.listen == own_address(self.url)


@dataclass(frozen=True, kw_only=True)
class Control:
    """A control plane that mints keys and moves the clock; only the sandbox has one.

    Attributes:
        token: Sent as ``x-sandbox-token``.
        path: Path under the base URL.
    """

    token: Secret
    path: str = "/__sandbox__"
