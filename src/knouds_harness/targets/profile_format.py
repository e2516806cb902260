"""The shape of ``targets/NAME.toml``, key by key (docs/profile-reference.md explains each)."""

from __future__ import annotations

import math
from datetime import date
from typing import Annotated, Any, Literal, cast, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainValidator, StringConstraints

from knouds_harness.contract.capabilities import is_capability
from knouds_harness.targets.personas import Funds, KeyState, Role


def _capability(text: str) -> str:
    if not is_capability(text):
        raise ValueError(
            'not a capability: write "resource:verb", "resource:*", "workflow:SLUG:run", '
            '"model:NAME:run" or "*"'
        )
    return text


def _funds(value: object) -> Funds | float:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf:
        return float(value)
    named = next((each for each in get_args(Funds) if each == value), None)
    if named is None:
        raise ValueError(
            f"neither a number of credits nor one of {', '.join(get_args(Funds))}: write one of these"
        )
    return cast(Funds, named)


def _unused_member(name: str) -> str:
    if name in _USED_MEMBERS:
        raise ValueError("the harness itself goes by this member: name another")
    return name


_USED_MEMBERS = frozenset(
    {"slug", "id", "executionId", "requestId", "pollUrl", "status", "code", "cost", "tier", "role", "name"}
)
Capability = Annotated[str, AfterValidator(_capability)]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
Member = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_-]*$"), AfterValidator(_unused_member)
]
Text = Annotated[str, StringConstraints(min_length=1)]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Duration = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]


class _Table(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class SecretSource(_Table):
    """Where a secret comes from: never the profile itself."""

    secret_env: Text | None = None
    secret_file: Text | None = None
    secret_keyring: Annotated[str, StringConstraints(pattern=r"^[^/]+/.+$")] | None = None
    optional: bool = False


class LimitsTable(_Table):
    """``[limits]``."""

    credits: Amount = 0.0
    requests_per_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    concurrency: Annotated[int, Field(ge=1, le=1_000_000)] = 4  # of a load, over all its workers
    timeout_s: Duration = 30.0
    allow: list[Literal["read", "write", "run", "cancel"]] = ["read"]
    fill_rate_windows: bool | None = None


class KeyTable(SecretSource):
    """``[keys.NAME]``."""

    capabilities: list[Capability]
    user: Text
    tier: Text
    role: Role = "user"
    state: KeyState = "active"
    credits: Annotated[Funds | float, PlainValidator(_funds)] = "enough"
    webhook: bool = False


class WorkflowTable(_Table):
    """``[workflows.SLUG]``."""

    owner: Text
    public: bool = False
    template: bool = False
    inputs: dict[str, Any] = {}
    fails: bool = False
    polled: bool = False
    has_generator: bool = True
    has_request_input: bool = True
    in_folder: bool = False
    image_count_input: Text | None = None
    cost_credits: Amount | None = None
    deadline_s: Duration | None = None


class ModelTable(_Table):
    """``[models.NAME]``."""

    inputs: dict[str, Any] = {}
    polled: bool = False
    fails: bool = False
    disabled: bool = False
    needs_tier: Text = "business"
    image_count_input: Text | None = None
    cost_credits: Amount | None = None
    deadline_s: Duration | None = None


class WebhookTable(SecretSource):
    """``[webhook]``."""

    url: Text
    listen: Text | None = None
    deadline_s: Duration = 60.0


class ControlTable(SecretSource):
    """``[control]``."""

    path: Annotated[str, StringConstraints(pattern=r"^/[\w/-]*\w$")] = "/__sandbox__"


class HttpTable(_Table):
    """``[http]``."""

    headers: dict[Text, Text] = {}
    headers_env: dict[Text, Text] = {}
    proxy: Text | None = None
    proxy_env: Text | None = None
    ca_file: Text | None = None
    client_certificate: Text | None = None
    client_key: Text | None = None


class WaiverTable(_Table):
    """``[[waivers]]``."""

    reason: Text
    expires: date
    fingerprint: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{12}$")] | None = None
    fact: Text | None = None
    check: Text | None = None
    operation: Text | None = None
    status: Annotated[int, Field(ge=100, le=599)] | None = None
    code: str | None = None


class ExpectTable(_Table):
    """``[expect]``."""

    facts: list[Text] = []
    families: list[Text] = []


class ProfileTable(_Table):
    """The whole file."""

    base_url: Text | None = None
    base_url_env: Text | None = None
    production: bool | None = None
    plain_http: bool = False
    limits: LimitsTable = LimitsTable()
    keys: dict[Name, KeyTable] = {}
    workflows: dict[Name, WorkflowTable] = {}
    models: dict[Name, ModelTable] = {}
    http: HttpTable = HttpTable()
    webhook: WebhookTable | None = None
    control: ControlTable | None = None
    waivers: list[WaiverTable] = []
    expect: ExpectTable = ExpectTable()
    redact: list[Member] = []
