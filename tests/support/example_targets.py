"""Targets for tests, with keys that are no secrets."""

from typing import Any

from knouds_harness.contract.operations import Action
from knouds_harness.targets.limits import Limits
from knouds_harness.targets.personas import Persona, Secret
from knouds_harness.targets.profile import Target

SECRETS = {
    "full": "knouds_live_Full-0123456789_abcdefghijklmnop",
    "read-only": "knouds_live_Read-0123456789_abcdefghijklmnop",
    "legacy": "legacy!key/without=the%20prefix",
}
ALL = frozenset(Action)


def make_target(base_url: str = "https://staging.example.com", **limits: Any) -> Target:
    limits = {"credits": 100.0, "allow": ALL, "timeout_s": 2.0, **limits}
    personas = {
        name: Persona(
            name=name,
            secret=Secret(value, f"key:{name}"),
            capabilities=frozenset({"workflow:read"}),
            user="ada",
            tier="pro",
        )
        for name, value in SECRETS.items()
    }
    return Target(name="staging", base_url=base_url, limits=Limits(**limits), personas=personas)
