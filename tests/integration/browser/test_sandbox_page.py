"""The page of the sandbox in a real browser: live, readable, and safe against requests."""

import socket
from urllib.parse import urlsplit

import httpx
import pytest

from knouds_sandbox.providers import Latency
from knouds_sandbox.serving import running_sandbox

from .conftest import SCREENSHOTS

pytestmark = pytest.mark.slow

MARKUP = "<img src=x onerror=document.title='seen'><script>document.title='seen'</script>"


@pytest.fixture(scope="module")
def sandbox():
    """A sandbox with its page, unreachable webhooks, and some hostile requests."""
    latency = Latency(time_scale=0.1)
    with running_sandbox(page=True, webhook_url=f"http://127.0.0.1:9/{MARKUP}", latency=latency) as sandbox:
        headers = {"x-api-key": sandbox.keys["full"], "user-agent": MARKUP}
        with httpx.Client(base_url=sandbox.base_url, headers=headers) as client:
            client.get("/api/whoami")
            client.post("/api/workflows/sunset-clip/run?async=true", json={"inputs": {"prompt": MARKUP}})
            client.post("/api/workflows/always-fails/run?async=true", json={"inputs": {}})
            client.post("/api/workflows", json={"name": MARKUP, "description": "\u202e\0" + "long" * 2000})
        _send(sandbox.base_url, f"GET /api/{MARKUP.replace(' ', '/')}/{'x' * 300} HTTP/1.1")
        yield sandbox


def _send(base_url, line):
    """Send what no client would: markup in the path itself."""
    address = urlsplit(base_url)
    with socket.create_connection((address.hostname, address.port), timeout=60) as connection:
        connection.sendall(f"{line}\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        while connection.recv(65536):
            pass


@pytest.mark.parametrize("size", ["desktop", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_hostile_requests_are_text(sandbox, open_url, size, scheme):
    """They run and load nothing, and do not break or widen the page; a screenshot is saved."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="pip install --group browser")
    opened = open_url(f"{sandbox.base_url}/", size=size, scheme=scheme)
    page = opened.page
    page.locator("#requests tr").nth(4).wait_for()
    page.get_by_text("execution.failed").first.wait_for()

    page.screenshot(path=SCREENSHOTS / f"sandbox-page-{size}-{scheme}.png", full_page=True)
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true })")

    assert page.title() == "Knouds sandbox"
    assert page.locator("img").count() == 0
    assert page.locator("script").count() == 1
    assert opened.complaints == []
    assert {urlsplit(url).path for url in opened.requests} <= {"/", "/activity.json", ","}
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert "knouds_live_" not in page.content().replace("knouds_live_…", "")
    found = axe.Axe().run(page, options={"resultTypes": ["violations"]})
    assert found.violations_count == 0, found.generate_report()


def test_page_is_live(sandbox, open_url):
    """A new request appears without reloading, and unfolded elements stay unfolded."""
    page = open_url(f"{sandbox.base_url}/").page
    page.locator("#requests details").first.click()

    httpx.get(f"{sandbox.base_url}/api/live-and-well")

    page.get_by_text("GET /api/live-and-well").first.wait_for()
    assert page.locator("#requests details[open]").count() == 1
