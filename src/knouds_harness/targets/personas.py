"""Personas: keys with their accounts and rights; and secrets that do not show when printed."""

import math
from dataclasses import dataclass
from typing import Annotated, Final, Literal, cast, get_args

from pydantic import Field, InstanceOf, PlainValidator

from knouds_harness.contract.capabilities import EVERYTHING, meets
from knouds_harness.targets.profile_format import NOT_IN_FILE, Capability, Flag, Text

KeyState = Literal["active", "revoked", "legacy", "unapproved"]
Funds = Literal["enough", "none", "exhausted", "granted"]
Role = Literal["user", "admin"]


class Secret:
    """A secret that shows a pseudonym if it is printed, formatted or logged.

    Not a dataclass: hypothesis and debuggers print the fields of dataclasses, whatever ``__repr__`` says.

    Attributes:
        label: The pseudonym in evidence: ``key:full`` shows as ``{{key:full}}``.
        variable: The environment variable that holds it; empty if it comes from elsewhere.
    """

    __slots__ = ("_value", "label", "variable")

    def __init__(self, value: str, label: str, variable: str = "") -> None:
        self._value = value
        self.label = label.replace("{", "").replace("}", "")  # the name may come from a control plane
        self.variable = variable

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and (self._value, self.label) == (other._value, other.label)

    def __hash__(self) -> int:
        return hash((self._value, self.label))

    def reveal(self) -> str:
        """Return the secret itself, for the header that sends it; never write it to a file."""
        return self._value

    def __repr__(self) -> str:
        return f"{{{{{self.label}}}}}"

    __str__ = __repr__


NO_SECRET: Final = Secret("", "")
SecretValue = Annotated[InstanceOf[Secret], NOT_IN_FILE, Field(default=NO_SECRET)]


@dataclass(frozen=True, kw_only=True)
class SecretSource:
    """Where a secret is stored, which is never the profile itself.

    Attributes:
        secret_file: Path, relative to the profile's folder.
    """

    secret_env: Text | None = None
    secret_file: Text | None = None
    optional: Flag = False


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
        user: The account's name in this profile; personas of one account share it.
        role: ``admin`` bypasses tier gates and rate limits.
        credits: How a paid run ends: charged (``enough``), refused (``none``, or ``exhausted`` for a used-up
            trial grant), or free of charge (``granted``, with an active trial grant). A number if the account
            has only that many credits.
        webhook_secret: Signs the key's deliveries; ``NO_SECRET`` if the secret of ``[webhook]`` does.

    Source: docs, authentication, capabilities and tiers.
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
        """Return whether the key is active and meets each of these requirements."""
        return self.state == "active" and self.holds(*capabilities)
