"""What a profile and earlier answers tell of workflows, models and executions, as each request finds them."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from knouds_harness.contract.operations import FINAL, RUN_OPERATIONS
from knouds_harness.exchange.evidence import (
    JSON,
    NO_SUCH_EXECUTION,
    NO_SUCH_MODEL,
    NO_SUCH_WORKFLOW,
    Exchange,
    body_of,
    status_in,
)
from knouds_harness.judging.rule.asked import KnownResource
from knouds_harness.targets.resources import Model, Workflow

_NO_SUCH: Final = frozenset({NO_SUCH_WORKFLOW, NO_SUCH_MODEL, NO_SUCH_EXECUTION})
_NOBODYS: Final = "harness-unknown-"
"""Begins names that nothing has."""
_UNPOLLED: Final = ("kling-", "seedream-v5", "nano-banana-2", "claude-sonnet")
"""How names of models begin whose providers are not polled; source: overview, and docs, async executions."""


@dataclass(frozen=True, kw_only=True)
class _Event:
    """What one answer told of a resource, while its request was under way."""

    exchange_id: str
    began_at: datetime
    ended_at: datetime
    tells: Mapping[str, Any]

    @classmethod
    def of(cls, exchange: Exchange, **tells: object) -> "_Event":
        return cls(
            exchange_id=exchange.id, began_at=exchange.started_at, ended_at=exchange.ended_at, tells=tells
        )

    def is_beside(self, other: "_Event") -> bool:
        """Return whether both were under way at the same time, so that either may have come first."""
        return self.began_at < other.ended_at and other.began_at < self.ended_at


class KnownResources:
    """Follows what is created, changed, deleted, submitted and ended, and by whom."""

    def __init__(
        self,
        workflows: Mapping[str, Workflow] | None = None,
        models: Mapping[str, Model] | None = None,
        *,
        user_of: Callable[[str], str | None] = lambda _: None,
    ) -> None:
        """Begin with what a profile says; ``user_of`` returns the account of a persona."""
        self._workflows, self._models = workflows or {}, models or {}
        self._user_of = user_of
        self._events: dict[tuple[str, str], list[_Event]] = defaultdict(list)
        self._created_by: dict[str, list[str]] = defaultdict(list)

    def note(self, exchange: Exchange) -> None:
        """Learn what an answer tells of what it created, changed or deleted, or of an execution."""
        request, shown = exchange.request, body_of(exchange)
        operation, sent = request.operation_id, request.members
        user = self._user_of(request.persona) if request.persona else None
        is_lost = exchange.status is None or exchange.status >= 500
        slug = request.path_values.get("slug", "") if exchange.is_success or is_lost else ""
        if operation == "createWorkflow" and isinstance(shown.get("slug"), str):
            is_public = (
                sent.get("publicPlayground") if isinstance(sent.get("publicPlayground"), bool) else None
            )
            tells = {"exists": True, "is_deleted": False, "is_template": False, "is_public": is_public}
            self._note(("slug", shown["slug"]), exchange, owner=user, **tells)
            self._created_by[user or ""].append(shown["slug"])
        elif operation == "updateWorkflow" and slug and "publicPlayground" in sent:
            is_public = None if is_lost else sent["publicPlayground"] is True
            self._note(("slug", slug), exchange, is_public=is_public)
        elif operation == "deleteWorkflow" and slug:
            exists, is_deleted = (None, None) if is_lost else (False, True)
            self._note(("slug", slug), exchange, exists=exists, is_deleted=is_deleted)
        elif operation in RUN_OPERATIONS and isinstance(shown.get("executionId"), str):
            self._note(("id", shown["executionId"]), exchange, exists=True, owner=user)
        elif operation == "getExecution" and status_in(exchange) in FINAL:
            self._note(("id", request.path_values.get("id", "")), exchange, has_ended=True)

    def _note(self, key: tuple[str, str], exchange: Exchange, **tells: object) -> None:
        """Note what an answer tells; of a name that is given a second time, nothing is known."""
        is_repeated = "owner" in tells and self._found(key, exchange).exists
        self._events[key].append(_Event.of(exchange, **(dict.fromkeys(tells) if is_repeated else tells)))

    def of(self, exchange: Exchange) -> KnownResource:
        """Return what is known of the resource that a request names, at the time of the request.

        What another request changed while this one was under way is unknown.
        """
        return next(
            (self._found(each, exchange) for each in exchange.request.path_values.items()), KnownResource()
        )

    def has_workflow(self, user: str, exchange: Exchange) -> bool | None:
        """Return whether an account surely had a workflow when a request was sent; None if unknown."""
        is_in_profile = any(each.owner == user for each in self._workflows.values())
        created = (self._found(("slug", slug), exchange) for slug in self._created_by[user])
        return True if is_in_profile or any(each.exists and each.owner == user for each in created) else None

    def _found(self, key: tuple[str, str], exchange: Exchange) -> KnownResource:
        found, events = self._in_profile(*key, exchange), self._events.get(key, ())
        asked = _Event.of(exchange)
        for event in events:
            if event.exchange_id != exchange.id and event.began_at < asked.ended_at:
                rivals = [asked, *(each for each in events if each is not event)]
                is_settled = not any(each.is_beside(event) for each in rivals)
                found = replace(found, **(event.tells if is_settled else dict.fromkeys(event.tells)))
        return found

    def _in_profile(self, kind: str, name: str, exchange: Exchange) -> KnownResource:
        if name in _NO_SUCH or name.startswith(_NOBODYS):
            return KnownResource(exists=False, is_deleted=False)
        if kind == "slug" and (workflow := self._workflows.get(name)) is not None:
            return KnownResource(
                exists=True,
                owner=workflow.owner,
                is_deleted=False,
                is_public=workflow.public,
                is_template=workflow.template,
                is_polled=workflow.polled or None,
                is_paid=_is_paid(workflow) and workflow.has_generator,
                fails=_fails(workflow, exchange),
            )
        if kind == "internalName" and (model := self._models.get(name)) is not None:
            return KnownResource(
                exists=True,
                is_polled=model.polled,
                is_disabled=model.disabled,
                needs_tier=model.needs_tier,
                is_paid=_is_paid(model),
                fails=_fails(model, exchange),
            )
        is_unpolled = kind == "internalName" and name.startswith(_UNPOLLED)
        return KnownResource(is_polled=False if is_unpolled else None)


def _is_paid(resource: Workflow | Model) -> bool | None:
    return None if resource.cost_credits is None else resource.cost_credits > 0


def _fails(resource: Workflow | Model, exchange: Exchange) -> bool | None:
    """Return whether a run fails: with the inputs of the profile, if that says so."""
    sent: JSON = exchange.request.members.get("inputs")
    return True if resource.fails and sent == dict(resource.inputs) else None
