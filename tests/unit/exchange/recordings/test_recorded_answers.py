"""Recorded responses, served to an httpx client and as respx routes."""

from __future__ import annotations

import asyncio
import re

import httpx
import pytest
import respx

from knouds_harness.errors import RecordingError
from knouds_harness.testing import RecordedTransport, add_recorded_routes, load_recordings

RECORDINGS = load_recordings()
WHOAMI = RECORDINGS["getWhoami-200-user"]
POLLS = (RECORDINGS["getExecution-200-processing"], RECORDINGS["getExecution-200-completed"])


def get(transport, path):
    with httpx.Client(transport=transport, base_url="https://any.example") as client:
        return client.get(path)


def test_async_client_gets_the_same_answer():
    async def ask():
        async with httpx.AsyncClient(transport=RecordedTransport(WHOAMI)) as client:
            return await client.get("https://any.example/api/whoami")

    assert asyncio.run(ask()).content == WHOAMI.exchange.body


def test_responses_to_one_request_come_in_turn():
    """Each once; one poll too many fails, and unused responses are named."""
    transport = RecordedTransport(*POLLS)
    path = POLLS[0].exchange.request.path

    assert get(transport, path).json()["status"] == "processing"
    assert transport.unused == ("getExecution-200-completed",)
    assert get(transport, path).json()["status"] == "completed"
    with pytest.raises(AssertionError, match=re.escape(f"GET {path}: sent more often than recorded")):
        get(transport, path)


@pytest.mark.parametrize("path", ["/api/whoami?page=1", "/api/health"])
def test_other_request_fails(path):
    with pytest.raises(AssertionError, match=r"not recorded; there are GET /api/whoami"):
        get(RecordedTransport(WHOAMI), path)


def test_recorded_query_is_named():
    usage = RECORDINGS["listUsage-200-page"]

    with pytest.raises(AssertionError, match=re.escape("there are GET /api/usage?limit=")):
        get(RecordedTransport(usage), "/api/usage")


def test_respx_gets_one_route_for_each_request():
    """So that ``assert_all_called`` finds a request that was not sent."""
    with respx.mock(assert_all_called=False) as router:
        add_recorded_routes(router, WHOAMI, *POLLS)
        statuses = [httpx.get(POLLS[0].exchange.url).json()["status"] for _ in POLLS]

        assert [route.called for route in router.routes] == [False, True]
    assert statuses == ["processing", "completed"]


def test_delivery_is_refused():
    name = next(name for name, each in RECORDINGS.items() if each.kind == "delivery")
    with pytest.raises(RecordingError, match="is a webhook delivery"):
        RecordedTransport(RECORDINGS[name])


def test_folder_without_recordings_is_refused(tmp_path):
    with pytest.raises(RecordingError, match="holds no recordings"):
        load_recordings(tmp_path)
