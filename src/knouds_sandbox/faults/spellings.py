"""Faults: another spelling of a request bypasses access control, or is not understood."""

from collections.abc import Callable
from dataclasses import replace

from starlette.datastructures import Headers, QueryParams
from starlette.types import Scope

from knouds_sandbox.access.keys import Credentials
from knouds_sandbox.answers import OutgoingAnswer
from knouds_sandbox.fault_points import SENT_NAMES, Edit, Point, fault
from knouds_sandbox.faults.editing import at, taken_for_full

_RESPELLED = "respelled"
_OVERRIDE = "x-http-method-override"

Respell = Callable[[Scope], bool]
"""Changes a scope to the plain spelling; returns whether it was spelled differently."""


def _routed(respell: Respell) -> Edit:
    """Route another spelling like the plain one, and mark the request as respelled."""

    def apply(scope: Scope) -> None:
        if respell(scope):
            scope[_RESPELLED] = True

    return at(Point.ROUTE, "", apply)


def _with_every_capability(given: Credentials) -> None:
    """Accept the key of a respelled request as if it held every capability."""
    if (key := given.key) and _RESPELLED in given.request.scope:
        given.accepted = replace(key, capabilities=frozenset("*"))


def _named_elsewhere(scope: Scope) -> bool:
    """Use the path of the header X-Original-URL, which proxies send."""
    path = Headers(scope=scope).get("x-original-url")
    scope["path"] = path or scope["path"]
    return path is not None


def _overridden(scope: Scope, *methods: str) -> bool:
    """Use the method that a header or the query names, in requests with one of these methods."""
    named = Headers(scope=scope).get(_OVERRIDE) or QueryParams(scope["query_string"]).get("_method")
    if named is None or scope["method"] not in methods:
        return False
    scope["method"] = named.upper()
    return True


@fault("auth.missing-key-is-401", is_subtle=True)
def spelling_original_url_needs_no_key() -> tuple[Edit, ...]:
    """X-Original-URL leads from a public path to any other, without a key."""
    return (
        _routed(_named_elsewhere),
        taken_for_full(lambda given: not given.presented and _RESPELLED in given.request.scope),
    )


@fault("capability.missing-is-403-denied", is_subtle=True)
def spelling_method_override_needs_no_capability() -> tuple[Edit, ...]:
    """A POST that names another method in a header or the query needs no capability."""
    return (
        _routed(lambda scope: _overridden(scope, "POST")),
        at(Point.CREDENTIALS, "", _with_every_capability),
    )


@fault("capability.denial-has-no-effect", is_subtle=True)
def spelling_read_writes() -> tuple[Edit, ...]:
    """A GET that names another method in a header or the query writes, and needs no capability."""
    return (
        _routed(lambda scope: _overridden(scope, "GET")),
        at(Point.CREDENTIALS, "", _with_every_capability),
    )


@fault("auth.key-in-x-api-key", Point.CREDENTIALS)
def spelling_key_header_in_capitals_is_not_read(given: Credentials) -> None:
    """A key is read from x-api-key in lower case only, not from X-API-KEY."""
    if b"x-api-key" not in given.request.scope.get(SENT_NAMES, ()):
        given.presented = []


@fault("auth.key-in-x-api-key", Point.CREDENTIALS, is_subtle=True)
def spelling_key_before_accept_is_not_read(given: Credentials) -> None:
    """A key is not read if its header comes before Accept."""
    names = [name for name, _ in given.request.scope["headers"]]
    if b"accept" in names and b"x-api-key" in names and names.index(b"x-api-key") < names.index(b"accept"):
        given.presented = []


@fault("ground.status-is-documented", Point.ANSWER, is_subtle=True)
def spelling_accept_must_be_json_alone(answer: OutgoingAnswer) -> None:
    """A request whose Accept is not application/json, without parameters, gets a 406."""
    if any(value != "application/json" for value in answer.request.headers.getlist("accept")):
        answer.refuse(406, "NOT_ACCEPTABLE", "Accept application/json.")


@fault("ground.responses-are-json-objects", Point.ANSWER, is_subtle=True)
def spelling_gzip_is_garbled(answer: OutgoingAnswer) -> None:
    """To a client that accepts gzip, the body is declared as gzip, but is not compressed."""
    if answer.takes_gzip:
        answer.headers["content-encoding"] = "gzip"
