"""Describe why a request got no complete response."""

import socket
import ssl

import httpx

from knouds_harness.body_bounds import TOO_LONG, TooLongOnceDecoded, UndecodableBody


class BodyTooLong(Exception):
    """The response is longer than any response of this API."""


class DeadlinePassed(Exception):
    """The response was not complete by the deadline."""


FAILURES = (
    httpx.HTTPError,
    httpx.InvalidURL,
    httpx.StreamError,
    BodyTooLong,
    DeadlinePassed,
    UndecodableBody,
)
"""The exceptions of a request that come from the network or a malformed response."""


_BY_CAUSE: tuple[tuple[type[BaseException], str], ...] = (
    (socket.gaierror, "the name {host} cannot be resolved"),
    (ssl.SSLCertVerificationError, "TLS: the certificate of {authority} is not trusted: {certificate}"),
    (ConnectionRefusedError, "nothing listens at {peer} (connection refused)"),
)
_BY_ERROR: tuple[tuple[type[Exception], str], ...] = (
    (httpx.ConnectTimeout, "no connection to {peer} within {timeout_s:g} s"),
    (httpx.ReadTimeout, "no answer within {timeout_s:g} s"),
    (httpx.WriteTimeout, "the request could not be sent within {timeout_s:g} s"),
    (DeadlinePassed, "the answer was not complete within {timeout_s:g} s"),
    (BodyTooLong, TOO_LONG),
    (TooLongOnceDecoded, TOO_LONG),
    # The library's own message quotes the header, which may be the key.
    (httpx.LocalProtocolError, "the request is not valid HTTP and was not sent"),
    (httpx.InvalidURL, "the request is not valid HTTP and was not sent"),
    (UndecodableBody, "the body does not fit its Content-Encoding"),
)


def describe(error: Exception, *, authority: str, timeout_s: float, proxy: str = "") -> str:
    cause = _root(error)
    peer = f"the proxy {proxy}" if proxy else authority
    if isinstance(error, httpx.ProxyError):
        return f"the proxy {proxy} does not connect to {authority}: {error}"
    for kind, sentence in _BY_CAUSE:
        if isinstance(cause, kind):
            host, certificate = (proxy or authority).rpartition(":")[0], getattr(cause, "verify_message", "")
            return sentence.format(host=host, authority=authority, peer=peer, certificate=certificate)
    for error_kind, sentence in _BY_ERROR:
        if isinstance(error, error_kind):
            return sentence.format(authority=authority, peer=peer, timeout_s=timeout_s, error=error)
    if isinstance(error, httpx.RemoteProtocolError):
        return _broken_answer(str(error))
    return _broken_connection(error, cause, f"{authority} through {peer}" if proxy else authority)


def remedy(failure: str, address: str) -> str:
    """Return what the user can do if the target cannot be reached."""
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


def _broken_connection(error: Exception, cause: BaseException, server: str) -> str:
    if isinstance(cause, ssl.SSLError) and "alert" in _reason(cause):  # also after the handshake, in TLS 1.3
        return f"TLS: {server} refuses the connection: {_reason(cause).rpartition('alert ')[2]}"
    if isinstance(error, httpx.ConnectError):
        what = "TLS: no handshake with" if isinstance(cause, ssl.SSLError) else "no connection to"
        return f"{what} {server}: {_reason(cause)}"
    return f"the connection broke: {_reason(cause)}"


def _broken_answer(message: str) -> str:
    if "complete message body" in message:
        return f"the answer ended early: {message.removeprefix('peer closed connection without ')}"
    if "without sending a response" in message:
        return "the connection was closed before there was an answer"
    return f"the answer is not valid HTTP: {message.partition(': ')[0]}"


def _root(error: BaseException) -> BaseException:
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__ or error
    return error


def _reason(error: BaseException) -> str:
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.replace("_", " ").lower()
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error) or type(error).__name__
