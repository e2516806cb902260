"""Check, before any test, that the target answers, and that its keys and resources are as its profile says.

The comparison sends reads, and requests without effect (docs/decisions/requests-without-effect.md), as the
profile allows. A contradiction needs a response that proves it: a 429, a 5xx or no response proves nothing.
"""

import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Final, TypeVar

from knouds_harness.contract.document import shipped_document
from knouds_harness.contract.operations import WITHOUT_KEYS, WITHOUT_MODELS
from knouds_harness.errors import CreditsShort, TargetUnreachable
from knouds_harness.exchange.client import Client
from knouds_harness.exchange.evidence import Exchange, Request, effectless_call, members_of, objects_in
from knouds_harness.exchange.pricing import Pricing, resource_named
from knouds_harness.printable import printable
from knouds_harness.targets.profile import Target
from knouds_harness.targets.resources import Model, Persona

_K = TypeVar("_K")
_MOST_AT_ONCE: Final = 16
_BOUND: Final = re.compile(r"(workflow|model):([a-z0-9-]+):run")
_OPERATION_BY_CAPABILITY: Final = {  # one that has no effect, whatever the server does
    "workflow:read": "listWorkflows",
    "workflow:write": "updateWorkflow",
    "workflow:run": "runWorkflow",
    "model:run": "runModel",
    "execution:read": "getExecution",
    "execution:cancel": "cancelExecution",
}
_FACT_BY_STATE: Final = {
    "revoked": "auth.revoked-key-is-401",
    "legacy": "auth.legacy-key-is-401-retired",
    "unapproved": "auth.unapproved-account-is-401",
}
HEALTH: Final = Request(method="GET", path="/api/health", operation_id="getHealth")
"""Every target answers it, even without a key."""
_WHOAMI: Final = Request(method="GET", path="/api/whoami", operation_id="getWhoami")
"""Refused with 401 wherever the API is: it has no key."""
_MOST_RETRIES: Final = 5
_PAUSE_S: Final = 1.0


def first_contact(
    client: Client, *, address: str | None = None, wait: Callable[[float], object] = time.sleep
) -> Exchange:
    """Request the target's health, to find out whether a usable server answers.

    A gateway that has no server may have one some seconds later.
    """
    exchange = client.send(HEALTH)
    for _ in range(_MOST_RETRIES):
        if exchange.is_from_gateway:
            wait(_PAUSE_S)
            exchange = client.send(HEALTH)
    if problem := _problem(client, exchange, address or f"base_url in {client.target.place}"):
        raise TargetUnreachable(f"{client.target.base_url}: {problem}")
    return exchange


def _problem(client: Client, health: Exchange, address: str) -> str:
    """Return why no usable server answers, and what to do about it; empty if one does."""
    status, content_type = health.status, health.header("content-type") or ""
    proxy = client.target.http.via
    failure = health.failure
    if proxy and status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:  # comes with plain HTTP
        failure = f"the proxy {proxy.authority} refuses: {status}"
    if failure:
        return f"{failure}\n  {_remedy(failure, address)}"
    if status and 300 <= status < 400:
        found = f"with a redirect to {health.header('location')}"
        remedy = f"Redirects are never followed: write the final address as {address}."
    elif health.is_from_gateway:
        found = "from a gateway without its server"
        remedy = f"Check that the server behind it runs, and {address}."
    elif "html" in content_type.lower() or health.body.lstrip()[:1] == b"<":
        found = "with HTML instead of JSON: a proxy, a login page or another service"
        remedy = f"Check {address}, and whether a proxy or VPN is in between."
    elif status == HTTPStatus.NOT_FOUND and client.send(_WHOAMI).status == HTTPStatus.NOT_FOUND:
        found = f"to {health.request.path} and to {_WHOAMI.path}, so it is not the API"
        remedy = f"Check {address}: it is the address without /api."
    else:
        return ""
    return f"answers {status} {found}\n  {remedy}"


def _remedy(failure: str, address: str) -> str:
    is_tls = failure.startswith("TLS")
    if is_tls and "not trusted" in failure and ("issuer" in failure or "self-signed" in failure):
        return (
            "Set SSL_CERT_FILE, or ca_file in [http] of the profile, to the certificate of the "
            "authority that signed it, if you trust it."
        )
    if is_tls and "refuses" in failure:
        return "Check client_certificate in [http] of the profile, if the server asks for one."
    if "wrong version number" in failure or "record layer failure" in failure:
        return f"Something there speaks plain HTTP: check https in {address}, and in the proxy of [http]."
    if "the proxy" in failure and failure.partition(": ")[2].startswith("407"):
        return (
            "Put its URL with user and password, http://USER:PASSWORD@HOST:PORT, into an environment "
            "variable, and name that as proxy_env in [http] of the profile."
        )
    if "the proxy" in failure:
        return f"Check that the proxy runs, and proxy in [http] of the profile; then {address}."
    return f"Check {'the certificate of the server' if is_tls else 'that the server runs'}, and {address}."


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


@dataclass(frozen=True, kw_only=True)
class ProfileCheck:
    contradictions: tuple[Contradiction, ...]
    target: Target
    whoami_by_key: Mapping[str, Exchange]
    exchanges: tuple[Exchange, ...]


def check_profile(client: Client, *, most_at_once: int | None = None) -> ProfileCheck:
    """Compare a profile with what its target answers, with ``limits.concurrency`` requests at a time."""
    at_once = min(most_at_once or client.target.limits.concurrency, _MOST_AT_ONCE)
    with ThreadPoolExecutor(at_once) as senders:
        comparison = _Comparison(client, senders)
        found = [replace(each, target_says=printable(each.target_says, keep="")) for each in comparison.run()]
    return ProfileCheck(
        contradictions=tuple(found),
        target=without(client.target, found),
        whoami_by_key=comparison.whoami_by_key,
        exchanges=tuple(sorted(comparison.exchanges, key=lambda exchange: exchange.id)),
    )


def without(target: Target, contradictions: Iterable[Contradiction]) -> Target:
    """Return the target without the keys, capabilities and resources that are contradicted.

    A key stays if the server should refuse it and does not: the checks then show what it may do.
    """
    personas, workflows, models = dict(target.personas), dict(target.workflows), dict(target.models)
    for each in contradictions:
        section, _, name = each.where.partition(".")
        if section == "keys":
            name, _, member = name.partition(".")
            if each.capabilities and name in personas:
                persona = personas[name]
                personas[name] = replace(persona, capabilities=persona.capabilities - each.capabilities)
            elif member != "state":
                personas.pop(name, None)
        else:
            (workflows if section == "workflows" else models).pop(name, None)
    return replace(target, personas=personas, workflows=workflows, models=models)


@dataclass
class _Comparison:
    """The steps of the comparison, which yield contradictions, and what is known so far."""

    client: Client
    senders: ThreadPoolExecutor
    exchanges: list[Exchange] = field(default_factory=list)
    whoami_by_key: dict[str, Exchange] = field(default_factory=dict)
    working: dict[str, Persona] = field(default_factory=dict)
    lists_by_user: dict[str, tuple[Persona, Exchange]] = field(default_factory=dict)
    model_answers: dict[str, Exchange] = field(default_factory=dict)

    @property
    def target(self) -> Target:
        return self.client.target

    def run(self) -> Iterator[Contradiction]:
        yield from self._compare_keys()
        yield from self._compare_capabilities()
        yield from self._compare_workflows()
        yield from self._compare_models()

    def _compare_keys(self) -> Iterator[Contradiction]:
        """Send ``getWhoami`` with every key; a refusal counts only if another operation confirms it."""
        personas = self.target.personas
        self.whoami_by_key = self._sent({name: _request("getWhoami", personas[name]) for name in personas})
        active = [name for name in self.whoami_by_key if personas[name].state == "active"]
        refused = [name for name in active if self.whoami_by_key[name].status == 401]
        confirmed = self._sent({name: _request("listUsageModels", personas[name]) for name in refused})
        for name, answer in self.whoami_by_key.items():
            key = personas[name]
            if key.state != "active" and answer.status == 200:
                yield Contradiction(
                    where=f"keys.{name}.state",
                    profile_says=f'the key is "{key.state}"',
                    target_says="the target lets it in",
                    either=f"the key is not {key.state}, or the server lets {key.state} keys in",
                    fact=_FACT_BY_STATE[key.state],
                    exchange=answer,
                )
            elif name in active and name not in refused:
                yield from self._judge_account(key, answer)
            elif _is(confirmed.get(name), 401):
                yield Contradiction(
                    where=f"keys.{name}",
                    profile_says="the key is active",
                    target_says=f"the target refuses it ({answer.answer})",
                    either="the key is wrong or revoked, or the server refuses a valid key",
                    fact="auth.key-in-x-api-key",
                    exchange=answer,
                )

    def _judge_account(self, key: Persona, whoami: Exchange) -> Iterator[Contradiction]:
        account = members_of(whoami.members.get("user")) if _is(whoami, 200) else {}
        tier, role = account.get("tier"), account.get("role")
        wrong: list[tuple[str, str, str]] = []
        if isinstance(tier, str) and tier != key.tier:
            wrong.append((".tier", f'the tier is "{key.tier}"', f'whoami says "{tier}"'))
        if role in ("user", "admin") and role != key.role:
            wrong.append((".role", f'the role is "{key.role}"', f'whoami says "{role}"'))
        if account.get("approved") is False:
            wrong.append(("", 'its state is not "unapproved"', "whoami says that it is not approved"))
        for member, profile_says, target_says in wrong:
            yield Contradiction(
                where=f"keys.{key.name}{member}",
                profile_says=profile_says,
                target_says=target_says,
                either="the profile is wrong, or whoami describes another account",
                fact="whoami.is-the-key-owner",
                exchange=whoami,
            )
        if not wrong:
            self.working[key.name] = key

    def _compare_capabilities(self) -> Iterator[Contradiction]:
        """Try each capability that the profile gives a working key, in its exact or bound form."""
        answers = self._sent(dict(self._tries()))
        denied: dict[tuple[str, str], list[tuple[str, Exchange]]] = defaultdict(list)
        for (name, capability), answer in answers.items():
            request = answer.request
            if _is(answer, 403) and answer.code == "CAPABILITY_DENIED":
                is_bound = _BOUND.fullmatch(capability)
                fact = f"capability.{'bound-form' if is_bound else 'exact'}-is-admitted"
                denied[name, fact].append((capability, answer))
            elif request.operation_id == "listWorkflows":
                key = self.working[name]
                self.lists_by_user.setdefault(key.user, (key, answer))
            elif request.operation_id == "runModel":
                self.model_answers[request.path_values["internalName"]] = answer
        for (name, fact), denials in denied.items():
            lacks = [capability for capability, _ in denials]
            yield Contradiction(
                where=f"keys.{name}.capabilities",
                profile_says=f"the key holds {', '.join(lacks)}",
                target_says="the target denies that" if len(lacks) == 1 else "the target denies these",
                either="the key does not hold it, or the server refuses a key that does",
                fact=fact,
                exchange=denials[0][1],
                capabilities=frozenset(lacks),
            )

    def _tries(self) -> Iterator[tuple[tuple[str, str], Request]]:
        pricing = Pricing(self.client)
        models = iter([model.name for model in self.target.models.values() if self._may_name(model)])
        for key in self.working.values():
            if key.tier in WITHOUT_KEYS:  # no source says what such a key may do
                continue
            for capability in sorted(key.capabilities):
                bound = _BOUND.fullmatch(capability)
                operation_id = _OPERATION_BY_CAPABILITY.get(f"{bound[1]}:run" if bound else capability)
                if operation_id is None or (operation_id == "runModel" and not _may_run_models(key)):
                    continue
                resource = bound[2] if bound else None
                if capability == "model:run":
                    resource = next(models, None)
                request = _request(operation_id, key, resource)
                if (named := resource_named(request.path, self.target)) is not None:
                    pricing.worst_case(named)  # the client reserves this price
                yield (key.name, capability), request

    def _compare_workflows(self) -> Iterator[Contradiction]:
        """Look up each workflow in a list that should show it; read it by slug if it is not there."""
        lists = list(self.lists_by_user.values())
        unseen: dict[str, Persona] = {}
        for slug, workflow in self.target.workflows.items():
            reader, listed = self.lists_by_user.get(
                workflow.owner,
                lists[0] if lists and workflow.template else (self._reader(workflow.owner), None),
            )
            is_telling = reader is not None and (reader.user == workflow.owner or _is(listed, 200))
            summaries = objects_in(listed.json_or_none()) if listed and listed.status == 200 else ()
            is_shown = any(each.get("slug") == slug for each in summaries)
            if reader is not None and is_telling and not is_shown:
                unseen[slug] = reader  # a stranger's read is refused as it likes, the list is not
        answers = self._sent({slug: _request("getWorkflow", key, slug) for slug, key in unseen.items()})
        for slug, answer in answers.items():
            owner = self.target.workflows[slug].owner
            if answer.status not in (403, 404) or answer.code == "CAPABILITY_DENIED":
                continue
            yield Contradiction(
                where=f"workflows.{slug}",
                profile_says=f'the profile says that "{owner}" owns it',
                target_says=f"{unseen[slug].name} can't see it ({answer.answer})",
                either="it is gone or another account's, or the server hides a workflow from its owner",
                fact="workflows.list-own-and-templates",
                exchange=answer,
            )

    def _reader(self, user: str) -> Persona | None:
        """Return a key that may read by a wildcard: the try of its capabilities did not list with it."""
        keys = (key for key in self.working.values() if key.user == user)
        return next((key for key in keys if key.holds("workflow:read")), None)

    def _compare_models(self) -> Iterator[Contradiction]:
        """Send each model a run that cannot start, unless the target accepted an earlier one as a run."""
        keys = [each for each in self.working.values() if _may_run_models(each) and each.holds("model:run")]
        was_run = any(answer.is_success for answer in self.model_answers.values())
        if keys and not was_run:
            models = (each.name for each in self.target.models.values() if self._may_name(each))
            rest = [name for name in models if name not in self.model_answers]
            self.model_answers |= self._sent({name: _request("runModel", keys[0], name) for name in rest})
        for name, answer in self.model_answers.items():
            if name in self.target.models and _is(answer, 404) and answer.code == "MODEL_NOT_FOUND":
                yield Contradiction(
                    where=f"models.{name}",
                    profile_says="the model can be run",
                    target_says=f"the target does not find it ({answer.answer})",
                    either="it does not exist or is disabled, or the server refuses a model that it has",
                    fact="run.success-shape",
                    exchange=answer,
                )

    def _may_name(self, model: Model) -> bool:
        """Return whether a run is affordable, in case the server starts a run that it must refuse."""
        most = self.target.limits.credits
        return not model.disabled and model.cost_credits is not None and model.cost_credits <= most

    def _sent(self, requests: Mapping[_K, Request]) -> dict[_K, Exchange]:
        """Send in parallel what the profile allows; return the exchanges that have a response."""
        allowed = self.target.limits.allow
        sent = {
            name: self.senders.submit(self._send_if_affordable, request)
            for name, request in requests.items()
            if request.action in allowed
        }
        answers = {name: answer for name, each in sent.items() if (answer := each.result())}
        self.exchanges += answers.values()
        return {name: answer for name, answer in answers.items() if answer.status is not None}

    def _send_if_affordable(self, request: Request) -> Exchange | None:
        try:
            return self.client.send(request)
        except CreditsShort:  # if the server did not refuse it
            return None


def _is(answer: Exchange | None, status: int) -> bool:
    return answer is not None and answer.status == status


def _may_run_models(key: Persona) -> bool:
    return key.role == "admin" or key.tier not in WITHOUT_MODELS


def _request(operation_id: str, key: Persona, resource: str | None = None) -> Request:
    operation = shipped_document().operation_by_id[operation_id]
    return effectless_call(operation, resource).request(operation, persona=key.name)
