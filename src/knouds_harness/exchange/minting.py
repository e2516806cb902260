"""Mint keys with chosen capabilities, and move the clock, with the sandbox's control plane."""

import json
from collections.abc import Collection
from datetime import UTC, datetime
from functools import cache
from typing import Any

from knouds_harness.errors import TargetUnreachable, UsageError
from knouds_harness.exchange.client import Client
from knouds_harness.exchange.evidence import CONTROL_HEADER, JSON, Exchange, Request, parsed_json
from knouds_harness.targets.resources import KeyState, Persona, Webhook
from knouds_harness.targets.secrets import Secret


class KeyMint:
    """Mints keys on a target with a control plane, and adds their personas to the client."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._advances: list[tuple[datetime, datetime, float]] = []
        self._minted = cache(self._mint)
        self._accounts: dict[str, dict[str, Any]] = {
            each.user: {"tier": each.tier, "role": each.role, "credits": each.credits}
            for each in client.target.personas.values()
        }

    def open_account(self, tier: str, **options: float) -> str:
        """Open an account for which keys can be minted; return its name."""
        asked = {"tier": tier, **options}
        account = str(ask_control(self._client, "accounts", asked)["account"])
        self._accounts[account] = {"role": "user", **asked}
        return account

    def mint(
        self,
        capabilities: Collection[str],
        *,
        account: str = "ada",
        state: KeyState = "active",
        webhook: Webhook | None = None,
    ) -> Persona:
        """Return a key with exactly these capabilities; the same arguments return the same key.

        The account is one of the profile, or from ``open_account``; its tier need not grant the capabilities.
        """
        return self._minted(frozenset(capabilities), account, state, webhook)

    def advance_clock(self, advance_s: float) -> None:
        began = datetime.now(UTC)
        ask_control(self._client, "clock", {"advance_s": advance_s})
        self._advances.append((began, datetime.now(UTC), advance_s))

    @property
    def advanced_s(self) -> float:
        """Seconds by which the clock of the rate-limit windows has been moved."""
        return sum(advance_s for _, _, advance_s in self._advances)

    def advanced_at_s(self, exchange: Exchange) -> float | None:
        """Return by how much it had been moved for a response; None if it was moved at that time."""
        before = [each for each in self._advances if each[0] <= exchange.ended_at]
        is_moved = any(exchange.started_at <= moved for _, moved, _ in before)
        return None if is_moved else sum(advance_s for _, _, advance_s in before)

    def _mint(
        self, capabilities: frozenset[str], account: str, state: KeyState, webhook: Webhook | None
    ) -> Persona:
        if account not in self._accounts:
            raise UsageError(f'no persona of account "{account}" in {self._client.target.source}')
        wanted: dict[str, object] = {"account": account, "capabilities": sorted(capabilities), "state": state}
        if webhook is not None:
            self._client.redactor.add(webhook.secret)
            wanted["webhook"] = {"url": webhook.url, "secret": webhook.secret.reveal()}
        answer = ask_control(self._client, "keys", wanted)
        name = str(answer["name"])
        persona = Persona(
            name=name,
            secret=Secret(str(answer["secret"]), f"key:{name}"),
            capabilities=capabilities,
            user=account,
            state=state,
            **self._accounts[account],
        )
        self._client.add_persona(persona)
        return persona


def ask_control(client: Client, path: str, payload: JSON) -> JSON:
    """Send a request to the target's control plane; the exchange is recorded, but not judged.

    Returns:
        The response body, which may hold a new secret; the evidence does not.

    Raises:
        UsageError: The target has no control plane, or it refused.
        TargetUnreachable: The control plane gave no usable response.
    """
    control = client.target.control
    if control is None:
        raise UsageError(
            f'target "{client.target.name}" has no control plane: only the sandbox can mint keys'
        )
    request = Request(
        method="POST",
        path=f"{control.path}/{path}",
        headers=(("content-type", "application/json"), (CONTROL_HEADER, control.secret.reveal())),
        body=json.dumps(payload).encode(),
    )
    answers: list[JSON] = []

    def without_new_secrets(body: bytes) -> bytes:
        answer = parsed_json(body)[0]
        answers.append(answer)
        if not isinstance(answer, dict):
            return b""
        hidden = {"secret": f"{{{{key:{answer.get('name')}}}}}", "webhookSecret": "{{webhook-secret}}"}
        return json.dumps({name: hidden.get(name, value) for name, value in answer.items()}).encode()

    exchange = client.send_to_control(request, kept=without_new_secrets)
    if exchange.failure:
        raise TargetUnreachable(f"{client.target.base_url}: control plane: {exchange.failure}")
    answer = answers[0]
    if exchange.status is None or exchange.status >= 300 or not isinstance(answer, dict):
        reason = answer.get("error") if isinstance(answer, dict) else "the answer is not JSON"
        raise UsageError(
            f"{client.target.base_url}: control plane: {path}: {exchange.status} "
            f"{client.redactor.text(str(reason))}"
        )
    return answer
