"""A pytest plugin for the tests of a client: ``-p knouds_harness.client_fixtures``. It adds no options."""

import secrets
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import httpx
import pytest

from knouds_harness.exchange.evidence import JSON, members_of
from knouds_harness.exchange.recording import Recording, load_recordings
from knouds_harness.exchange.webhooks import Delivery, Receiver, payload_of, verify
from knouds_harness.runs.run_file import RunPersona
from knouds_sandbox.serving import RunningSandbox, running_sandbox

_CAPABILITIES = ("workflow:*", "model:*", "execution:*", "webhook:receive")


@dataclass(frozen=True, kw_only=True)
class SandboxAccount:
    """A new account on a sandbox, and a key that may do all and has a webhook."""

    base_url: str
    key: str
    webhook_secret: str
    _account: str
    _control: httpx.Client

    @property
    def persona(self) -> RunPersona:
        """What ``JudgingTransport(account=…)`` is to know of the key."""
        return RunPersona(
            name="client",
            capabilities=_CAPABILITIES,
            user="client",
            tier="business",
            role="user",
            state="active",
            credits="enough",
        )

    def advance_clock(self, seconds: float) -> None:
        """Move the clock of the account's rate-limit windows, such as past a ``Retry-After``."""
        moved = {"advance_s": seconds, "account": self._account}
        self._control.post("clock", json=moved).raise_for_status()


@dataclass(frozen=True, kw_only=True)
class Webhooks:
    """Receives the deliveries of one test's account, and verifies their signatures."""

    url: str
    secret: str
    _receiver: Receiver
    _path: str

    def wait_for(self, run: str, *, timeout_s: float = 10.0) -> JSON:
        """Return the body of the delivery of a run.

        Args:
            run: Its ``executionId``, or its ``requestId``, which usage shows also if no answer came.
            timeout_s: How long to wait.

        Raises:
            SignatureRefused: It is not signed with the account's secret, or too old.
            TimeoutError: It does not come in time; names what came.
        """

        def is_of_run(delivery: Delivery) -> bool:
            members = members_of(payload_of(delivery.body))
            is_named = run in (members.get("executionId"), members.get("requestId"))
            return delivery.path == self._path and is_named

        self._receiver.wait_until(lambda came: any(map(is_of_run, came)), timeout_s=timeout_s)
        mine = [each for each in self._receiver.deliveries if each.path == self._path]
        found = next(filter(is_of_run, mine), None)
        if found is None:
            came = ", ".join(str(each.execution_id) for each in mine) or "none"
            raise TimeoutError(f"no delivery of {run} within {timeout_s:g} s; deliveries that came: {came}")
        verify(found.body, found.signature, secret=self.secret, now_unix_s=time.time())
        return payload_of(found.body)


@pytest.fixture(scope="session")
def knouds_server() -> Iterator[RunningSandbox]:
    """The sandbox of the session; requests may choose their outcome with ``Prefer``."""
    with running_sandbox(control_token=secrets.token_urlsafe(24), prefer=True) as sandbox:
        yield sandbox


@pytest.fixture(scope="session")
def _knouds_receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def knouds_webhooks(_knouds_receiver: Receiver) -> Webhooks:
    """Receives and verifies the deliveries of this test's account."""
    path = f"/{secrets.token_hex(8)}"
    return Webhooks(
        url=_knouds_receiver.url(path), secret=secrets.token_hex(16), _receiver=_knouds_receiver, _path=path
    )


@pytest.fixture
def knouds_sandbox(knouds_server: RunningSandbox, knouds_webhooks: Webhooks) -> Iterator[SandboxAccount]:
    """A new business account with 1,000 credits on the sandbox of the session."""
    headers = {"x-sandbox-token": knouds_server.control_token or ""}
    with httpx.Client(base_url=f"{knouds_server.base_url}/__sandbox__/", headers=headers) as control:
        account = control.post("accounts", json={"tier": "business", "credits": 1000}).raise_for_status()
        asked = {
            "account": account.json()["account"],
            "capabilities": _CAPABILITIES,
            "webhook": {"url": knouds_webhooks.url, "secret": knouds_webhooks.secret},
        }
        minted = control.post("keys", json=asked).raise_for_status().json()
        yield SandboxAccount(
            base_url=knouds_server.base_url,
            key=minted["secret"],
            webhook_secret=minted["webhookSecret"],
            _account=asked["account"],
            _control=control,
        )


@pytest.fixture(scope="session")
def knouds_recordings() -> Mapping[str, Recording]:
    """The recordings that come with the harness, by name."""
    return load_recordings()
