"""Run a sandbox: in the main thread for the command, in a separate thread for tests."""

import asyncio
import contextlib
import errno
import importlib.util
import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from functools import lru_cache
from pathlib import Path
from typing import Self, cast

import uvicorn
from starlette.types import ASGIApp, Scope
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from knouds_sandbox.access.network import ReceiverRules
from knouds_sandbox.app import build_app
from knouds_sandbox.calls import Services
from knouds_sandbox.errors import SandboxError
from knouds_sandbox.fault_points import SENT_NAMES
from knouds_sandbox.legal.points import OWN, Choices
from knouds_sandbox.providers import Latency
from knouds_sandbox.routing.preferences import TRANSPORT
from knouds_sandbox.seeding import seeded_keys, seeded_webhook_secret

_LOGGER = logging.getLogger("uvicorn.error")
_START_TIMEOUT_S = 10
_LINGERING_S = 5


class _Connection:
    """A transport that is not closed while the client still sends its request.

    Closing with data unread resets the connection, which can destroy the answer (RFC 9112, 9.6).
    """

    def __init__(self, transport: asyncio.Transport, protocol: "EnvelopeProtocol") -> None:
        self._transport = transport
        self._protocol = protocol
        self._is_closing = False

    def __getattr__(self, name: str) -> object:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        is_head = data.startswith(b"HTTP/1.1 ")
        self._transport.write(b"HTTP/" + self._protocol.version + data[8:] if is_head else data)

    def is_closing(self) -> bool:
        return self._is_closing or self._transport.is_closing()

    def close(self) -> None:
        if self.is_closing():
            return
        self._is_closing = True
        if self._protocol.has_whole_request:
            self._transport.close()
        else:
            self._transport.write_eof()
            self._protocol.flow.resume_reading()
            self._protocol.loop.call_later(_LINGERING_S, self._transport.abort)


class EnvelopeProtocol(HttpToolsProtocol):
    """The HTTP protocol, with the API's envelope for the refusal of an unreadable request.

    It keeps the names of headers as they were sent, which only faults read.
    """

    version = b"1.1"
    has_whole_request = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        super().connection_made(_Connection(transport, self))  # type: ignore[arg-type]  # has all that is used of one

    def data_received(self, data: bytes) -> None:
        """Read data; what comes after the answer is dropped."""
        if not self.transport.is_closing():
            super().data_received(data)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.server_state.default_headers = _dated(int(time.time()))
        self.has_whole_request = False
        cast("Scope", self.scope)[TRANSPORT] = self.transport

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self.has_whole_request = True

    def on_header(self, name: bytes, value: bytes) -> None:
        cast("Scope", self.scope).setdefault(SENT_NAMES, []).append(name)
        super().on_header(name, value)

    def send_400_response(self, msg: str) -> None:
        body = json.dumps({"error": msg, "code": "INVALID_REQUEST"}).encode()
        head = (
            "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self.has_whole_request = False
        self.transport.write(head.encode() + body)
        self.transport.close()


@lru_cache(maxsize=1)
def _dated(unix_s: int) -> list[tuple[bytes, bytes]]:
    """Return the headers of all answers; uvicorn's Date is seconds old after the process stood still."""
    return [(b"date", formatdate(unix_s, usegmt=True).encode())]


@dataclass(frozen=True, kw_only=True)
class RunningSandbox:
    """A sandbox that runs at ``base_url``; ``keys`` has the seeded secrets by persona.

    ``webhook_secret`` signs the deliveries of the keys of ada and ines; None if they have no webhook.
    ``is_met_by_fault`` says of each of its faults, by id, whether a client has met it so far.
    """

    base_url: str
    keys: Mapping[str, str]
    control_token: str | None
    webhook_secret: str | None = None
    is_met_by_fault: Mapping[str, bool] = field(default_factory=dict)

    @classmethod
    def of(cls, services: Services, listener: socket.socket) -> Self:
        return cls(
            base_url=base_url_of(listener),
            keys=seeded_keys(services.store),
            control_token=services.control_token,
            webhook_secret=seeded_webhook_secret(services.store),
            is_met_by_fault=services.edits.is_met_by_fault,
        )


@contextlib.contextmanager
def running_sandbox(
    *,
    seed: int = 0,
    faults: Collection[str] = (),
    control_token: str | None = None,
    legal: str | None = None,
    between: str | None = None,
    webhook_url: str | None = None,
    prefer: bool = False,
    allowed_hosts: Collection[str] = (),
    receivers: ReceiverRules | None = None,
    database: Path | None = None,
    latency: Latency | None = None,
    now_unix_s: Callable[[], float] = time.time,
    port: int = 0,
) -> Iterator[RunningSandbox]:
    """Run a sandbox on loopback in a thread until the context ends.

    Args:
        seed: Fixes secrets, ids and the providers' behaviour.
        faults: Ids of the faults to activate.
        control_token: Enables the control plane with this token.
        legal: Seed of the choices where no source settles what a server does; None for the sandbox's own.
        between: Seed of what stands in front of the server; None for nothing.
        webhook_url: Where deliveries for the seeded keys of ada and ines go; None for no webhook.
        prefer: Whether a request may choose its outcome with the header ``Prefer``.
        allowed_hosts: Hosts that a request may name, in addition to loopback.
        receivers: Where deliveries may go; if None, to loopback and public addresses.
        database: File that keeps the state; None keeps it in memory.
        latency: How long providers take; None for no latency.
        now_unix_s: Clock of the rate-limit windows.
        port: Port to listen on; 0 takes a free one.

    Yields:
        The address and the keys of the sandbox.

    Raises:
        UnknownName: A fault or a named choice does not exist.
        SandboxError: The port cannot be used, or the sandbox did not start.
    """
    with bound_socket("127.0.0.1", port) as listener:
        app, services = build_app(
            database=database,
            seed=seed,
            faults=faults,
            latency=latency,
            control_token=control_token,
            legal=legal,
            between=between,
            webhook_url=webhook_url,
            prefer=prefer,
            allowed_hosts=allowed_hosts,
            receivers=receivers,
            now_unix_s=now_unix_s,
        )
        sandbox = RunningSandbox.of(services, listener)
        server = make_server(app, services.choices)
        thread = threading.Thread(
            target=server.run, kwargs={"sockets": [listener]}, name="sandbox", daemon=True
        )
        thread.start()
        try:
            _wait_until_started(server, thread)
            yield sandbox
        finally:
            server.should_exit = True
            thread.join(_START_TIMEOUT_S)


class Http10Protocol(EnvelopeProtocol):
    version = b"1.0"


class QuietlyEndingServer(uvicorn.Server):
    """Logs nothing once it ends: requests that are in flight then are cancelled, as they should be."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        _LOGGER.setLevel(logging.CRITICAL + 1)  # until the next server is configured
        await super().shutdown(sockets)


def make_server(app: ASGIApp, choices: Choices = OWN) -> uvicorn.Server:
    """Configure the HTTP server; pass the sockets to its ``run``."""
    config = uvicorn.Config(
        app,
        http=Http10Protocol if choices["http"] == "1.0" else EnvelopeProtocol,
        ws="none",
        loop="uvloop" if importlib.util.find_spec("uvloop") else "asyncio",
        lifespan="on",
        log_config=None,
        log_level="error",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=1,
    )
    return QuietlyEndingServer(config)


@contextlib.contextmanager
def bound_socket(host: str, port: int) -> Iterator[socket.socket]:
    """Bind a port; 0 takes a free one."""
    is_ipv6 = ":" in host
    try:
        listener = socket.create_server(
            (host, port),
            family=socket.AF_INET6 if is_ipv6 else socket.AF_INET,
            backlog=2048,
            dualstack_ipv6=is_ipv6 and socket.has_dualstack_ipv6(),
        )
    except (OSError, OverflowError) as problem:
        if isinstance(problem, OSError) and problem.errno == errno.EADDRINUSE:
            raise SandboxError(
                f"port {port} of {host} is taken. Choose another with --port, or 0 for a free one."
            ) from None
        raise SandboxError(f"cannot listen on {host} port {port}: {problem}.") from None
    with listener:
        yield listener


def base_url_of(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _wait_until_started(server: uvicorn.Server, thread: threading.Thread) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while not server.started:
        if not thread.is_alive() or time.monotonic() > deadline:
            raise SandboxError("the sandbox did not start; its log says why.")
        time.sleep(0.002)
