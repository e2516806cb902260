"""Find out what keys may do on a target, and what is there, by reads and by requests without effect.

docs/decisions/finding-out-without-effect.md says which requests these are, and what is not sent.
"""

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TypeVar

from knouds_harness.contract.document import shipped_document
from knouds_harness.contract.operations import WITHOUT_MODELS, Action, Operation, meets
from knouds_harness.errors import TargetUnreachable
from knouds_harness.exchange.client import Client
from knouds_harness.exchange.evidence import JSON, Call, Exchange, effectless_call
from knouds_harness.exchange.usage import rows_of
from knouds_harness.suite.discovery.profile_from_answers import (
    FoundAccount,
    Holding,
    account_in,
    choose_workflows,
    holding_in,
    is_legacy,
    listed_capabilities,
    model_names,
    most_credits_by_model,
    priced_models,
    summaries_in,
    workflow_in,
)
from knouds_harness.targets.profile_writer import UNKNOWN_TIER, Found, FoundKey
from knouds_harness.targets.resources import Workflow

MOST_WORKFLOWS = 20
"""Per account; more do not make a profile better."""
MOST_BOUND_FORMS = 20
"""Per key and kind: a tier admits a hundred run requests a minute, and refused ones may count."""

# One operation per capability that a request can show; each reads, or names a resource that does not exist.
ASKED = ("listWorkflows", "moveWorkflow", "runWorkflow", "runModel", "getExecution", "cancelExecution")
_UNREADABLE = b"no JSON"
_NEVER_SHOWN = {"webhook:receive": "no request shows whether a key holds it, and whoami does not say"}
_OTHERS = "others"
_T = TypeVar("_T")
_R = TypeVar("_R")


class Discovery:
    """Asks one target about keys; the profile's limits need to allow only reading."""

    def __init__(self, client: Client, *, variables: Mapping[str, str]) -> None:
        self._client = client
        self._operations = shipped_document().operation_by_id
        self._asked = [self._operations[each] for each in ASKED]
        self._variables = variables
        self._remarks: list[str] = []
        self._listed: dict[str, tuple[str, ...]] = {}

    def find_all(self) -> Found:
        accounts, others = self._accounts()
        users = _users(accounts)
        user_by_id = {account.id: users[name] for name, account in accounts.items()}
        holdings = dict(zip(accounts, self._together(self._holdings, accounts), strict=True))
        self._note_unproven(holdings.values())
        workflows: dict[str, Workflow] = {}
        models = dict.fromkeys(priced_models(self._read("getPublicPricing").json_or_none()), 0.0)
        for user in dict.fromkeys(users.values()):
            names = [name for name in users if users[name] == user]
            reader = next((name for name in names if holdings[name]["workflow:read"].is_held), None)
            for found in self._workflows(reader, user, user_by_id) if reader else ():
                if found.owner == user or found.slug not in workflows:
                    workflows[found.slug] = found
            for model, credits_cost in self._used_models(names[0]).items():
                models[model] = max(models.get(model, 0.0), credits_cost)
        keys = tuple(
            self._key(name, account, users[name], holdings[name], (workflows, models))
            for name, account in accounts.items()
        )
        return Found(
            base_url=self._client.target.base_url,
            keys=keys + others,
            workflows=tuple(workflows.values()),
            models=models,
            remarks=tuple(sorted(set(self._remarks))),
        )

    def _accounts(self) -> tuple[dict[str, FoundAccount], tuple[FoundKey, ...]]:
        """Return the accounts of accepted keys, and the others, whose account the server does not name."""
        answers = self._together(lambda name: self._read("getWhoami", name), self._variables)
        accounts: dict[str, FoundAccount] = {}
        account_by_id: dict[str, FoundAccount] = {}
        others = []
        for (name, variable), whoami in zip(self._variables.items(), answers, strict=True):
            account = account_in(whoami)
            if account is not None:
                accounts[name] = account_by_id.setdefault(account.id, account)
                if (listed := listed_capabilities(whoami)) is not None:
                    self._listed[name] = listed
            elif whoami.status == 401:  # the server does not say whose it is, so the user is made up
                refused = FoundKey(name=name, variable=variable, user=name, tier=UNKNOWN_TIER)
                others.append(
                    replace(refused, state="legacy")
                    if is_legacy(whoami)
                    else replace(refused, refusal=whoami.answer)
                )
            else:
                raise TargetUnreachable(
                    f"{self._client.target.base_url}: whoami answered {whoami.answer} to the key of "
                    f"{variable}, which neither names its account nor refuses it\n"
                    "  Try again later, or check that the Knouds API is at this address."
                )
        return accounts, tuple(others)

    def _holdings(self, persona: str) -> dict[str, Holding]:
        """Return whether a key holds each capability in its general form."""
        return {
            each.alternatives[0]: holding_in(self._ask(each, persona, effectless_call(each)))
            for each in self._asked
        }

    def _note_unproven(self, holdings: Collection[Mapping[str, Holding]]) -> None:
        """Note capabilities that no key was denied, as the server may look for the resource first."""
        unproven = [
            capability
            for operation in self._asked
            if operation.path_parameters
            and len(self._listed) < len(holdings)  # else whoami has said
            and any(each[capability := operation.alternatives[0]].is_held for each in holdings)
            and not any(each[capability].is_held is False for each in holdings)
        ]
        if unproven:
            self._remarks.append(
                f"Not certain: {', '.join(unproven)}. No key was denied these, and a server that first looks "
                "for the workflow, model or execution answers every key so. See the dashboard."
            )

    def _key(
        self,
        name: str,
        account: FoundAccount,
        user: str,
        holdings: Mapping[str, Holding],
        resources: tuple[Mapping[str, Workflow], Iterable[str]],
    ) -> FoundKey:
        workflows, models = resources
        variable = self._variables[name]
        found = FoundKey(name=name, variable=variable, user=user, tier=account.tier, role=account.role)
        listed = self._listed.get(name)
        if listed is not None and all(
            each.is_held in (None, meets(listed, capability)) for capability, each in holdings.items()
        ):
            return replace(found, capabilities=listed)
        shown = dict(holdings)
        own = [slug for slug, each in workflows.items() if each.owner == user]
        for operation_id, known in (("runWorkflow", own), ("runModel", sorted(models))):
            operation = self._operations[operation_id]
            if holdings[operation.alternatives[0]].is_held is False:
                shown |= self._bound_forms(name, operation, known[:MOST_BOUND_FORMS])
        if account.tier in WITHOUT_MODELS and account.role != "admin" and shown["model:run"].is_held:
            why = f"a {account.tier} account may not grant it, but it was not denied"
            shown["model:run"] = Holding(is_held=None, why=why)
        held = [form for form, each in shown.items() if each.is_held]
        unknown = {form: each.why for form, each in shown.items() if each.is_held is None}
        if listed is None:
            unknown |= _NEVER_SHOWN
        else:
            told = ", ".join(listed) or "none"
            self._remarks.append(f"{variable}: whoami lists {told}; requests show otherwise.")
            held += [each for each in _NEVER_SHOWN if meets(listed, each)]
        return replace(found, capabilities=tuple(held), unknown_capabilities=unknown)

    def _bound_forms(self, persona: str, operation: Operation, names: Iterable[str]) -> dict[str, Holding]:
        """Return whether a key that is denied the general form holds the form bound to each of these names.

        Requests to existing resources have an unreadable body, so that nothing runs. The first request names
        no resource: only a server that denies it checks capabilities before the body.
        """

        def ask(path_values: Mapping[str, str]) -> Exchange:
            return self._ask(operation, persona, Call(path_values=path_values, raw=_UNREADABLE))

        if holding_in(ask(effectless_call(operation).path_values)).is_held is not False:
            return {}
        holdings: dict[str, Holding] = {}
        for name in names:
            path_values = dict.fromkeys(operation.path_parameters, name)
            exchange = ask(path_values)
            holding = holdings[operation.required_capabilities(path_values)[1]] = holding_in(exchange)
            if holding.is_held is None or exchange.is_success:
                break  # throttled, or something may have run
        return holdings

    def _workflows(self, reader: str, user: str, user_by_id: Mapping[str, str]) -> list[Workflow]:
        summaries = summaries_in(self._read("listWorkflows", reader))
        chosen = choose_workflows(summaries, MOST_WORKFLOWS)
        if len(chosen) < len(summaries):
            self._remarks.append(
                f"{len(summaries)} workflows are listed for the account {user}: {len(chosen)} are here."
            )

        def read(summary: dict[str, JSON]) -> Workflow:
            call = Call(path_values={"slug": summary["slug"]})
            schema = self._read("getWorkflowSchema", reader, call)
            document = self._read("getWorkflow", reader, call)
            for unread in (each for each in (schema, document) if each.status != 200):
                self._remarks.append(
                    f"{unread.request.path} was answered {unread.answer}: "
                    f"[workflows.{summary['slug']}] is incomplete."
                )
            stranger = _OTHERS if summary.get("isTemplate") is True else user
            owner = user_by_id.get(str(summary.get("createdBy")), stranger)
            return workflow_in(summary, schema, document, owner=owner)

        return self._together(read, chosen)

    def _used_models(self, persona: str) -> dict[str, float]:
        """Return the models that an account has used, with the highest cost of one run; 0 if unknown."""
        used = dict.fromkeys(model_names(self._read("listUsageModels", persona).json_or_none()), 0.0)
        usage = self._read("listUsage", persona, Call(query=(("limit", "500"),)))
        return used | most_credits_by_model(rows_of(usage))

    def _read(self, operation_id: str, persona: str | None = None, call: Call | None = None) -> Exchange:
        operation = self._operations[operation_id]
        request = (call or Call()).request(operation, persona=persona)
        return self._client.send(request)

    def _ask(self, operation: Operation, persona: str, call: Call) -> Exchange:
        """Send a request that has no effect even if it is let in; for the guard it is a read."""
        request = replace(call.request(operation, persona=persona), is_deliberate=True, is_effectless=True)
        exchange = self._client.send(request)
        if operation.action is not Action.READ and exchange.is_success:
            self._remarks.append(
                f"{operation.method} {exchange.request.path} was answered {exchange.answer}, but had to be "
                "refused. Check on the server whether that had an effect."
            )
        return exchange

    def _together(self, send: Callable[[_T], _R], items: Iterable[_T]) -> list[_R]:
        with ThreadPoolExecutor(self._client.target.limits.concurrency) as threads:
            return list(threads.map(send, items))


def _users(accounts: Mapping[str, FoundAccount]) -> dict[str, str]:
    """Name the account of each persona by its tier, with a number if several accounts have the same."""
    word_by_id: dict[str, str] = {}
    times: Counter[str] = Counter()
    for account in accounts.values():
        if account.id not in word_by_id:
            named = account.role if account.role == "admin" else account.tier.lower()
            word = re.sub("[^a-z0-9]+", "-", named).strip("-") or "account"
            times[word] += 1
            word_by_id[account.id] = word if times[word] == 1 else f"{word}-{times[word]}"
    return {name: word_by_id[account.id] for name, account in accounts.items()}
