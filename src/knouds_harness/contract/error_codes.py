"""The catalogue of error codes: which status each comes with, and what else its body says."""

from __future__ import annotations

from dataclasses import dataclass

from knouds_harness.contract.sources import Source


@dataclass(frozen=True, kw_only=True)
class ErrorCode:
    """One constant that programs read in an error's ``code``.

    Attributes:
        code: Spelt as the server sends it; case matters.
        statuses: Every status it may come with.
        context_fields: Members of the body beside ``error`` and ``code``.
        source: Who names it; an assumed code is one that a server may spell otherwise.
        key_can_provoke: False where it only arises while a key is made, which no key can do.
        says: The cause, in one sentence.
    """

    code: str
    statuses: tuple[int, ...]
    context_fields: tuple[str, ...]
    source: Source
    key_can_provoke: bool
    says: str
