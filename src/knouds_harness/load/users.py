"""The Locust user with our own client (a quarter of FastHttpUser's CPU time), and an adapter for Locust's."""

import ssl
from collections.abc import Mapping
from functools import cache
from typing import Any
from urllib.parse import urlencode

from locust.contrib.fasthttp import FastHttpSession, ResponseContextManager
from locust.env import Environment
from locust.exception import StopTest
from locust.user.task import LOCUST_STATE_STOPPING, LOCUST_STATE_WAITING
from locust.user.users import RestMixin, User

from knouds_harness.errors import UsageError
from knouds_harness.load.client.http_client import tls_context
from knouds_harness.load.client.response import Response
from knouds_harness.load.client.session import Headers, SenderHeaders, Session


class KnoudsUser(User, RestMixin[Response]):
    """Sends HTTP requests to any host through ``self.client``, with the methods of Locust's own users.

    Unlike FastHttpUser, it verifies certificates, follows no redirects, keeps no cookies, sends nothing
    twice, and applies the timeout to the whole request; ``response_length`` counts the bytes of the body as
    they were sent, such as compressed.
    """

    abstract = True

    connection_timeout: float = 60.0
    """Seconds to open a connection."""

    network_timeout: float = 60.0
    """Seconds for the whole response, connecting included."""

    insecure: bool = False
    """Trust any certificate."""

    default_headers: Mapping[str, str] | None = None
    """Sent with each request."""

    ssl_context_factory: Any = None
    """Makes the ``ssl.SSLContext`` of a user; by default all share one."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        if self.host is None:
            raise StopTest("say where to: --host on the command line, or host in the user class")
        try:
            self.client = Session(
                self.host,
                environment.events.request,
                user=self,
                default_headers=self.default_headers,
                timeout_s=self.network_timeout,
                connect_timeout_s=self.connection_timeout,
                tls=self.tls_context(),
            )
        except UsageError as error:
            raise StopTest(str(error)) from error

    def tls_context(self) -> ssl.SSLContext:
        """Return the context of its HTTPS connections."""
        factory = type(self).ssl_context_factory
        return factory() if factory else _shared_tls(verify=not self.insecure)

    def stop(self, force: bool = False) -> bool:  # noqa: FBT001, FBT002 - as Locust's own
        """Stop as Locust does, but let a waiting user send nothing more: it would not be counted."""
        is_waiting = self._state == LOCUST_STATE_WAITING
        if is_waiting:
            self._state = LOCUST_STATE_STOPPING  # Locust looks at it after each wait
        return bool(super().stop(force=force or is_waiting))


@cache
def _shared_tls(*, verify: bool) -> ssl.SSLContext:
    return tls_context(verify=verify)


class FastSession(FastHttpSession):
    """Locust's own session for scenarios: nothing twice, no redirects, certificates verified.

    It cannot count from a scheduled instant, so it works in the closed model only.
    """

    def __init__(self, user: KnoudsUser) -> None:
        self._sender_headers: dict[str, str] = {}
        self.is_traced = False  # set by scenarios, without effect: Locust's client adds no trace header
        super().__init__(
            user.host,
            user.environment.events.request,
            user,
            insecure=False,
            ssl_context_factory=user.tls_context,
            network_timeout=user.network_timeout,
            connection_timeout=user.connection_timeout,
            max_redirects=0,
            max_retries=0,
        )

    def request(
        self,
        method: str,
        url: str,
        *args: Any,  # noqa: ANN401 - Locust's own arguments
        params: Mapping[str, Any] | None = None,
        headers: Headers | None = None,
        **options: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        """Send as Locust does, with the query in the URL, so that the response shows what was asked for."""
        if params:
            url = f"{url}?{urlencode(params)}"
        is_ours = url.startswith(("/", f"{str(self.base_url).rstrip('/')}/"))
        sent = {**(self._sender_headers if is_ours else {}), **(headers or {})}
        options["headers"] = {name: value for name, value in sent.items() if value is not None}
        answered: Any = super().request(method, url, *args, **{**options, "allow_redirects": False})
        return FastAnswer(answered) if isinstance(answered, ResponseContextManager) else answered

    def act_as(self, sender_headers: SenderHeaders) -> None:
        self._sender_headers = dict(sender_headers)


class FastAnswer(ResponseContextManager):
    """Locust's response, with the attributes of ours that scenarios use."""

    is_strict_json = False  # it replaces invalid UTF-8

    def __init__(self, answered: ResponseContextManager) -> None:
        meta = answered.request_meta
        super().__init__(answered, answered._request_event, meta, catch_response=True)  # noqa: SLF001 - copied
        meta["response"] = self
        self.elapsed_ms: float = meta["response_time"]
        self.method: str = meta["request_type"]

    @property
    def raw_body(self) -> bytes:
        return self.content or b""

    def json(self) -> Any:  # noqa: ANN401 - JSON
        if self.text is None:
            raise ValueError("there is no body")
        return super().json()
