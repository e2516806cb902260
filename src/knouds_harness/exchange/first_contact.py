"""Find out whether a target answers at all."""

from http import HTTPStatus

from knouds_harness.errors import TargetUnreachable
from knouds_harness.exchange.client import Client
from knouds_harness.exchange.evidence import Exchange, Request
from knouds_harness.exchange.failures import remedy


def health_request() -> Request:
    """Return a request that every target answers, even without a key."""
    return Request(method="GET", path="/api/health", operation_id="getHealth")


def first_contact(client: Client, *, address: str | None = None) -> Exchange:
    """Request the target's health, to find out whether a usable server answers.

    The response is not judged here; the checks do that.

    Raises:
        TargetUnreachable: Nothing answers, or something other than the API: a proxy, login page or redirect.
    """
    exchange = client.send(health_request())
    where, address = client.target.base_url, address or f"base_url in {client.target.place}"
    proxy = client.target.http.via
    failure = exchange.failure
    if proxy and exchange.status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:  # comes with plain HTTP
        failure = f"the proxy {proxy.authority} refuses: {exchange.status}"
    if failure:
        raise TargetUnreachable(f"{where}: {failure}\n  {remedy(failure, address)}")
    if exchange.status and 300 <= exchange.status < 400:
        raise TargetUnreachable(
            f"{where}: answers {exchange.status} with a redirect to {exchange.header('location')}\n"
            f"  Redirects are never followed: write the final address as {address}."
        )
    content_type = exchange.header("content-type") or ""
    if "html" in content_type.lower() or exchange.body.lstrip()[:1] == b"<":
        raise TargetUnreachable(
            f"{where}: answers {exchange.status} with HTML instead of JSON: a proxy, a login page "
            "or another service\n"
            f"  Check {address}, and whether a proxy or VPN is in between."
        )
    return exchange
