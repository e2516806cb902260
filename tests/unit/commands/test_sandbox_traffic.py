"""``sandbox --har``: what the sandbox received and answered, without secrets."""

import asyncio
import json
import time

import httpx
import pytest
from click.testing import CliRunner

from knouds_harness.commands.cli import cli, writing_har
from knouds_harness.exchange.har import read_har
from knouds_harness.suite.recorded.captured_traffic import read_captured
from knouds_sandbox.answers import with_observer
from knouds_sandbox.app import build_app
from knouds_sandbox.command import sandbox
from knouds_sandbox.seeding import key_secret, seeded_keys

BASE_URL = "http://127.0.0.1:8080"


@pytest.fixture
def written(tmp_path):
    """Send requests to an observed sandbox; return the HAR file that shows them."""

    async def send(*requests):
        app, services = build_app(now_unix_s=time.time, control_token="token")
        path = tmp_path / "traffic.har"
        with writing_har(path, BASE_URL, seeded_keys(services.store)) as observe:
            transport = httpx.ASGITransport(with_observer(app, observe))
            async with httpx.AsyncClient(transport=transport) as client:
                for request in requests:
                    await client.send(request)
        services.store.close()
        return path

    return lambda *requests: asyncio.run(send(*requests))


def request(method, path, **options):
    return httpx.Request(method, BASE_URL + path, **options)


def test_exchange_is_written_with_its_answer(written):
    headers = {"x-api-key": key_secret(0, "pro")}

    path = written(request("POST", "/api/workflows?a=b", headers=headers, json={"name": "Poster"}))

    (exchange,) = read_har(path)
    assert (exchange.request.operation_id, exchange.request.persona) == ("createWorkflow", "pro")
    assert exchange.url == f"{BASE_URL}/api/workflows?a=b"
    assert exchange.request.members == {"name": "Poster"}
    assert exchange.is_success
    assert exchange.members["slug"] == "poster"


def test_body_is_written_also_if_the_answer_does_not_wait_for_it(written):
    path = written(request("POST", "/api/workflows", json={"name": "Poster"}))

    (exchange,) = read_har(path)
    assert (exchange.status, exchange.request.members) == (401, {"name": "Poster"})


def test_no_secret_is_written(written):
    """Neither a key of the sandbox, which shows by name, nor one of another server."""
    full = key_secret(0, "full")
    headers = {"x-api-key": full, "cookie": "canary", "authorization": "Bearer canary"}

    path = written(
        request("GET", f"/api/whoami?key={full}", headers=headers),
        request("GET", "/api/whoami", headers={"x-api-key": "knouds_live_canary"}),
    )

    text = path.read_text()
    assert "{{key:full}}" in text
    assert [each for each in (full, "canary") if each in text] == []


def test_traffic_can_be_verified(written):
    """It holds nothing of the control plane."""
    path = written(
        request("GET", "/__sandbox__/state", headers={"x-sandbox-token": "token"}),
        request("GET", "/api/health"),
    )

    captured = read_captured(path, base_url=None)

    assert [each.request.operation_id for each in captured.exchanges] == ["getHealth"]
    assert len(json.loads(path.read_text())["log"]["entries"]) == 1


def test_file_that_cannot_be_written_is_an_error(tmp_path):
    done = CliRunner().invoke(cli, ["sandbox", "--port", "0", "--har", str(tmp_path / "none" / "x.har")])

    assert "x.har: cannot be written: No such file or directory" in str(done.exception)


def test_sandbox_alone_writes_no_har(tmp_path):
    done = CliRunner().invoke(sandbox, ["--port", "0", "--har", str(tmp_path / "x.har")])

    assert done.exit_code == 2
    assert "--har needs `knouds-harness sandbox`" in done.stderr
