"""What tests of a client use: fixtures, and transports that judge its traffic or write it for ``verify``."""

import asyncio
from contextlib import suppress
from itertools import islice

import httpx
import pytest

from knouds_harness.exchange.webhooks import SignatureRefused
from knouds_harness.suite.recorded.verification import verify
from knouds_harness.testing import HarTransport, JudgingTransport, running_sandbox

pytest_plugins = ["knouds_harness.client_fixtures"]
KEY = "knouds_live_0123456789abcdef"
RUN = "/api/models/claude-sonnet/run"
ASYNC = {"url": "/api/models/gpt-image-2/run?async=true", "json": {"inputs": {"prompt": "a lighthouse"}}}
CREATE = {"name": "From a client", "document": {"nodes": [], "edges": []}}


def client_of(account, **options):
    return httpx.Client(base_url=account.base_url, headers={"x-api-key": account.key}, **options)


def ask(transport, base_url, key, *, is_async, path="/api/whoami"):
    """Send one request by a client of each kind."""
    options = {"transport": transport, "base_url": base_url, "headers": {"x-api-key": key}}
    if not is_async:
        with httpx.Client(**options) as http:
            return http.get(path)

    async def send():
        async with httpx.AsyncClient(**options) as http:
            return await http.get(path)

    return asyncio.run(send())


@pytest.mark.parametrize("is_async", [False, True])
def test_sound_answers_pass_unchanged(knouds_sandbox, is_async):
    transport = JudgingTransport()

    paths = ("/api/whoami", "/api/workflows", "/api/usage", "/api/workflows/unknown-slug", "/api/nothing")
    answers = [
        ask(transport, knouds_sandbox.base_url, knouds_sandbox.key, is_async=is_async, path=path)
        for path in paths
    ]

    assert [each.status_code for each in answers] == [200, 200, 200, 404, 404]
    assert answers[0].json()["user"]["tier"] == "business"
    assert answers[0].elapsed.total_seconds() > 0
    assert transport.findings == []


@pytest.mark.parametrize("is_async", [False, True])
def test_broken_promise_fails_the_test_without_showing_the_key(is_async):
    transport = JudgingTransport()
    with running_sandbox(faults=("whoami-lacks-email",)) as sandbox:
        key = sandbox.keys["full"]
        with pytest.raises(AssertionError, match="GET /api/whoami, answered 200, breaks") as raised:
            ask(transport, sandbox.base_url, key, is_async=is_async)

    assert [each.fact for each in transport.findings] == ["whoami.user-object"]
    assert "whoami.user-object: expected" in str(raised.value)
    assert key not in str(raised.value)


class InPieces(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body that comes in pieces, and notes which of them were asked for."""

    def __init__(self, pieces):
        self.pieces, self.asked = pieces, []

    def __iter__(self):
        for piece in self.pieces:
            self.asked.append(piece)
            yield piece

    async def __aiter__(self):
        for piece in self:
            yield piece


def streamed(transport, *, is_async, pieces):
    """Stream an answer by a client of each kind, and return so many of its pieces."""
    options = {"transport": transport, "base_url": "http://127.0.0.1:1", "headers": {"x-api-key": KEY}}
    if not is_async:
        with httpx.Client(**options) as http, http.stream("GET", "/api/whoami") as answer:
            return list(islice(answer.iter_bytes(), pieces))

    async def stream():
        got = []
        async with httpx.AsyncClient(**options) as http, http.stream("GET", "/api/whoami") as answer:
            async for piece in answer.aiter_bytes():
                got.append(piece)
                if len(got) == pieces:
                    break
        return got

    return asyncio.run(stream())


@pytest.mark.parametrize("is_async", [False, True])
def test_client_that_streams_gets_each_piece_as_it_comes(is_async):
    """The answer is judged when its last piece has been read, once; not if the client closes it before."""
    body = InPieces([b'{"user":', b" {}}"])
    answer = httpx.Response(200, stream=body, headers={"content-type": "application/json"})
    transport = JudgingTransport(httpx.MockTransport(lambda _: answer))

    assert streamed(transport, is_async=is_async, pieces=1) == [b'{"user":']
    assert body.asked == [b'{"user":']
    assert transport.findings == []
    with pytest.raises(AssertionError, match="answered 200, breaks the contract"):
        streamed(transport, is_async=is_async, pieces=3)
    assert {each.fact for each in transport.findings} == {"whoami.user-object"}


def test_own_workflow_is_followed_from_create_to_delete(knouds_sandbox):
    """A session of ordinary use, some of it refused, is no finding."""
    transport = JudgingTransport()
    with client_of(knouds_sandbox, transport=transport) as http:
        slug = http.post("/api/workflows", json=CREATE).raise_for_status().json()["slug"]
        methods = ("GET", "DELETE", "GET")
        statuses = [http.request(each, f"/api/workflows/{slug}").status_code for each in methods]

    assert statuses == [200, 200, 404]


def test_refusal_that_the_account_cannot_get_is_a_finding(knouds_sandbox):
    """It is known what the account's key may do; an answer that the request chose is not judged."""
    body = {"error": "Refused.", "code": "CAPABILITY_DENIED", "required": ["workflow:read"]}
    refused = httpx.Response(403, json=body)
    transport = JudgingTransport(account=knouds_sandbox, strict=True)
    with client_of(knouds_sandbox, transport=transport) as http:
        chosen = [
            http.get("/api/workflows", headers={"prefer": f"code={code}"}).status_code
            for code in (401, 403, 429, 503)
        ]
    transport = JudgingTransport(httpx.MockTransport(lambda _: refused), account=knouds_sandbox)
    with client_of(knouds_sandbox, transport=transport) as http, pytest.raises(AssertionError) as raised:
        http.get("/api/workflows")

    assert chosen == [401, 403, 429, 503]
    assert "capability." in str(raised.value)
    assert knouds_sandbox.key not in str(raised.value)


@pytest.mark.parametrize("is_async", [False, True])
def test_written_traffic_is_verified_and_holds_no_key(knouds_sandbox, tmp_path, is_async):
    transport = HarTransport(tmp_path / "client.har")
    ask(transport, knouds_sandbox.base_url, knouds_sandbox.key, is_async=is_async)

    code, _ = verify(tmp_path / "client.har", base_url=None, strict=False, runs_folder=tmp_path / "runs")

    assert code == 0
    assert knouds_sandbox.key not in (tmp_path / "client.har").read_text(encoding="utf-8")


@pytest.mark.parametrize("chosen", ["code=402", "code=503", "wire=drop", "wire=reset", "wire=cut"])
def test_traffic_of_a_chosen_outcome_is_not_judged(knouds_sandbox, tmp_path, chosen):
    """Neither is what was not answered, as the request asked for that."""
    file = tmp_path / "client.har"
    with client_of(knouds_sandbox, transport=HarTransport(file)) as http, suppress(httpx.TransportError):
        http.post(RUN, json={"inputs": {}}, headers={"prefer": chosen})

    code, _ = verify(file, base_url=None, strict=True, runs_folder=tmp_path / "runs")

    assert code == 0


def test_failed_request_is_written_and_raised(tmp_path):
    def refuse(request):
        raise httpx.ReadError("cut")

    transport = HarTransport(tmp_path / "client.har", httpx.MockTransport(refuse))
    with pytest.raises(httpx.ReadError):
        ask(transport, "http://127.0.0.1", "any", is_async=False)

    assert '"_failure": "cut"' in (tmp_path / "client.har").read_text(encoding="utf-8")


def test_each_test_has_an_account_of_its_own(knouds_sandbox, knouds_server):
    answer = ask(None, knouds_sandbox.base_url, knouds_sandbox.key, is_async=False, path="/api/usage")

    assert answer.json()["rows"] == []
    assert knouds_sandbox.key not in knouds_server.keys.values()


def test_delivery_is_verified(knouds_sandbox, knouds_webhooks):
    with client_of(knouds_sandbox) as http:
        run = http.post(**ASYNC)

    delivered = knouds_webhooks.wait_for(run.json()["executionId"])

    assert delivered["executionId"] == run.json()["executionId"]


def test_delivery_of_a_run_without_an_answer_is_found_by_usage(knouds_sandbox, knouds_webhooks):
    """Usage has its requestId; its executionId was in the answer that was lost."""
    with client_of(knouds_sandbox) as http:
        with pytest.raises(httpx.TransportError):
            http.post(**ASYNC, headers={"prefer": "wire=reset"})
        [row] = http.get("/api/usage").json()["rows"]

    delivered = knouds_webhooks.wait_for(row["requestId"])

    assert delivered["requestId"] == row["requestId"]
    with pytest.raises(TimeoutError, match=f"no delivery of other .*: {delivered['executionId']}"):
        knouds_webhooks.wait_for("other", timeout_s=0)


def test_delivery_with_another_signature_is_refused(knouds_webhooks):
    httpx.post(
        knouds_webhooks.url, json={"executionId": "run_1"}, headers={"x-knouds-signature": "t=1,v1=00"}
    )

    with pytest.raises(SignatureRefused):
        knouds_webhooks.wait_for("run_1")


def test_clock_can_be_moved_past_a_limit(knouds_sandbox):
    """Of the account's tier: a 429 that ends when the window does."""
    with client_of(knouds_sandbox) as http:
        while (refused := http.post(RUN, json={"inputs": 1})).status_code != 429:  # the 1,001st
            assert refused.status_code == 400
        knouds_sandbox.advance_clock(float(refused.headers["retry-after"]))

        assert http.post(RUN, json={"inputs": 1}).status_code == 400


def test_shipped_recordings_are_a_fixture(knouds_recordings):
    assert knouds_recordings["getWhoami-200-pro"].exchange.status == 200
