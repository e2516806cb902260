"""Contradictions between a target and its profile."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from knouds_harness.exchange.evidence import Exchange
from knouds_harness.targets.profile import Target


@dataclass(frozen=True, kw_only=True)
class Contradiction:
    """One statement of the profile that the target contradicts.

    Attributes:
        where: The profile's key, such as ``keys.pro``, ``keys.pro.tier`` or ``workflows.portrait``.
        either: The possible reasons: an error of the profile, or one of the server.
    """

    where: str
    profile_says: str
    target_says: str
    either: str
    fact: str
    exchange: Exchange
    capabilities: frozenset[str] = frozenset()

    @property
    def says(self) -> str:
        return f"{self.where}: {self.profile_says}, but {self.target_says}: {self.either}"


def without(target: Target, contradictions: Iterable[Contradiction]) -> Target:
    """Return the target without the keys, capabilities and resources that are contradicted.

    A key stays if the server should refuse it and does not: the checks then show what it may do.
    """
    personas, workflows, models = dict(target.personas), dict(target.workflows), dict(target.models)
    for each in contradictions:
        section, name, *member = each.where.split(".")
        if section == "keys" and each.capabilities and name in personas:
            persona = personas[name]
            personas[name] = replace(persona, capabilities=persona.capabilities - each.capabilities)
        elif section == "keys" and member != ["state"]:
            personas.pop(name, None)
        workflows.pop(name if section == "workflows" else "", None)
        models.pop(name if section == "models" else "", None)
    return replace(target, personas=personas, workflows=workflows, models=models)
