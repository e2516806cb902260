"""Contradictions: what a target's profile says and the target does not bear out."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from knouds_harness.exchange.evidence import Exchange
from knouds_harness.targets.profile import Target


@dataclass(frozen=True, kw_only=True)
class Contradiction:
    """Something that the profile says and the target does not bear out.

    Attributes:
        where: The profile's key, such as ``keys.pro``, ``keys.pro.tier`` or ``workflows.portrait``.
        either: What may be the reason: the profile is wrong, or the server.
        capabilities: Those that the key turned out not to hold.
    """

    where: str
    line: int | None
    profile_says: str
    target_says: str
    either: str
    fact: str
    exchange: Exchange
    capabilities: frozenset[str] = frozenset()

    @property
    def place(self) -> str:
        """The profile's key and its line."""
        return self.where if self.line is None else f"{self.where} (line {self.line})"

    @property
    def says(self) -> str:
        return f"{self.place}: {self.profile_says}, but {self.target_says}: {self.either}"


def without(target: Target, contradictions: Iterable[Contradiction]) -> Target:
    """The target as far as nothing contradicts its profile: keys, capabilities and resources are dropped.

    A key that should be refused and is not stays: what it may do is for the checks to show.
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


def line_in_profile(source: Path, where: str) -> int | None:
    """The line of a profile's key, or of the table that it belongs to; None where it can't be told."""
    section, name, *member = where.split(".")
    table = re.compile(rf"\s*\[\s*{section}\s*\.\s*[\"']?{re.escape(name)}[\"']?\s*\]")
    try:
        lines = source.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    start = next((number for number, line in enumerate(lines, 1) if table.match(line)), None)
    if start is None or not member:
        return start
    assignment = re.compile(rf"\s*{member[0]}\s*=")
    for number, line in enumerate(lines[start:], start + 1):
        if line.lstrip().startswith("["):
            break
        if assignment.match(line):
            return number
    return start
