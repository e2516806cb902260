"""A running sandbox, and a way to call it as one of its personas."""

import asyncio

import httpx
import pytest

from knouds_sandbox.seeding import seed_store
from knouds_sandbox.serving import running_sandbox
from knouds_sandbox.state.store import Store

TOKEN = "test-token"


@pytest.fixture
def store():
    store = Store()
    seed_store(store, 0)
    yield store
    store.close()


@pytest.fixture(scope="module")
def shared_sandbox():
    with running_sandbox(seed=7, control_token=TOKEN) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def ask(shared_sandbox):
    with httpx.Client(base_url=shared_sandbox.base_url) as client:

        def ask(method, path, persona=None, headers=None, **options):
            key = {"x-api-key": shared_sandbox.keys[persona]} if persona else {}
            return client.request(method, path, headers=key | (headers or {}), **options)

        yield ask


@pytest.fixture
def ask_app():
    """Send one request to an application, without a server."""

    def ask_app(app, *request, **options):
        async def send():
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
                return await client.request(*request, **options)

        return asyncio.run(send())

    return ask_app


@pytest.fixture
def mint(ask):
    def mint(*capabilities, account="ada", **more):
        body = {"account": account, "capabilities": capabilities} | more
        answer = ask("POST", "/__sandbox__/keys", headers={"x-sandbox-token": TOKEN}, json=body)
        return {"x-api-key": answer.json()["secret"]}

    return mint


@pytest.fixture
def assert_refused():
    def assert_refused(response, status, code):
        assert (response.status_code, response.json()["code"]) == (status, code)
        assert response.json()["error"]
        assert response.headers["content-type"] == "application/json"
        return response.json()

    return assert_refused
