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
from knouds_sandbox.seeding import seeded_keys

BASE_URL = "http://127.0.0.1:8080"


@pytest.fixture
def written(tmp_path):
    """Send requests to an observed sandbox; return the HAR file that shows them, and the keys."""

    async def send(*requests):
        app, services = build_app(now_unix_s=time.time, control_token="token")
        keys = seeded_keys(services.store)
        path = tmp_path / "traffic.har"
        with writing_har(path, BASE_URL, keys) as observe:
            transport = httpx.ASGITransport(with_observer(app, observe))
            async with httpx.AsyncClient(transport=transport, base_url=BASE_URL) as client:
                for request in requests:
                    await client.send(client.build_request(**request(keys)))
        services.store.close()
        return path, keys

    return lambda *requests: asyncio.run(send(*requests))


def test_exchange_is_written_with_its_answer(written):
    path, _ = written(
        lambda keys: {
            "method": "POST",
            "url": "/api/workflows?a=b",
            "headers": {"x-api-key": keys["pro"]},
            "json": {"name": "Poster"},
        }
    )

    (exchange,) = read_har(path)
    assert (exchange.request.operation_id, exchange.request.persona) == ("createWorkflow", "pro")
    assert exchange.url == f"{BASE_URL}/api/workflows?a=b"
    assert exchange.request.members == {"name": "Poster"}
    assert exchange.is_success
    assert exchange.members["slug"] == "poster"


def test_body_is_written_also_if_the_answer_does_not_wait_for_it(written):
    path, _ = written(lambda _: {"method": "POST", "url": "/api/workflows", "json": {"name": "Poster"}})

    (exchange,) = read_har(path)
    assert (exchange.status, exchange.request.members) == (401, {"name": "Poster"})


def test_no_secret_is_written(written):
    """Neither a key of the sandbox, which shows by name, nor one of another server."""
    path, keys = written(
        lambda keys: {
            "method": "GET",
            "url": f"/api/whoami?key={keys['full']}",
            "headers": {"x-api-key": keys["full"], "cookie": "canary", "authorization": "Bearer canary"},
        },
        lambda _: {"method": "GET", "url": "/api/whoami", "headers": {"x-api-key": "knouds_live_canary"}},
    )

    text = path.read_text()
    assert "{{key:full}}" in text
    assert [each for each in (*keys.values(), "canary") if each in text] == []


def test_traffic_can_be_verified(written):
    """It holds nothing of the control plane."""
    path, _ = written(
        lambda _: {"method": "GET", "url": "/__sandbox__/state", "headers": {"x-sandbox-token": "token"}},
        lambda _: {"method": "GET", "url": "/api/health"},
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
