"""Why no whole answer came, in words."""

from __future__ import annotations

import socket
import ssl

import httpx


class BodyTooLong(Exception):
    """The answer is longer than anything this API sends."""


class DeadlinePassed(Exception):
    """The answer was still coming when its time was over."""


#: What sending one request may raise because of the network or the server.
FAILURES = (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, BodyTooLong, DeadlinePassed)


def describe(error: Exception, *, authority: str, timeout_s: float) -> str:
    """Say what happened.

    Args:
        error: One of ``FAILURES``.
        authority: Host and port that were asked.
        timeout_s: How long was waited.
    """
    root = _root(error)
    match error, root:
        case _, socket.gaierror():
            return f"the name {authority.rpartition(':')[0]} cannot be resolved"
        case _, ssl.SSLCertVerificationError():
            return f"TLS: the certificate of {authority} is not trusted: {root.verify_message}"
        case httpx.ConnectError(), ssl.SSLError():
            return f"TLS: no handshake with {authority}: {_reason(root)}"
        case _, ConnectionRefusedError():
            return f"nothing listens at {authority} (connection refused)"
        case httpx.ConnectTimeout(), _:
            return f"no connection to {authority} within {timeout_s:g} s"
        case httpx.ReadTimeout(), _:
            return f"no answer within {timeout_s:g} s"
        case httpx.WriteTimeout(), _:
            return f"the request could not be sent within {timeout_s:g} s"
        case DeadlinePassed(), _:
            return f"the answer was not complete within {timeout_s:g} s"
        case BodyTooLong(), _:
            return str(error)
        case httpx.ConnectError(), _:
            return f"no connection to {authority}: {_reason(root)}"
        case httpx.RemoteProtocolError(), _ if "complete message body" in str(error):
            return f"the answer ended early: {str(error).removeprefix('peer closed connection without ')}"
        case httpx.RemoteProtocolError(), _ if "without sending a response" in str(error):
            return "the connection was closed before any answer"
        case httpx.RemoteProtocolError(), _:
            return f"the answer is not valid HTTP: {str(error).partition(': ')[0]}"
        case httpx.LocalProtocolError() | httpx.InvalidURL(), _:
            # The library's message would quote the header, and that may be the key.
            return "the request is not valid HTTP and was not sent"
        case httpx.DecodingError(), _:
            return "the body does not fit its Content-Encoding"
    return f"the connection broke: {_reason(root)}"


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
