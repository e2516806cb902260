"""Find out whether a target answers at all, before anything else is sent to it."""

import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

from knouds_harness.errors import TargetUnreachable
from knouds_harness.exchange.client import Client
from knouds_harness.exchange.evidence import Exchange, Request

_WHOAMI: Final = Request(method="GET", path="/api/whoami", operation_id="getWhoami")
"""Refused with 401 wherever the API is: it has no key."""
_MOST_RETRIES: Final = 5
_PAUSE_S: Final = 1.0


def health_request() -> Request:
    """Return a request that every target answers, even without a key."""
    return Request(method="GET", path="/api/health", operation_id="getHealth")


def first_contact(
    client: Client, *, address: str | None = None, wait: Callable[[float], object] = time.sleep
) -> Exchange:
    """Request the target's health, to find out whether a usable server answers.

    A gateway that has no server may have one some seconds later.
    """
    exchange = client.send(health_request())
    for _ in range(_MOST_RETRIES):
        if exchange.is_from_gateway:
            wait(_PAUSE_S)
            exchange = client.send(health_request())
    where, address = client.target.base_url, address or f"base_url in {client.target.place}"
    proxy = client.target.http.via
    failure = exchange.failure
    if proxy and exchange.status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:  # comes with plain HTTP
        failure = f"the proxy {proxy.authority} refuses: {exchange.status}"
    if failure:
        raise TargetUnreachable(f"{where}: {failure}\n  {_remedy(failure, address)}")
    if exchange.status and 300 <= exchange.status < 400:
        raise TargetUnreachable(
            f"{where}: answers {exchange.status} with a redirect to {exchange.header('location')}\n"
            f"  Redirects are never followed: write the final address as {address}."
        )
    if exchange.is_from_gateway:
        raise TargetUnreachable(
            f"{where}: answers {exchange.status}: a gateway answers without its server\n"
            f"  Check that the server behind it runs, and {address}."
        )
    content_type = exchange.header("content-type") or ""
    if "html" in content_type.lower() or exchange.body.lstrip()[:1] == b"<":
        raise TargetUnreachable(
            f"{where}: answers {exchange.status} with HTML instead of JSON: a proxy, a login page "
            "or another service\n"
            f"  Check {address}, and whether a proxy or VPN is in between."
        )
    if exchange.status == HTTPStatus.NOT_FOUND and client.send(_WHOAMI).status == HTTPStatus.NOT_FOUND:
        raise TargetUnreachable(
            f"{where}: answers 404 to {exchange.request.path} and to {_WHOAMI.path}, so it is not the API\n"
            f"  Check {address}: it is the address without /api."
        )
    return exchange


def _remedy(failure: str, address: str) -> str:
    is_tls = failure.startswith("TLS")
    if is_tls and "not trusted" in failure and ("issuer" in failure or "self-signed" in failure):
        return (
            "Set SSL_CERT_FILE, or ca_file in [http] of the profile, to the certificate of the "
            "authority that signed it, if you trust it."
        )
    if is_tls and "refuses" in failure:
        return "Check client_certificate in [http] of the profile, if the server asks for one."
    if "wrong version number" in failure or "record layer failure" in failure:
        return f"Something there speaks plain HTTP: check https in {address}, and in the proxy of [http]."
    if "the proxy" in failure and failure.partition(": ")[2].startswith("407"):
        return (
            "Put its URL with user and password, http://USER:PASSWORD@HOST:PORT, into an environment "
            "variable, and name that as proxy_env in [http] of the profile."
        )
    if "the proxy" in failure:
        return f"Check that the proxy runs, and proxy in [http] of the profile; then {address}."
    return f"Check {'the certificate of the server' if is_tls else 'that the server runs'}, and {address}."
