"""Every request passes the guards once, and comes back as evidence."""

import re
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import partial

import httpx
import pytest
from example_targets import SECRETS, make_target
from hypothesis import given
from hypothesis import strategies as st

from knouds_harness.contract.operations import Action
from knouds_harness.errors import GuardStop, HarnessError, NotSent, UnknownName, UsageError
from knouds_harness.exchange.client import Client
from knouds_harness.exchange.curl import curl
from knouds_harness.exchange.evidence import NO_SUCH_MODEL, Exchange, Request
from knouds_harness.exchange.minting import ask_control
from knouds_harness.targets.http_settings import HttpSettings
from knouds_harness.targets.profile import Target
from knouds_harness.targets.resources import Control, Model, Workflow
from knouds_harness.targets.secrets import Secret

WHOAMI = Request(method="GET", path="/api/whoami", persona="full", operation_id="getWhoami")
RUN = Request(
    method="POST",
    path="/api/workflows/portrait/run",
    persona="full",
    headers=(("content-type", "application/json"),),
    body=b'{"inputs": {}}',
    cost_credits=10,
)


@pytest.fixture
def sent():
    return []


@pytest.fixture
def recording(sent):
    """Answer every request, and remember it."""

    def recording(request: httpx.Request, answer: httpx.Response | None = None) -> httpx.Response:
        sent.append(request)
        return answer or httpx.Response(200, json={"ok": True})

    return recording


@pytest.mark.parametrize("key", ["", "not-a-key", SECRETS["full"].swapcase(), "ключ"])
def test_given_key_replaces_the_key_of_the_persona(client_answering, recording, sent, key: str):
    client_answering(recording).send(WHOAMI, key=Secret(key, "key:sent"))

    assert [value for name, value in sent[0].headers.raw if name == b"x-api-key"] == [key.encode()]


def test_each_request_has_its_own_trace_id(client_answering, recording, sent):
    """In the W3C form; evidence shows it, and curl lines leave it out."""
    client = client_answering(recording)

    exchanges = [client.send(WHOAMI) for _ in range(2)]

    headers = [request.headers["traceparent"] for request in sent]
    assert all(re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", each) for each in headers)
    assert len(set(headers)) == 2
    assert [f"00-{each.trace_id}-" for each in exchanges] == [each[:36] for each in headers]
    assert exchanges[0].asked_headers == exchanges[1].asked_headers
    assert "traceparent" not in curl(exchanges[0])


@pytest.mark.parametrize(
    ("http", "request_headers", "expected"),
    [
        (HttpSettings(traceparent=False), (), None),
        (HttpSettings(headers={"Traceparent": "mine"}), (), "mine"),
        (HttpSettings(), (("traceparent", "of-the-test"),), "of-the-test"),
    ],
)
def test_trace_id_can_be_set_by_profile_or_request(recording, sent, http, request_headers, expected):
    target = replace(make_target(), http=http)
    client = Client(target=target, transport=httpx.MockTransport(recording))

    client.send(replace(WHOAMI, headers=request_headers))

    assert sent[0].headers.get("traceparent") == expected


def test_path_and_query_are_encoded_and_base_path_is_kept(client_answering, recording, sent):
    client = client_answering(recording, target=make_target("https://gateway.example.com/knouds"))

    client.send(Request(method="GET", path="/api/usage", query=(("a", "ä &="), ("a", "2"))))
    client.send(Request(method="GET", path="/api/workflows/%2Fa-é #x?y", is_deliberate=True))

    assert [each.url.raw_path for each in sent] == [
        b"/knouds/api/usage?a=%C3%A4%20%26%3D&a=2",
        b"/knouds/api/workflows/%2Fa-%C3%A9%20%23x?y",
    ]


PATHS = st.builds(
    "/{}{}".format, st.sampled_from(["", "/", "@", "\\", "..//", "x?y="]), st.text()
) | st.builds(
    "/{}evil.example{}".format, st.sampled_from(["/", "@", "\\", ":1@", "http://", "?u=//"]), st.text()
)


@given(
    base_url=st.sampled_from(
        ["https://staging.example.com", "http://127.0.0.1:8080/base", "https://[::1]:1", "http://a.test./x/y"]
    ),
    allow=st.frozensets(st.sampled_from(Action)),
    requests=st.lists(
        st.builds(
            Request,
            method=st.sampled_from(["GET", "POST", "PUT", "DELETE"]),
            path=PATHS,
            query=st.lists(st.tuples(st.text(max_size=5), st.text(max_size=5)), max_size=2).map(tuple),
            persona=st.sampled_from([None, *SECRETS]),
        ),
        max_size=8,
    ),
)
def test_no_request_leaves_the_server_or_the_allowed_actions(base_url, allow, requests):
    """Whatever the profile allows and a path holds: a path cannot smuggle a host in."""
    sent: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(200, json={"pollUrl": "https://evil.example/"})

    base = httpx.URL(base_url)
    target = make_target(base_url, allow=allow)
    with Client(target=target, transport=httpx.MockTransport(answer)) as client:
        for each in requests:
            before = len(sent)
            with suppress(HarnessError):
                client.send(each)
            assert all(each.action in allow and request.method == each.method for request in sent[before:])

    base_path = base.raw_path.rstrip(b"/")
    climbs = any(".." in each.path for each in requests)  # leaves the base path, but not the server
    for request in sent:
        assert request.url.copy_with(raw_path=b"/") == base.copy_with(raw_path=b"/")
        assert request.headers["host"] == base.netloc.decode()
        assert climbs or request.url.raw_path.startswith(base_path + b"/")


@pytest.mark.parametrize(
    ("path", "error"), [(f"/api/workflows/{'a' * 70_000}", NotSent), (".evil.example/", UsageError)]
)
def test_path_that_is_too_long_or_no_path_is_not_sent(client_answering, recording, sent, path, error):
    with pytest.raises(error):
        client_answering(recording).send(Request(method="GET", path=path))

    assert sent == []


@pytest.mark.parametrize(
    "location", ["https://evil.example/", "//evil.example", "/elsewhere", "http://staging.example.com/"]
)
def test_redirect_is_not_followed(client_answering, recording, sent, location: str):
    redirect = httpx.Response(307, headers={"location": location})

    exchange = client_answering(partial(recording, answer=redirect)).send(RUN)

    assert exchange.status == 307
    assert len(sent) == 1


def test_cookies_are_not_kept(client_answering, recording, sent):
    """So one persona's session is never sent with another's key."""
    cookie = httpx.Response(200, headers={"set-cookie": "sid=abc"}, json={})
    client = client_answering(partial(recording, answer=cookie))

    client.send(WHOAMI)
    client.send(WHOAMI)

    assert "cookie" not in sent[1].headers


@pytest.mark.parametrize(
    ("answer", "spent"),
    [
        (httpx.Response(200, json={"success": True, "cost": 3}), 3),
        (httpx.Response(200, json={"success": True, "cost": 0}), 10),
        (httpx.Response(200, content=b'{"success": true, "cost": 3, "cost": 0.1}'), 10),
        (httpx.Response(200, json={"success": True, "cost": 12.5}), 12.5),
        (httpx.Response(200, json={"success": True, "cost": True}), 10),
        (httpx.Response(200, content=b'{"cost": 1' + b"0" * 400 + b"}"), 10),
        (httpx.Response(200, json={"_async": True, "executionId": "e"}), 10),
        (httpx.Response(202, json={"_async": True, "executionId": "e", "cost": 0}), 10),
        (httpx.Response(202, json={"executionId": "e", "cost": 30}), 30),
        (httpx.Response(200, content=b"<html>"), 10),
        (httpx.Response(402, json={"error": "", "code": "INSUFFICIENT_CREDITS"}), 10),
        (httpx.Response(429, json={"error": "", "code": "RATE_LIMIT_EXCEEDED"}), 10),
        (httpx.Response(404, json={"error": "Not found", "cost": 0}), 10),
        (httpx.Response(404, json={"error": "Not found", "cost": 30}), 30),
        (httpx.Response(403, json={"error": "", "success": True}), 10),
        (httpx.Response(403, json={"error": "", "executionId": "e"}), 10),
        (httpx.Response(403, json={"error": "", "result": None}), 10),
        (httpx.Response(403, json={"message": "no"}), 10),
        (httpx.Response(403, content=b"<html>"), 10),
        (httpx.Response(302, json={"error": ""}), 10),
        (httpx.Response(500, json={"error": "", "code": "EXECUTION_FAILED"}), 10),
        (httpx.Response(500, json={"error": "", "code": "EXECUTION_FAILED", "cost": 0}), 10),
    ],
)
def test_run_is_settled_with_the_cost_in_its_response(client_answering, answer: httpx.Response, spent: float):
    """If there is none, with its highest price."""
    client = client_answering(answer)

    client.send(RUN)

    assert client.guard.budget.spent_credits == spent


@pytest.mark.parametrize(
    ("first", "status", "remaining", "spent"),
    [
        (RUN, 200, "1", 3),
        (RUN, 200, "90", 13),
        (RUN, 200, "", 13),
        (replace(RUN, cost_credits=0.0, is_deliberate=True), 400, "1", 0),
    ],
)
def test_run_of_a_window_that_is_used_up_is_charged_nothing(
    client_answering, first: Request, status: int, remaining: str, spent: float
):
    """If it is throttled; any other 429 may have been charged. Refused runs may use up a window too."""
    body = {"success": True, "cost": 3} if status < 300 else {"error": "", "code": "INVALID_INPUTS"}
    answers = [
        httpx.Response(status, headers={"x-ratelimit-remaining": remaining}, json=body),
        httpx.Response(429, json={"error": "", "code": "RATE_LIMIT_EXCEEDED"}),
    ]
    client = client_answering(lambda _: answers.pop(0))

    client.send(first)
    client.send(RUN if status < 300 else replace(RUN, is_deliberate=True))

    assert client.guard.budget.spent_credits == spent


@pytest.mark.parametrize(
    ("funds", "answer"),
    [
        ("granted", httpx.Response(200, json={"success": True, "cost": 0})),
        ("exhausted", httpx.Response(402, json={"error": "", "code": "grant_exhausted"})),
        (12, httpx.Response(402, json={"error": "", "code": "INSUFFICIENT_CREDITS"})),
    ],
)
def test_accounts_without_enough_credits_are_charged_nothing(client_answering, funds, answer):
    """A trial grant pays, or the profile says that the account has too few credits."""
    target = make_target()
    personas = {name: replace(each, credits=funds) for name, each in target.personas.items()}
    client = client_answering(answer, target=replace(target, personas=personas))

    client.send(RUN)

    assert client.guard.budget.spent_credits == 0


def test_charged_run_that_should_be_refused_ends_all_runs(client_answering):
    """Its cost exceeds the limit and counts; reads go on."""
    client = client_answering(httpx.Response(200, json={"cost": 4_000}))

    client.send(to_be_refused())

    assert client.guard.budget.spent_credits == 4_000
    with pytest.raises(GuardStop, match=r"POST /api/models/x/run \(x00001\): charged 4000 credits"):
        client.send(to_be_refused())
    client.send(WHOAMI)


def to_be_refused(path: str = "/api/models/x/run") -> Request:
    """Make a run that a sound server refuses, so it has no stated cost."""
    return Request(method="POST", path=path, persona="full", is_deliberate=True)


def priced(**limits) -> Target:
    """Make a target whose profile knows prices, but not that of ``portrait``."""
    return replace(
        make_target(**limits),
        workflows={
            "clip": Workflow(slug="clip", owner="ada", cost_credits=40),
            "portrait": Workflow(slug="portrait", owner="ada"),
        },
        models={"suno-v5": Model(name="suno-v5", cost_credits=20)},
    )


@pytest.mark.parametrize(
    ("path", "reserved"),
    [
        ("/api/workflows/clip/run", 40),
        ("/api/workflows/CLIP/run", 40),
        ("/api/workflows/cl%69p/run", 40),
        ("/api/workflows/portrait/run", 8),
        ("/api/models/suno-v5/run", 20),
        ("/api/models/clip/run", 0),
    ],
)
def test_price_of_a_run_to_be_refused_is_reserved(client_answering, path, reserved):
    """It is released once the run is refused."""
    left = []

    def refuse(_: httpx.Request) -> httpx.Response:
        left.append(client.guard.budget.left_credits)
        return httpx.Response(403, json={"error": "No", "code": "CAPABILITY_DENIED"})

    client = client_answering(refuse, target=priced())
    client.estimates["portrait"] = 8
    exchange = client.send(to_be_refused(path))

    assert left == [100 - reserved]
    assert exchange.request.cost_credits == reserved
    assert client.guard.budget.left_credits == 100


def test_request_without_effect_needs_no_price(client_answering):
    """It may be sent where only reads may, whatever its path names."""
    target = priced(allow=frozenset({Action.READ}))
    client = client_answering(httpx.Response(403), target=target)
    run = Request(method="POST", path="/api/models/x/run", body=b"{", is_effectless=True)

    assert client.send(run).request.cost_credits == 0
    assert client.send(replace(run, path="/api/models/suno-v5/run")).request.cost_credits == 0


@pytest.mark.parametrize("path", ["/api/workflows/portrait/run", f"/api/models/{NO_SUCH_MODEL}/run"])
def test_accepted_run_without_a_price_is_the_last(client_answering, path):
    """Its cost is unknown, so there may be no credits left for another run."""
    client = client_answering(httpx.Response(202, json={"_async": True, "executionId": "e"}), target=priced())

    client.send(to_be_refused(path))

    with pytest.raises(GuardStop, match="was run, but its cost is not known"):
        client.send(to_be_refused("/api/models/suno-v5/run"))


def test_run_interrupted_in_flight_counts_at_its_full_price(client_answering):
    """The server may have charged it."""

    def interrupt(_: httpx.Request) -> httpx.Response:
        raise KeyboardInterrupt

    client = client_answering(interrupt)
    with pytest.raises(KeyboardInterrupt):
        client.send(RUN)

    assert client.guard.budget.spent_credits == 10


def test_unknown_persona_and_production_are_refused(client_answering, recording):
    """A client without a guard gets one that refuses production."""
    with pytest.raises(UnknownName, match='Did you mean "full"'):
        client_answering(recording).send(Request(method="GET", path="/", persona="ful"))
    with pytest.raises(GuardStop):
        Client(target=make_target("https://knouds.ai"))


def test_requests_in_flight_are_limited(client_answering):
    in_flight, most, lock = 0, 0, threading.Lock()

    def answer(request: httpx.Request) -> httpx.Response:
        nonlocal in_flight, most
        with lock:
            in_flight += 1
            most = max(most, in_flight)
        try:
            return httpx.Response(200, json={"path": request.url.path})
        finally:
            with lock:
                in_flight -= 1

    client = client_answering(answer, target=make_target(concurrency=2))
    requests = [Request(method="GET", path=f"/api/workflows/{number}") for number in range(100)]
    with ThreadPoolExecutor(8) as pool:
        exchanges = list(pool.map(client.send, requests))

    assert most <= 2
    assert [exchange.json()["path"] for exchange in exchanges] == [request.path for request in requests]
    assert len({exchange.id for exchange in exchanges}) == 100


def test_control_plane_answer_is_kept_without_its_secrets(client_answering):
    seen: list[Exchange] = []
    target = make_target("http://127.0.0.1:1")
    control = Control(secret=Secret("token-0123456789abcdef", "control-token"))
    client = client_answering(
        httpx.Response(200, json={"name": "minted", "secret": "s", "webhookSecret": "w"}),
        target=replace(target, control=control),
        on_exchange=seen.append,
    )

    assert ask_control(client, "keys", {})["secret"] == "s"
    (kept,) = seen
    assert kept.json() == {
        "name": "minted",
        "secret": "{{key:minted}}",
        "webhookSecret": "{{webhook-secret}}",
    }
    assert kept.is_control
    assert "token-0123456789abcdef" not in repr(kept)


def test_target_without_control_plane_says_so(client_answering, recording):
    with pytest.raises(UsageError, match="has no control plane"):
        ask_control(client_answering(recording), "keys", {})
