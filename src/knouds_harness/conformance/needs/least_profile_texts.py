"""The least profile of a fact in words, and as JSON."""

from __future__ import annotations

from typing import Any

from knouds_harness.conformance.needs.keys import listed
from knouds_harness.conformance.needs.least_profiles import ORDINARY_KEY, LeastProfile, particular
from knouds_harness.contract.operations import Action
from knouds_harness.targets.personas import Persona


def words_of(least: LeastProfile) -> str:
    """What a profile has to offer, in one line."""
    target = least.target
    accounts = _accounts(least)
    parts = [_key_in_words(least, key, accounts[key.user]) for key in target.personas.values()]
    for workflow in target.workflows.values():
        owner = _of_account(accounts[workflow.owner], len(accounts)) if len(accounts) > 1 else ""
        parts.append(f"a workflow{owner}{_with(least.deciding(workflow))}")
    parts += [f"a model{_with(least.deciding(each))}" for each in target.models.values()]
    allowed = sorted(f'"{each}"' for each in target.limits.allow - {Action.READ})
    parts += [f"{listed(allowed)} in limits.allow"] if allowed else []
    parts += ["[webhook]"] if target.webhook else []
    parts += ["a control plane, as the sandbox has"] if target.control else []
    return "; ".join(parts) or "nothing"


def json_of(least: LeastProfile) -> dict[str, Any]:
    """The same for programs; accounts are numbered from 1 on."""
    target, accounts = least.target, _accounts(least)
    return {
        "allow": sorted(target.limits.allow),
        "keys": [
            {
                "account": accounts[key.user],
                "capabilities": sorted(key.capabilities),
                "exact": least.is_exact(key),
                "state": key.state,
                "role": key.role,
                **{name: getattr(key, name) for name in ORDINARY_KEY},
            }
            for key in target.personas.values()
        ],
        "workflows": [
            {"account": accounts[each.owner], **least.deciding(each)} for each in target.workflows.values()
        ],
        "models": [least.deciding(each) for each in target.models.values()],
        "webhook": target.webhook is not None,
        "control": target.control is not None,
    }


def _accounts(least: LeastProfile) -> dict[str, int]:
    """The number of each account, in order of appearance."""
    users = [key.user for key in least.target.personas.values()]
    users += [workflow.owner for workflow in least.target.workflows.values()]
    return {user: number for number, user in enumerate(dict.fromkeys(users), start=1)}


def _key_in_words(least: LeastProfile, key: Persona, account: int) -> str:
    is_exact = least.is_exact(key)
    kind = {"revoked": "a revoked key", "legacy": "a key made before May 2026"}.get(key.state, "a key")
    kind = "an administrator's key" if key.role == "admin" else kind
    kind += " of an account not yet approved" if key.state == "unapproved" else ""
    members = particular(key, ORDINARY_KEY)
    tier = members.pop("tier", key.tier if least.is_of_tier(key) else "")
    kind += f" of {'an' if tier[0] in 'aeiou' else 'a'} {tier} account" if tier else ""
    kind += "" if account == 1 else " of another account"
    if key.capabilities:
        kind += f" that holds {listed(sorted(key.capabilities))}{' alone' if is_exact else ''}"
    elif is_exact:
        kind += " that holds no capability"
    return f"{kind}{_with(members)}"


def _of_account(account: int, accounts: int) -> str:
    return "" if accounts == 1 else (" of the first account" if account == 1 else " of another account")


def _with(members: dict[str, Any]) -> str:
    """Members in the profile's words; what a run costs is for the profile to say."""
    said = [name if _is_free(name, value) else f"{name} = {_value(value)}" for name, value in members.items()]
    return f" with {listed(said)}" if said else ""


def _is_free(name: str, value: object) -> bool:
    return name in ("cost_credits", "deadline_s", "image_count_input") and not isinstance(value, bool)


def _value(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else f'"{value}"'
