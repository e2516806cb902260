"""Discovery of what keys may do: its requests have no effect, and its conclusions rest on responses."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import httpx
import pytest

from knouds_harness.contract.document import shipped_document
from knouds_harness.errors import TargetUnreachable
from knouds_harness.exchange.client import Client
from knouds_harness.exchange.evidence import KEY_HEADER, NO_SUCH_EXECUTION, NO_SUCH_MODEL, NO_SUCH_WORKFLOW
from knouds_harness.suite.discovery.discovery import MOST_BOUND_FORMS, Discovery
from knouds_harness.targets.profile import Target
from knouds_harness.targets.resources import Persona
from knouds_harness.targets.secrets import Secret

DOCUMENT = shipped_document()
WHOAMI = {"user": {"id": "usr_1", "tier": "business", "role": "user"}}
MODELS = {"models": ["gpt-image-2"]}
BODIES = {
    "getWhoami": WHOAMI,
    "getPublicPricing": MODELS,
    "listUsageModels": MODELS,
    "listUsage": {"rows": []},
}
WORKFLOWS = [
    {"slug": f"own-{number}", "isTemplate": False, "createdBy": "usr_1", "estimatedCreditCost": 8}
    for number in range(30)
]


@dataclass
class Server:
    """Answer as a sound server that knows one account with workflows, and what each key holds."""

    held: Mapping[str, Collection[str]]
    is_down: bool = False
    is_throttled: bool = False
    admits_all: bool = False
    looks_at_body_first: bool = False
    told: list[str] | None = None
    """What whoami lists that the key holds."""
    requests: list[httpx.Request] = field(default_factory=list)

    def __call__(self, request):
        self.requests.append(request)
        status, body = self.answer(request)
        return httpx.Response(status, json=body)

    def answer(self, request):
        operation, path_values = operation_of(request)
        held = self.held.get(request.headers.get(KEY_HEADER, ""), ())
        is_readable = not request.content or is_json(request.content)
        refusals = [
            (self.is_throttled, 429, "RATE_LIMIT_EXCEEDED"),
            (self.looks_at_body_first and not is_readable, 400, "INVALID_BODY"),
            (not operation.admits(held, path_values), 403, "CAPABILITY_DENIED"),
            (not is_readable, 400, "INVALID_BODY"),
            (operation.id != "listWorkflows", 404, "NOT_FOUND"),
        ]
        if self.is_down:
            return 503, {"error": "Down"}
        if operation.id == "getWhoami" and self.told is not None:
            return 200, {**WHOAMI, "apiKey": {"capabilities": self.told}}
        if operation.id in BODIES:
            return 200, BODIES[operation.id]
        if self.admits_all and request.method != "GET":
            return 200, {"success": True}
        for is_refused, status, code in refusals:
            if is_refused:
                return status, {"error": "Refused", "code": code}
        return 200, WORKFLOWS


def is_json(content):
    try:
        json.loads(content)
    except ValueError:
        return False
    return True


def operation_of(request):
    return next(
        (operation, values)
        for operation in DOCUMENT.operations
        if operation.method == request.method
        and (values := operation.path_values(request.url.path)) is not None
    )


def found_with(server):
    personas = {
        name: Persona(
            name=name, secret=Secret(name, f"key:{name}"), capabilities=frozenset(), user=name, tier="unknown"
        )
        for name in server.held
    }
    target = Target(name="any", base_url="http://127.0.0.1", personas=personas)
    with Client(target=target, transport=httpx.MockTransport(server)) as client:
        return Discovery(client, variables={name: name.upper() for name in personas}).find_all()


FULL = {"workflow:read", "workflow:write", "workflow:run", "model:run", "execution:read", "execution:cancel"}


@pytest.mark.parametrize("admits_all", [False, True])
@pytest.mark.parametrize("held", [(), FULL, {"workflow:read"}])
def test_no_request_can_have_an_effect(held, admits_all):
    """Requests are reads, name a missing resource, or have a malformed body, even if a server admits all."""
    server = Server({"first-key": FULL, "second-key": held}, admits_all=admits_all)

    found_with(server)

    unknown = {NO_SUCH_WORKFLOW, NO_SUCH_MODEL, NO_SUCH_EXECUTION}
    others = [request for request in server.requests if request.method != "GET"]
    assert others
    for request in others:
        _, path_values = operation_of(request)
        assert set(path_values.values()) & unknown or not is_json(request.content)
        assert path_values


def test_uncertain_bound_form_is_not_claimed():
    """A server that reads the body first refuses a malformed one, whatever the key holds."""
    server = Server({"full-key": FULL, "none-key": ()}, looks_at_body_first=True)

    assert found_with(server).keys[1].capabilities == ()


def test_few_bound_forms_are_tried():
    """Refused runs may count against an account's window."""
    server = Server({"full-key": FULL, "none-key": ()})

    found_with(server)

    runs = [request for request in server.requests if request.url.path.endswith("/run")]
    assert len([each for each in runs if "/own-" in each.url.path]) == MOST_BOUND_FORMS


def test_throttled_key_has_unknown_capabilities():
    (key,) = found_with(Server({"full-key": FULL}, is_throttled=True)).keys

    assert key.capabilities == ()
    assert key.unknown_capabilities["workflow:run"] == "the server answered 429 RATE_LIMIT_EXCEEDED"


def test_capability_that_no_key_was_denied_is_uncertain():
    """Only a denied key shows that the server looks at the key before the resource."""
    alone = found_with(Server({"full-key": FULL}))
    beside = found_with(Server({"full-key": FULL, "none-key": ()}))

    assert "Not certain: workflow:write, workflow:run, model:run" in " ".join(alone.remarks)
    assert "Not certain" not in " ".join(beside.remarks)


def test_failing_whoami_ends_the_discovery():
    with pytest.raises(TargetUnreachable, match="whoami answered 503 to the key of FULL-KEY"):
        found_with(Server({"full-key": FULL}, is_down=True))


def test_whoami_that_lists_capabilities_is_believed():
    """Also for webhook:receive and wildcards, which no request shows."""
    told = ["webhook:receive", "workflow:*"]

    (key,) = found_with(Server({"one-key": {"workflow:*"}}, told=told)).keys

    assert (key.capabilities, key.unknown_capabilities) == (tuple(told), {})


def test_whoami_that_contradicts_requests_is_reported():
    found = found_with(Server({"one-key": {"workflow:read"}}, told=["execution:read"]))

    assert found.keys[0].capabilities == ("workflow:read",)
    assert "ONE-KEY: whoami lists execution:read; requests show otherwise." in found.remarks
