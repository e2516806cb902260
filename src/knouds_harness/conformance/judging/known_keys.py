"""Keys of which a run's record says what they are, and what one answer to such a key decides."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from knouds_harness.conformance.checks import authentication, capabilities, rate_limits, runs
from knouds_harness.conformance.checks.envelopes import refusals
from knouds_harness.conformance.judging.claim import Check
from knouds_harness.conformance.judging.judgement import Judgement, judged
from knouds_harness.contract.capabilities import EVERYTHING
from knouds_harness.contract.operations import Operation
from knouds_harness.contract.tiers import LIMIT_BY_TIER
from knouds_harness.errors import RunRecordError
from knouds_harness.exchange.client import KEY_HEADER
from knouds_harness.exchange.evidence import JSON, Exchange
from knouds_harness.runs.header import RunPersona
from knouds_harness.runs.record import read_run
from knouds_harness.runs.writer import EXCHANGES_FILE

_CHECK_BY_STATE: Final[Mapping[str, Check[[]]]] = {
    "revoked": authentication.revoked_key,
    "legacy": authentication.legacy_key,
    "unapproved": authentication.unapproved_account,
}
_RUNS: Final = ("runWorkflow", "runModel")


@dataclass(kw_only=True)
class KnownKeys:
    """What keys are, by name, and how far a control plane has moved the clock until now."""

    by_name: dict[str, RunPersona]
    advanced_s: float = 0.0
    _tier_and_role: dict[str, tuple[str, str]] = field(default_factory=dict)

    @classmethod
    def beside(cls, path: Path) -> KnownKeys:
        """The keys of the run whose exchanges a file holds; none where no record lies beside it."""
        keys: dict[str, RunPersona] = {}
        if path.name == EXCHANGES_FILE:
            with suppress(RunRecordError):
                keys |= read_run(path.parent).setup.target.personas
        return cls(by_name=keys)

    def note_control(self, exchange: Exchange) -> None:
        """Take in what a control plane did: opened an account, minted a key, or moved the clock."""
        sent, given = _object(exchange.request.body), exchange.json_or_none()
        what = exchange.request.path.rpartition("/")[2]
        if not isinstance(given, dict):
            return
        if what == "clock":
            self.advanced_s += float(sent.get("advance_s", 0))
        elif what == "accounts":
            self._tier_and_role[str(given.get("account"))] = (
                str(sent.get("tier")),
                str(sent.get("role", "user")),
            )
        elif what == "keys":
            self._note_key(str(given.get("name")), sent)

    def _note_key(self, name: str, sent: Mapping[str, JSON]) -> None:
        user = str(sent.get("account"))
        sibling = next((each for each in self.by_name.values() if each.user == user), None)
        tier, role = (sibling.tier, sibling.role) if sibling else self._tier_and_role.get(user, ("", "user"))
        self.by_name[name] = RunPersona(
            name=name,
            capabilities=tuple(sent.get("capabilities", ())),
            user=user,
            tier=tier,
            role=role,
            state=str(sent.get("state", "active")),
            credits="enough",
        )

    def judge(self, exchange: Exchange, operation: Operation) -> Iterator[Judgement]:
        """What the answer to a known key decides, whatever else was asked."""
        key = self.by_name.get(exchange.request.persona or "")
        sent = [value for name, value in exchange.sent_headers if name.lower() == KEY_HEADER]
        if key is None or operation.is_public or sent != [f"{{{{key:{key.name}}}}}"]:
            return
        if exchange.status == 429:
            unlimited = rate_limits.enterprise if key.tier == "enterprise" else None
            yield judged(rate_limits.administrator if key.role == "admin" else unlimited, exchange)
        elif key.state != "active":
            yield judged(_CHECK_BY_STATE.get(key.state), exchange)
        else:
            yield judged(authentication.key_is_accepted, exchange, is_partial=True)
            yield from _by_capability(exchange, operation, key)
            yield from _by_account(exchange, operation, key)


def _by_capability(exchange: Exchange, operation: Operation, key: RunPersona) -> Iterator[Judgement]:
    """A denial of what is admitted; a success or 401 of what is not, as other refusals may come first."""
    if EVERYTHING in key.capabilities and key.role != "admin" and operation.alternatives:
        return  # what that admits to is open
    values = exchange.request.path_values
    is_admitted = operation.admits(frozenset(key.capabilities), values)
    if is_admitted and exchange.code == "CAPABILITY_DENIED":
        check = capabilities.admitted
    elif not is_admitted and (exchange.is_success or exchange.status == 401):
        check = capabilities.denied
    else:
        return
    claims = check.judge(exchange, operation=operation, held=key.capabilities, path_values=values)
    yield Judgement(check=check, claims=claims, is_partial=True)


def _by_account(exchange: Exchange, operation: Operation, key: RunPersona) -> Iterator[Judgement]:
    """What whoami and the headers tell of an account that is known."""
    if operation.id == "getWhoami":
        owner = authentication.whoami_owner
        claims = owner.judge(exchange, tier=key.tier, role=key.role, others={}, user=key.user)
        yield Judgement(check=owner, claims=claims, is_partial=True)
    is_under_business = key.tier == "pro" and key.role != "admin"
    if operation.id == "runModel" and is_under_business and exchange.status not in (400, 401, 404):
        yield judged(refusals.MODEL_RUN_UNDER_BUSINESS, exchange)
    if operation.id in _RUNS and key.role == "admin":
        yield judged(runs.administrator, exchange, is_partial=True)
    elif operation.id in _RUNS and key.tier in LIMIT_BY_TIER:
        told = rate_limits.told_limit.judge(exchange, tier=key.tier)
        yield Judgement(check=rate_limits.told_limit, claims=told, is_partial=True)


def _object(body: bytes | None) -> Mapping[str, JSON]:
    sent = json.loads(body or b"{}")
    return sent if isinstance(sent, dict) else {}
