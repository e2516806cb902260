"""Deliveries to a real receiver on loopback."""

import contextlib
import hashlib
import hmac
import http.server
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

import httpx
import pytest
from clocks import wait_until

from knouds_sandbox.faults import FAULTS
from knouds_sandbox.providers import Latency
from knouds_sandbox.receivers import ReceiverRefused, ReceiverRules
from knouds_sandbox.serving import running_sandbox

SECRET = "a-secret-of-some-length"
TOKEN = "test-token"


class Receiver(http.server.ThreadingHTTPServer):
    """Keeps every delivery; refuses as many as it is told to."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.deliveries = []
        self.refusals = 0
        self.refusal = 503
        self.is_slow = False
        self.may_answer = threading.Event()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}/hook"

    def wait_for(self, count, timeout_s=5):
        deadline = time.monotonic() + timeout_s
        while len(self.deliveries) < count:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        return [json.loads(body) for _, body in self.deliveries]


class Handler(http.server.BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.deliveries.append((dict(self.headers) | {"path": self.path}, body))
        if self.server.is_slow:
            self.server.may_answer.wait(5)
        is_refused = len(self.server.deliveries) <= self.server.refusals
        self.send_response(self.server.refusal if is_refused else 204)
        if is_refused:
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
def connected(
    receiver,
    *,
    faults=(),
    capabilities=("model:run", "execution:cancel", "webhook:receive"),
    time_scale=0.05,
    **options,
):
    """A client of a new sandbox, whose key has its webhook at the receiver."""
    latency = Latency(time_scale=time_scale)
    with (
        running_sandbox(control_token=TOKEN, faults=faults, latency=latency, **options) as sandbox,
        httpx.Client(base_url=sandbox.base_url) as client,
    ):
        webhook = {"url": receiver.url, "secret": SECRET}
        order = {"account": "ada", "capabilities": capabilities, "webhook": webhook}
        minted = client.post("/__sandbox__/keys", headers={"x-sandbox-token": TOKEN}, json=order).json()
        client.headers["x-api-key"] = minted["secret"]
        yield client


def submit(client, model="suno-v5"):
    return client.post(f"/api/models/{model}/run?async=true", json={"inputs": {}}).json()


def is_signed(headers, body):
    time_part, _, digest_part = headers["X-Knouds-Signature"].partition(",")
    at_unix_s = int(time_part.removeprefix("t="))
    digest = hmac.new(SECRET.encode(), b"%d." % at_unix_s + body, hashlib.sha256).hexdigest()
    return abs(time.time() - at_unix_s) < 300 and digest_part == f"v1={digest}"


@pytest.mark.parametrize(
    ("model", "status", "member"), [("suno-v5", "completed", "result"), ("failing-model", "failed", "error")]
)
def test_ended_execution_is_delivered(receiver, model, status, member):
    with connected(receiver) as client:
        submitted = submit(client, model)
        (delivery,) = receiver.wait_for(1)

    assert delivery["event"] == f"execution.{status}"
    assert delivery["status"] == status
    assert delivery["executionId"] == submitted["executionId"]
    assert delivery["requestId"] == submitted["requestId"]
    assert (delivery["workflowSlug"], delivery["modelIds"]) == (None, [model])
    assert delivery[member]
    assert is_signed(*receiver.deliveries[0])


def test_cancelled_execution_is_delivered(receiver):
    with connected(receiver) as client:
        client.post(f"{submit(client)['pollUrl']}/cancel")

        assert receiver.wait_for(1)[0]["event"] == "execution.cancelled"


def test_refused_delivery_is_tried_again(receiver):
    """The same body comes again until the receiver takes it, each time freshly signed, and then no more."""
    receiver.refusals = 2
    with connected(receiver) as client:
        submit(client)
        deliveries = receiver.wait_for(3)
        submit(client)
        receiver.wait_for(4)

    assert deliveries == [deliveries[0]] * 3
    assert all(is_signed(*delivery) for delivery in receiver.deliveries)


def test_redirect_is_not_followed(receiver):
    receiver.refusals, receiver.refusal = 1, 307
    with connected(receiver) as client:
        submit(client)
        receiver.wait_for(2)

    assert [headers["path"] for headers, _ in receiver.deliveries] == ["/hook", "/hook"]


class OnceAllowed(ReceiverRules):
    """Allows what it is first asked for, as of a name that leads elsewhere later."""

    asked: ClassVar[list[str]] = []

    async def addresses(self, url):
        self.asked.append(url)
        if len(self.asked) > 1:
            raise ReceiverRefused("moved")
        return await super().addresses(url)


def test_receiver_is_judged_at_each_attempt(receiver):
    """A name may lead elsewhere by then."""
    with connected(receiver, receivers=OnceAllowed(), page=True) as client:
        submit(client)
        wait_until(lambda: len(OnceAllowed.asked) > 2)
        (delivery,) = client.get("/activity.json").json()["deliveries"]

    assert receiver.deliveries == []
    assert delivery["answer"] == "ReceiverRefused: moved"


def test_slow_receiver_holds_up_no_other(receiver):
    receiver.is_slow = True
    with connected(receiver) as client:
        for _ in range(3):
            submit(client)

        receiver.wait_for(3)
        receiver.may_answer.set()


def test_key_without_webhook_receive_gets_no_delivery(receiver):
    with connected(receiver, capabilities=("model:run", "execution:read")) as client:
        url = submit(client)["pollUrl"]
        while client.get(url).json()["status"] == "processing":
            time.sleep(0.005)

    assert receiver.deliveries == []


NOT_IN_A_DELIVERY = {
    "webhook-comes-before-the-end",
    "webhook-sent-for-the-account",
}  # but by a poll, by who gets it


def broken(deliveries, model, ending):
    """What of the deliveries of one execution is not as it should be."""
    payloads = [json.loads(body) for _, body in deliveries]
    return (
        len(payloads) != 1
        or not all(headers["X-Knouds-Signature"].startswith("t=") for headers, _ in deliveries)
        or not all(is_signed(*delivery) for delivery in deliveries)
        or payloads[0].get("requestId") is None
        or payloads[0]["event"] != f"execution.{payloads[0]['status']}"
        or payloads[0]["status"] != ending
        or payloads[0]["modelIds"] != [model]
        or not payloads[0]["userId"].startswith("usr_")
        or payloads[0].get("result") == {}
    )


@pytest.mark.parametrize(
    "fault",
    [fault.id for fault in FAULTS if fault.id.startswith("webhook-") and fault.id not in NOT_IN_A_DELIVERY],
)
def test_webhook_fault_shows(receiver, fault):
    capabilities = (
        ["model:run"]
        if fault == "webhook-without-capability"
        else ["model:run", "execution:cancel", "webhook:receive"]
    )
    time_scale = 1 if "cancel" in fault else 0.05  # in time to cancel, on a busy machine too
    ending = "cancelled" if "cancel" in fault else "completed" if "result" in fault else "failed"
    model = "failing-model" if ending == "failed" else "suno-v5"
    with connected(receiver, faults=[fault], capabilities=capabilities, time_scale=time_scale) as client:
        if "cancel" in fault:
            cancel = f"{submit(client)['pollUrl']}/cancel"
            with ThreadPoolExecutor() as senders:
                list(senders.map(client.post, [cancel] * (3 if "each" in fault else 1)))
        else:
            receiver.refusals = "retry" in fault
            submit(client, model)
        receiver.wait_for(1 + any(word in fault for word in ("twice", "retry", "each")))

    assert (
        broken(receiver.deliveries[-1:] if "retry" in fault else receiver.deliveries, model, ending)
        or fault
        in ("webhook-without-capability", "webhook-signs-unescaped-text")  # no text beyond ASCII here
    )
