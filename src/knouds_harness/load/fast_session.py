"""Locust's own FastHttpUser's client under our scenarios: to compare, or to rule ours out."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from locust.contrib.fasthttp import FastHttpSession, ResponseContextManager

from knouds_harness.load.client.session import Headers, KeyHeaders
from knouds_harness.load.users import KnoudsUser


class FastSession(FastHttpSession):
    """Sends what scenarios send: nothing twice, no redirects, certificates verified.

    It knows no scheduled instant, so it is of the closed model only.
    """

    def __init__(self, user: KnoudsUser) -> None:
        """Send to the user's host, with its timeouts."""
        self._key_headers: dict[str, str] = {}
        self.is_traced = False  # which Locust's client has no place for
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
        """As Locust's; for a with-block the answer's URL has its query, which tells what was asked for."""
        if params:
            url = f"{url}?{urlencode(params)}"
        is_ours = url.startswith(("/", f"{str(self.base_url).rstrip('/')}/"))
        sent = {**(self._key_headers if is_ours else {}), **(headers or {})}
        options["headers"] = {name: value for name, value in sent.items() if value is not None}
        answered: Any = super().request(method, url, *args, **{**options, "allow_redirects": False})
        return FastAnswer(answered) if isinstance(answered, ResponseContextManager) else answered

    def act_as(self, key_headers: KeyHeaders) -> None:
        """As ``Session.act_as``."""
        self._key_headers = dict(key_headers)


class FastAnswer(ResponseContextManager):
    """Locust's answer, with what scenarios ask of ours besides."""

    is_strict_json = False  # it replaces invalid UTF-8

    def __init__(self, answered: ResponseContextManager) -> None:
        """Stand in for it."""
        meta = answered.request_meta
        super().__init__(answered, answered._request_event, meta, catch_response=True)  # noqa: SLF001 - copied
        meta["response"] = self
        self.elapsed_ms: float = meta["response_time"]
        self.method: str = meta["request_type"]

    @property
    def raw_body(self) -> bytes:
        """The body, decoded."""
        return self.content or b""

    def json(self) -> Any:  # noqa: ANN401 - JSON
        """The body.

        Raises:
            ValueError: There is no body, or it is not JSON.
        """
        if self.text is None:
            raise ValueError("there is no body")
        return super().json()
