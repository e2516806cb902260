"""Keys of which a run's record says what they are, and what its control plane changed since."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from knouds_harness.errors import RunRecordError
from knouds_harness.exchange.evidence import JSON, Exchange
from knouds_harness.runs.header import RunPersona
from knouds_harness.runs.record import read_run
from knouds_harness.runs.writer import EXCHANGES_FILE


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


def _object(body: bytes | None) -> Mapping[str, JSON]:
    sent = json.loads(body or b"{}")
    return sent if isinstance(sent, dict) else {}
