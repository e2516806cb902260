"""Before a run: does the target answer, are its keys as the profile says, what can be tested at what cost."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from knouds_harness.conformance.checks import all_checks
from knouds_harness.conformance.needs import POLLED_MODEL, may, mints_webhooks
from knouds_harness.conformance.receiver import Receiver
from knouds_harness.conformance.running import collect_suite
from knouds_harness.contract.document import shipped_document
from knouds_harness.contract.operations import Action
from knouds_harness.errors import ExitCode, UsageError
from knouds_harness.exchange.client import Client, first_contact
from knouds_harness.exchange.evidence import Exchange, Request
from knouds_harness.exchange.pricing import Pricing
from knouds_harness.target.builtin import open_target
from knouds_harness.target.guards import Guard
from knouds_harness.target.personas import Persona
from knouds_harness.target.profile import Target


def examine(target_name: str, *, yes_production: bool, console: Console) -> ExitCode:
    """Look at a target and print what was found; sends reads only.

    Returns:
        0 where every key is what the profile says of it and deliveries can be received, else 1.

    Raises:
        HarnessError: The profile is not usable, or the target gives no usable answer.
    """
    with open_target(target_name) as target:
        guard = Guard(target, yes_production=yes_production)
        with Client(target=target, guard=guard) as client:
            first_contact(client)
            console.print(
                f"{target.name}: {target.base_url} answers; profile {target.source}", highlight=False
            )
            diagnoses = [diagnose(persona, _whoami(client, persona)) for persona in target.personas.values()]
            _print_keys(diagnoses, target, console)
            _print_untested(target, console)
            can_receive = _can_receive(target, console)
            most = most_credits(target, Pricing(client, target))
            console.print(
                f"A full check of a target that keeps the contract costs at most {most:,.0f} credits; "
                f"limits.credits is {target.limits.credits:,.0f}."
            )
            if most > target.limits.credits:
                console.print(
                    "  The run will stop when the limit is reached: raise it, or pass --family or --fact."
                )
    is_sound = can_receive and not any(diagnosis.problems for diagnosis in diagnoses)
    return ExitCode.KEPT if is_sound else ExitCode.BREACH


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """One key: what the profile says of it, and where the target says otherwise."""

    persona: Persona
    answer: str
    problems: tuple[str, ...]


def diagnose(persona: Persona, whoami: Exchange) -> Diagnosis:
    """Compare what a profile says of a key with what whoami answers."""
    body = whoami.json_or_none()
    user = body.get("user") if isinstance(body, dict) else None
    account: Mapping[str, object] = user if isinstance(user, dict) else {}
    problems: tuple[str, ...]
    if persona.state != "active":
        problems = () if whoami.status == 401 else (f'state is "{persona.state}", so 401 was expected',)
    elif whoami.status != 200:
        problems = ("the key does not work",)
    else:
        said = {"tier": persona.tier, "role": persona.role, "approved": True}
        problems = tuple(
            f"{member} is {account.get(member)!r}, the profile says {expected!r}"
            for member, expected in said.items()
            if account.get(member) != expected
        )
    return Diagnosis(persona=persona, answer=str(whoami.status or whoami.failure), problems=problems)


def _whoami(client: Client, persona: Persona) -> Exchange:
    return client.send(
        Request(
            method="GET",
            path="/api/whoami",
            operation_id="getWhoami",
            persona=persona.name,
            action=Action.READ,
        )
    )


def missing_by_need(target: Target) -> dict[str, list[str]]:
    """What a profile lacks, and the ids of the checks that stay untested for want of it."""
    checks_by_need: dict[str, list[str]] = defaultdict(list)
    for check in all_checks().values():
        for need in check.needs:
            if need.find(target) is None:
                checks_by_need[need.says].append(check.id)
    for operation in shipped_document().operations:
        need = may(operation.action)
        if need.find(target) is None:
            checks_by_need[need.says].append(f"every check on {operation.id}")
    return dict(checks_by_need)


def most_credits(target: Target, pricing: Pricing) -> float:
    """The most that a full check costs on a target that keeps the contract, in credits."""
    if may(Action.RUN).find(target) is None:
        return 0.0
    shared_execution = POLLED_MODEL.find(target)
    runs = [shared_execution] if shared_execution else []
    for item in collect_suite():
        for marker in item.iter_markers("spends"):
            runs += marker.args[0](target)
    return sum(pricing.worst_case(resource) or 0.0 for resource in runs)


def _print_keys(diagnoses: Iterable[Diagnosis], target: Target, console: Console) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("key", "user", "tier", "state", "whoami", ""):
        table.add_column(heading)
    for diagnosis in diagnoses:
        persona = diagnosis.persona
        verdict = "; ".join(diagnosis.problems) or "as the profile says"
        table.add_row(persona.name, persona.user, persona.tier, persona.state, diagnosis.answer, verdict)
    for name, reason in target.missing.items():
        table.add_row(name.removeprefix("keys."), "", "", "", "", f"missing: {reason}")
    console.print(table)


def _can_receive(target: Target, console: Console) -> bool:
    """Say where deliveries are awaited, and whether this machine can listen there."""
    webhook = target.webhook
    if webhook is None or webhook.listen is None or mints_webhooks(target):
        return True
    try:
        with Receiver(*webhook.listen) as receiver:
            address = receiver.url("/")
    except UsageError as problem:
        console.print(str(problem), highlight=False, soft_wrap=True)
        return False
    keys = ", ".join(key.name for key in target.personas.values() if key.webhook) or "no key"
    console.print(
        f"Deliveries to {webhook.url} are awaited at {address} (webhook = true: {keys}).",
        highlight=False,
        soft_wrap=True,
    )
    return True


def _print_untested(target: Target, console: Console) -> None:
    missing = missing_by_need(target)
    untested = {check_id for ids in missing.values() for check_id in ids}
    checks = all_checks().values()
    in_all = Counter(check.family for check in checks)
    tested = Counter(check.family for check in checks if check.id not in untested)
    by_family = ", ".join(f"{family} {tested[family]}/{in_all[family]}" for family in in_all)
    console.print(f"Checks that can run: {by_family}.", highlight=False)
    for says, ids in missing.items():
        console.print(f"  untested for want of {says}: {', '.join(ids)}", highlight=False)
