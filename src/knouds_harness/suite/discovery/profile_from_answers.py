"""Read accounts, capabilities, workflows and models from responses, to make a profile."""

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, TypeGuard

from knouds_harness.contract.operations import TIERS, is_capability
from knouds_harness.exchange.evidence import JSON, Exchange, members_of, objects_in
from knouds_harness.exchange.pricing import amount_of
from knouds_harness.targets.resources import Role, Workflow

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_NAMING_MEMBERS = ("internalName", "id", "modelId", "name", "slug")
# Refusals of what a request asks for: the key itself was let in.
_OF_WHAT_WAS_ASKED = (400, 402, 404, 409, 410, 415, 422)
_LONGEST_INPUTS = 400  # characters: more make a profile hard to read, and omitted fields have defaults


@dataclass(frozen=True, kw_only=True)
class FoundAccount:
    id: str
    tier: str
    role: Role


@dataclass(frozen=True, kw_only=True)
class Holding:
    """Whether a key holds a capability, by one response."""

    is_held: bool | None  # None if the response does not tell
    why: str


def account_in(whoami: Exchange) -> FoundAccount | None:
    user = members_of(whoami.members.get("user")) if whoami.status == 200 else {}
    identity, tier = user.get("id"), user.get("tier")
    if not isinstance(identity, str | int) or not isinstance(tier, str) or not identity or not tier:
        return None
    return FoundAccount(id=str(identity), tier=tier, role="admin" if user.get("role") == "admin" else "user")


def listed_capabilities(whoami: Exchange) -> tuple[str, ...] | None:
    """Return what whoami says the key holds, at its top or in an object named for the key; None if nothing.

    No page documents such a member; the docs allow any to be added.
    """
    of_key = [members_of(value) for name, value in whoami.members.items() if "key" in name.lower()]
    for each in (whoami.members, *of_key):
        listed = each.get("capabilities")
        if isinstance(listed, list):
            return tuple(text for text in listed if isinstance(text, str) and is_capability(text))
    return None


def is_legacy(whoami: Exchange) -> bool:
    """Return whether the refusal proves that the key is of a retired kind (docs, authentication)."""
    return whoami.status == 401 and whoami.code == "LEGACY_KEY_RETIRED"


def holding_in(exchange: Exchange) -> Holding:
    """Return whether a key was let in, judging by the response to a request without effect.

    A server that looks for the resource before the capability hides a denial behind a 404. Whether it does
    so, the caller has to find out from other responses.
    """
    status, why = exchange.status, f"the server answered {exchange.answer}"
    if status == 403:
        return Holding(is_held=False if exchange.code == "CAPABILITY_DENIED" else None, why=why)
    is_judged = status is not None and (status < 300 or status in _OF_WHAT_WAS_ASKED)
    return Holding(is_held=True if is_judged else None, why=why)


def summaries_in(listed: Exchange) -> list[dict[str, JSON]]:
    """Return the listed workflows that have a slug and are not archived; the list may be in an object."""
    body = listed.json_or_none() if listed.status == 200 else None
    return [
        each
        for each in objects_in(_list_in(body))
        if _is_name(each.get("slug")) and each.get("archived") is not True
    ]


def choose_workflows(summaries: Iterable[dict[str, JSON]], most: int) -> list[dict[str, JSON]]:
    """Choose up to ``most`` workflows of as many kinds as possible; the cheapest first, free ones last."""

    def cost(summary: dict[str, JSON]) -> float:
        estimate = amount_of(summary.get("estimatedCreditCost"))
        return math.inf if estimate is None else estimate

    by_kind: dict[object, list[dict[str, JSON]]] = defaultdict(list)
    for summary in sorted(summaries, key=cost):
        is_template, is_filed = summary.get("isTemplate") is True, summary.get("folderId") is not None
        by_kind[is_template, cost(summary) == math.inf, is_filed].append(summary)
    in_turn = [each for turn in zip_longest(*by_kind.values()) for each in turn if each is not None]
    return sorted(in_turn[:most], key=lambda each: (each.get("isTemplate") is True, cost(each)))


def workflow_in(summary: Mapping[str, JSON], schema: Exchange, document: Exchange, *, owner: str) -> Workflow:
    """Combine what the list, the schema and the document say about one workflow; the rest keeps its default.

    Source: docs, workflow schema and workflow CRUD.
    """
    told, whole = (each.members if each.status == 200 else {} for each in (schema, document))
    listed_fields, values = told.get("fields"), told.get("values")
    named = [each.get("name") for each in objects_in(listed_fields)]
    inputs = {name: value for name, value in members_of(values).items() if name in named and _is_plain(value)}
    costs = [each["estimatedCreditCost"] for each in (told, summary) if "estimatedCreditCost" in each]
    return Workflow(
        slug=str(summary["slug"]),
        owner=owner,
        public=whole.get("publicPlayground") is True,
        template=summary.get("isTemplate") is True,
        inputs=inputs if len(repr(inputs)) <= _LONGEST_INPUTS else {},
        has_generator=not costs or costs[0] is not None,
        has_request_input=listed_fields != [],
        in_folder=(whole or summary).get("folderId") is not None,
        cost_credits=amount_of(costs[0]) if costs else None,
    )


def model_names(value: JSON) -> set[str]:
    """Return the internal names in a response: a list of names or objects, or an object with such a list."""
    models = members_of(value).get("models")
    if isinstance(models, dict):
        models = list(models)
    items = models if isinstance(models, list) else _list_in(value)
    return {name for item in items if _is_name(name := _name_in(item))}


def priced_models(pricing: JSON) -> set[str]:
    """Return the models in public pricing: only those in members named after models, not lists of tiers."""
    lists = [value for name, value in members_of(pricing).items() if "model" in name.casefold()]
    return set().union(*(model_names({"models": each}) for each in lists)) - TIERS


def _name_in(item: JSON) -> JSON:
    if not isinstance(item, dict):
        return item
    return next((item[member] for member in _NAMING_MEMBERS if _is_name(item.get(member))), None)


def most_credits_by_model(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return the highest cost of one direct run in usage, by model (docs, usage: ``api-slim``)."""
    most: dict[str, float] = {}
    for row in rows:
        cost = amount_of(row.get("creditsCost"))
        match row.get("workflowSlug"), row.get("modelIds"):
            case None, [name] if _is_name(name) and cost:
                most[name] = max(most.get(name, 0.0), cost)
    return most


def _list_in(body: JSON) -> list[JSON]:
    if isinstance(body, dict):
        return next((value for value in body.values() if isinstance(value, list)), [])
    return body if isinstance(body, list) else []


def _is_name(value: JSON) -> TypeGuard[str]:
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def _is_plain(value: JSON) -> bool:
    return isinstance(value, str | bool | int | float) or (
        isinstance(value, list) and all(isinstance(each, str | bool | int | float) for each in value)
    )
