"""Deliveries to receivers that are slow, move or redirect; the suite tests their contents."""

import contextlib
import http.server
import threading
from typing import ClassVar

import httpx
import pytest
from clocks import wait_until

from knouds_sandbox.access.network import ReceiverRefused, ReceiverRules
from knouds_sandbox.providers import Latency
from knouds_sandbox.serving import running_sandbox

SECRET = "a-secret-of-some-length"
TOKEN = "test-token"


class Receiver(http.server.ThreadingHTTPServer):
    """Keeps the path of every delivery; redirects the first one on request."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.paths = []
        self.redirects_first = False
        self.is_slow = False
        self.may_answer = threading.Event()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}/hook"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.server.paths.append(self.path)
        if self.server.is_slow:
            self.server.may_answer.wait(5)
        is_redirected = self.server.redirects_first and len(self.server.paths) == 1
        self.send_response(307 if is_redirected else 204)
        if is_redirected:
            self.send_header("location", f"{self.server.url}/elsewhere")
        self.end_headers()

    def log_message(self, *_):
        """Stay quiet."""


@pytest.fixture
def receiver():
    with Receiver() as receiver:
        threading.Thread(target=receiver.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield receiver
        receiver.shutdown()


@contextlib.contextmanager
def connected(receiver, **options):
    """A client of a new sandbox, whose key has its webhook at the receiver."""
    latency = Latency(time_scale=0.05)
    with (
        running_sandbox(control_token=TOKEN, latency=latency, **options) as sandbox,
        httpx.Client(base_url=sandbox.base_url) as client,
    ):
        webhook = {"url": receiver.url, "secret": SECRET}
        order = {"account": "ada", "capabilities": ["model:run", "webhook:receive"], "webhook": webhook}
        minted = client.post("/__sandbox__/keys", headers={"x-sandbox-token": TOKEN}, json=order).json()
        client.headers["x-api-key"] = minted["secret"]
        yield client


def submit(client, model="suno-v5"):
    return client.post(f"/api/models/{model}/run?async=true", json={"inputs": {}}).json()


def test_redirect_is_not_followed(receiver):
    receiver.redirects_first = True
    with connected(receiver) as client:
        submit(client)
        wait_until(lambda: len(receiver.paths) == 2)

    assert receiver.paths == ["/hook", "/hook"]


class OnceAllowed(ReceiverRules):
    """Allow only the first request, as for a name that resolves to another address later."""

    asked: ClassVar[list[str]] = []

    async def addresses(self, url):
        self.asked.append(url)
        if len(self.asked) > 1:
            raise ReceiverRefused("moved")
        return await super().addresses(url)


def test_receiver_address_is_checked_at_each_attempt(receiver, caplog):
    """Its name may resolve to another address by then; the log says what came of each attempt."""
    caplog.set_level("INFO", logger="knouds_sandbox")
    with connected(receiver, receivers=OnceAllowed()) as client:
        submit(client)
        wait_until(lambda: len(OnceAllowed.asked) > 2)

    assert receiver.paths == []
    assert "attempt 1: ReceiverRefused: moved" in caplog.text


def test_slow_receiver_does_not_delay_others(receiver):
    receiver.is_slow = True
    with connected(receiver) as client:
        for _ in range(3):
            submit(client)

        wait_until(lambda: len(receiver.paths) == 3)
        receiver.may_answer.set()
