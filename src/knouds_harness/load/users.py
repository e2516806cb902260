"""The Locust user with our own client, which takes a quarter of FastHttpUser's processor time."""

import ssl
from collections.abc import Mapping
from functools import cache
from typing import Any

from locust.env import Environment
from locust.exception import StopTest
from locust.user.task import LOCUST_STATE_STOPPING, LOCUST_STATE_WAITING
from locust.user.users import RestMixin, User

from knouds_harness.errors import UsageError
from knouds_harness.load.client.http_client import tls_context
from knouds_harness.load.client.response import Response
from knouds_harness.load.client.session import Session


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
