"""Waivers: findings that are known and accepted, with a reason and an end."""

from dataclasses import dataclass
from datetime import date
from typing import Annotated

from pydantic import Field, StringConstraints

from knouds_harness.targets.profile_format import Day, Text, Whole


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
