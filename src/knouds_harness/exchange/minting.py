"""Keys with chosen capabilities, and a clock that can be moved, by the sandbox's control plane."""

from collections.abc import Collection
from typing import Any

from knouds_harness.errors import UsageError
from knouds_harness.exchange.client import Client
from knouds_harness.targets.personas import KeyState, Persona, Secret
from knouds_harness.targets.resources import Control, Webhook


class KeyMint:
    """Mints keys on a target that has a control plane, and makes their personas known to the client."""

    def __init__(self, client: Client, control: Control | None = None) -> None:
        """Mint nothing yet.

        Raises:
            UsageError: The target has no control plane.
        """
        if (control or client.target.control) is None:
            raise UsageError(
                f'target "{client.target.name}" has no control plane: only the sandbox can mint keys'
            )
        self._client = client
        self.advanced_s = 0.0
        """How far the clock of the rate-limit windows has been moved."""
        self._minted: dict[tuple[frozenset[str], str, KeyState, Webhook | None], Persona] = {}
        self._opened: dict[str, dict[str, Any]] = {}

    def open_account(self, tier: str, **options: object) -> str:
        """Open an account for which keys can be minted; returns its name.

        Raises:
            UsageError: The control plane refused.
            TargetUnreachable: The control plane gave no usable answer.
        """
        asked = {"tier": tier, **options}
        account = str(self._client.control("accounts", asked)["account"])
        self._opened[account] = asked
        return account

    def mint(
        self,
        capabilities: Collection[str],
        *,
        account: str = "ada",
        state: KeyState = "active",
        webhook: Webhook | None = None,
    ) -> Persona:
        """A key with exactly these capabilities; asking again for the same gives the same key.

        Args:
            capabilities: In any form, whether or not the account's tier could grant them.
            account: The user that it belongs to; one that the profile knows, or that was opened here.
            state: Whether it is usable, and if not, why.
            webhook: Where deliveries of its executions go, and the secret that signs them.

        Raises:
            UsageError: The control plane refused, or the profile has no persona of this account.
            TargetUnreachable: The control plane gave no usable answer.
        """
        wanted = (frozenset(capabilities), account, state, webhook)
        if wanted not in self._minted:
            self._minted[wanted] = self._mint(*wanted)
        return self._minted[wanted]

    def advance_clock(self, advance_s: float) -> None:
        """Move the clock of the rate-limit windows forward.

        Raises:
            UsageError: The control plane refused.
            TargetUnreachable: The control plane gave no usable answer.
        """
        self._client.control("clock", {"advance_s": advance_s})
        self.advanced_s += advance_s

    def _mint(
        self, capabilities: frozenset[str], account: str, state: KeyState, webhook: Webhook | None
    ) -> Persona:
        sibling = next((each for each in self._client.target.personas.values() if each.user == account), None)
        opened = self._opened.get(account, {})
        tier = sibling.tier if sibling else opened.get("tier")
        if tier is None:
            raise UsageError(f'no persona of account "{account}" in {self._client.target.source}')
        wanted: dict[str, object] = {"account": account, "capabilities": sorted(capabilities), "state": state}
        if webhook is not None:
            self._client.redactor.add(webhook.secret)
            wanted["webhook"] = {"url": webhook.url, "secret": webhook.secret.reveal()}
        answer = self._client.control("keys", wanted)
        name = str(answer["name"])
        persona = Persona(
            name=name,
            secret=Secret(str(answer["secret"]), f"key:{name}"),
            capabilities=capabilities,
            user=account,
            tier=tier,
            role=sibling.role if sibling else "user",
            state=state,
            credits=sibling.credits if sibling else opened.get("credits", "enough"),
        )
        self._client.add_persona(persona)
        return persona
