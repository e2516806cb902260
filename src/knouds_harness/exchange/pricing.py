"""What runs cost: before they are sent, and after."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from http import HTTPStatus
from typing import Final, Protocol
from urllib.parse import unquote

from knouds_harness.contract.operations import Action
from knouds_harness.exchange.created_workflows import workflow_path
from knouds_harness.exchange.effectless_requests import NO_SUCH_MODEL, NO_SUCH_WORKFLOW
from knouds_harness.exchange.evidence import JSON, Exchange, Request
from knouds_harness.exchange.execution_status import is_final
from knouds_harness.targets.personas import Persona
from knouds_harness.targets.profile import Target
from knouds_harness.targets.resources import Model, Workflow

_BEYOND_REASON = 10**12
_PAGE_ROWS: Final = 100
_MOST_ROWS: Final = 20_000
_RUN_PATH: Final = re.compile(r"/api/(workflows|models)/([^/]+)/run")


def charge_told(
    status: int,
    content: bytes,
    body: JSON,
    *,
    most_credits: float,
    is_to_run: bool,
    is_granted: bool,
) -> float | None:
    """What an answer to a run says was charged; None where it does not say, so that the worst is assumed.

    A refusal in the documented form costs nothing where the server is to refuse; any other proves nothing. A
    failed run may cost (the docs do not say), an accepted asynchronous one will. Of all these, a charge
    counts where it is more than the run could cost. That a run costs nothing counts where a trial grant may
    have paid it.

    Args:
        status: Of the answer.
        content: Of the answer.
        body: The same as JSON; None where it is none.
        most_credits: The most that the run could cost.
        is_to_run: Whether the server is to accept the run.
        is_granted: Whether the account has a trial grant.

    Source: docs, sync runs and error codes.
    """
    if not isinstance(body, dict) or _has_doubled_members(content):
        return None
    told = _amount(body.get("cost"))
    is_submitted = body.get("_async") is True or ("executionId" in body and body.get("success") is not True)
    if status < 300 and not is_submitted and (told or is_granted or not most_credits):
        return told
    if 400 <= status < 500 and "error" in body and not told and not is_to_run and not was_run(body):
        return 0.0
    return told if told is not None and told > most_credits else None


def _has_doubled_members(content: bytes) -> bool:
    """Whether an object names a member twice, so that readers may differ about it."""
    try:
        members = json.loads(content, object_pairs_hook=list)
    except (ValueError, RecursionError):
        return True
    return len({name for name, _ in members}) < len(members)


def was_run(body: JSON) -> bool:
    """Whether an answer says that something was run, or will be."""
    return isinstance(body, dict) and (
        body.get("success") is True or "executionId" in body or "result" in body
    )


def charged_credits(exchange: Exchange, sender: Persona | None, *, is_to_run: bool) -> float | None:
    """What the server says it charged for a run, as ``charge_told`` reads it; None where no answer came.

    Args:
        exchange: The run.
        sender: Whose key was sent; its account may be refused where it is not said to have enough credits.
        is_to_run: Whether the server is to accept the run.
    """
    if exchange.status is None:
        return None
    funds = sender.credits if sender else "enough"
    return charge_told(
        exchange.status,
        exchange.body,
        exchange.json_or_none(),
        most_credits=exchange.request.cost_credits,
        is_to_run=is_to_run and not (exchange.status == HTTPStatus.PAYMENT_REQUIRED and funds != "enough"),
        is_granted=funds == "granted",
    )


def resource_named(path: str, target: Target) -> Workflow | Model | None:
    """What a request of this path runs, in a server's most generous reading; None if the profile lacks it."""
    named = _RUN_PATH.fullmatch(path)
    if named is None:
        return None
    resources: Mapping[str, Workflow | Model]
    resources = target.workflows if named[1] == "workflows" else target.models
    name = unquote(named[2])
    return resources.get(name) or resources.get(name.casefold())


def known_credits(path: str, target: Target, estimates: Mapping[str, float]) -> float | None:
    """The most that a run costs if the server does not refuse it; None where nobody says.

    Args:
        path: Of the request.
        target: Its profile names workflows and models.
        estimates: What the server was heard to say, by slug.

    Returns:
        0 for what the harness itself made: empty workflows, and others whose runs say what they cost.
    """
    resource = resource_named(path, target)
    if resource is None:
        return None if path.split("/")[-2] in (NO_SUCH_WORKFLOW, NO_SUCH_MODEL) else 0.0
    if isinstance(resource, Workflow) and resource.cost_credits is None:
        return estimates.get(resource.slug)
    return resource.cost_credits


def dearest_credits(target: Target, estimates: Mapping[str, float]) -> float:
    """The highest price that is known of a target's workflows and models."""
    resources: tuple[Workflow | Model, ...] = (*target.workflows.values(), *target.models.values())
    return max((*estimates.values(), *(each.cost_credits or 0.0 for each in resources)), default=0.0)


class SendsRequests(Protocol):
    """What pricing needs of the client (which itself uses this module)."""

    def send(self, request: Request) -> Exchange:
        """Send one request."""


class Pricing:
    """Knows the most that one run of a workflow or a model costs: from the profile, else from the server."""

    def __init__(
        self, client: SendsRequests, target: Target, *, estimates: dict[str, float] | None = None
    ) -> None:
        """Ask the server through this client, once per workflow.

        Args:
            client: Sends as the keys of the target.
            target: Its profile names prices.
            estimates: Holds what the server was heard to say, by slug, and takes what it says now.
        """
        self._client = client
        self._target = target
        self._estimates = {} if estimates is None else estimates
        self._asked: set[str] = set()

    def worst_case(self, resource: Workflow | Model) -> float | None:
        """The most that one run costs, in credits; None if nobody says, and then it must not be run.

        An estimate of null is a price of 0 only for what is known to have no generator nodes.

        Source: docs, workflow schema (``estimatedCreditCost`` is a number, or null without generator nodes).
        """
        if resource.cost_credits is not None or isinstance(resource, Model):
            return resource.cost_credits
        if resource.slug not in self._estimates and resource.slug not in self._asked:
            estimate = self._estimate(resource)
            if estimate is not None:
                self._estimates[resource.slug] = estimate
            self._asked.add(resource.slug)  # only now: threads that ask at the same time all get the answer
        return self._estimates.get(resource.slug)

    def _estimate(self, workflow: Workflow) -> float | None:
        readers = [
            persona
            for persona in self._target.personas.values()
            if persona.user == workflow.owner and persona.is_able("workflow:read")
        ]
        if not readers or Action.READ not in self._target.limits.allow:
            return None
        exchange = self._client.send(
            Request(
                method="GET",
                path=f"{workflow_path(workflow.slug)}/schema",
                operation_id="getWorkflowSchema",
                persona=readers[0].name,
                path_values={"slug": workflow.slug},
                action=Action.READ,
            )
        )
        body = exchange.json_or_none()
        if exchange.status != 200 or not isinstance(body, dict) or "estimatedCreditCost" not in body:
            return None
        estimate = body["estimatedCreditCost"]
        if estimate is None and not workflow.has_generator:
            return 0.0
        return _amount(estimate)


def _amount(value: JSON) -> float | None:
    is_amount = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < _BEYOND_REASON
    return float(value) if is_amount else None


def usage_rows(
    send: Callable[[Request], Exchange], persona: Persona, *, limit: int, offset: int
) -> list[JSON] | None:
    """The rows of one page of usage; None where the key may not read them, or it is no page."""
    exchange = send(
        Request(
            method="GET",
            path="/api/usage",
            query=(("limit", str(limit)), ("offset", str(offset))),
            operation_id="listUsage",
            persona=persona.name,
            action=Action.READ,
        )
    )
    body = exchange.json_or_none()
    rows = body.get("rows") if exchange.status == HTTPStatus.OK and isinstance(body, dict) else None
    return rows if isinstance(rows, list) else None


Marks = Mapping[str, tuple[Collection[str] | None, float]]


class ChargesShown:
    """What usage shows that accounts were charged, since this was first asked for each of them.

    Runs of another client of the same account are among it.

    Attributes:
        marks: The rows that count no more or are final, and what the latter charged, by account; no rows
            where usage cannot be read.
    """

    def __init__(self, send: Callable[[Request], Exchange], marks: Marks = {}) -> None:  # noqa: B006 - copied
        """Ask nothing yet.

        Args:
            send: Sends one request.
            marks: Where others have asked for them already.
        """
        self._send = send
        self.marks = {user: (known, charged) for user, (known, charged) in marks.items()}
        self._readers: dict[str, list[Persona]] = {}
        self._charges: dict[str, float | None] = {}

    def begin(self, user: str, personas: Iterable[Persona]) -> None:
        """Count what an account is charged from now on.

        Args:
            user: The account.
            personas: All that there are.
        """
        if user in self.marks and user in self._readers:
            return
        self._readers[user] = [each for each in personas if each.user == user and each.state == "active"]
        if user not in self.marks:
            rows = self._page(user, 0)
            self.marks.setdefault(user, (None if rows is None else list(rows), 0.0))

    def note_run(self, user: str) -> None:
        """Read the account's usage again when asked, as a run of it has been answered."""
        self._charges.pop(user, None)

    def credits(self) -> float | None:
        """The charges of all accounts together; None where one's usage cannot be read."""
        if not self._readers:
            return None
        for user in set(self._readers) & set(self.marks) - set(self._charges):
            self._charges[user] = self._charged(user)
        charges = list(self._charges.values())
        return None if None in charges else sum(each or 0.0 for each in charges)

    def _charged(self, user: str) -> float | None:
        """The newest rows come first; which ids they have does not matter."""
        mark = known, charged = self.marks[user]
        if known is None:
            return None
        new: dict[str, tuple[float, bool]] = {}
        for offset in range(0, _MOST_ROWS, _PAGE_ROWS):
            rows = self._page(user, offset)
            if rows is None:
                return None
            page = {row_id: row for row_id, row in rows.items() if row_id not in known}
            new |= page
            if len(page) < _PAGE_ROWS:
                break
        else:
            return None
        final = {row_id: charge for row_id, (charge, is_final) in new.items() if is_final}
        if self.marks[user] is mark:  # else another thread has read on meanwhile
            self.marks[user] = {*known, *final}, charged + sum(final.values())
        return charged + sum(charge for charge, _ in new.values())

    def _page(self, user: str, offset: int) -> Mapping[str, tuple[float, bool]] | None:
        """What rows say was charged, and whether they are final, by their ids.

        None where nobody may read them, or one is unusable.
        """
        for reader in self._readers[user]:
            rows = usage_rows(self._send, reader, limit=_PAGE_ROWS, offset=offset)
            if rows is not None:
                charges = dict(filter(None, map(_charge_of, rows)))
                return charges if len(charges) == len(rows) else None
        return None


def _charge_of(row: JSON) -> tuple[str, tuple[float, bool]] | None:
    charge = _amount(row.get("creditsCost")) if isinstance(row, dict) else None
    if charge is None or "id" not in row:
        return None
    return repr(row["id"]), (charge, is_final(row.get("status")))
