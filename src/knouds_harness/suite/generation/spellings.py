"""Other spellings of a request that a router, framework or proxy may treat like the plain one."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from knouds_harness.exchange.evidence import Request

Respell = Callable[[Request], Request]

_OVERRIDDEN = ("PUT", "DELETE")


def _path(change: Callable[[str], str]) -> Respell:
    return lambda request: replace(request, path=change(request.path))


def _with(*headers: tuple[str, str], method: str | None = None) -> Respell:
    return lambda request: replace(
        request, method=method or request.method, headers=(*request.headers, *headers)
    )


def _percent_encoded(path: str) -> str:
    """Encode the last character of a path, which belongs to a name if the path ends with one."""
    return f"{path[:-1]}%{ord(path[-1]):02X}"


def _upper_case(path: str) -> str:
    """Write the first parts of a path in capitals, but not the names of resources."""
    head, _, rest = path.removeprefix("/api/").partition("/")
    return f"/API/{head.upper()}/{rest}".rstrip("/")


def _overriding(header: str) -> Respell:
    """Send a write as a POST with its method in a header."""
    return lambda request: (
        _with((header, request.method), method="POST")(request) if request.method in _OVERRIDDEN else request
    )


def _overriding_in_query(request: Request) -> Request:
    if request.method not in _OVERRIDDEN:
        return request
    return replace(request, method="POST", query=(*request.query, ("_method", request.method)))


def _with_body(request: Request) -> Request:
    if request.body is not None:
        return request
    return replace(request, body=b"{}", headers=(*request.headers, ("content-type", "application/json")))


def _as_text(request: Request) -> Request:
    headers = tuple(each for each in request.headers if each[0] != "content-type")
    return replace(request, headers=(*headers, ("content-type", "text/plain")))


SPELLINGS: Final[Mapping[str, Respell]] = MappingProxyType(
    {
        "slash at the end": _path("{}/".format),
        "slash doubled": _path(lambda path: path.replace("/api/", "/api//", 1)),
        "slash doubled at the start": _path("/{}".format),
        "dot segment": _path(lambda path: path.replace("/api/", "/api/./", 1)),
        "parent segment": _path(lambda path: path.replace("/api/", "/api/health/../", 1)),
        "encoded letter": _path(_percent_encoded),
        "upper case": _path(_upper_case),
        "suffix": _path("{}.json".format),
        "path parameter": _path("{};a=b".format),
        "public prefix": _path(lambda path: path.replace("/api/", "/api/pricing/public/../../", 1)),
        "HEAD": lambda request: replace(request, method="HEAD") if request.method == "GET" else request,
        "X-HTTP-Method-Override": _overriding("x-http-method-override"),
        "X-HTTP-Method": _overriding("x-http-method"),
        "_method": _overriding_in_query,
        "X-Original-URL": lambda request: _with(("x-original-url", request.path))(
            replace(request, path="/api/health")
        ),
        "from this host": _with(("x-forwarded-for", "127.0.0.1"), ("x-real-ip", "127.0.0.1")),
        "as a preflight": _with(
            ("origin", "https://knouds.ai"), ("access-control-request-method", "GET"), method="OPTIONS"
        ),
        "body of a read": _with_body,
        "other content type": _as_text,
    }
)
"""By name. A spelling that does not change a request does not apply to it."""


def spelled(request: Request, name: str) -> Request | None:
    """Return the request in another spelling; None if that does not change it."""
    other = SPELLINGS[name](request)
    return (
        None
        if other == request
        else replace(other, operation_id=None, path_values={}, cost_credits=0.0, is_deliberate=True)
    )
