"""However a request is spelled, it counts as the most harmful of what a server may take it for."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from knouds_harness.contract.document import shipped_document
from knouds_harness.contract.effects import Reading, effect_of
from knouds_harness.contract.operations import Action

OPERATIONS = shipped_document().operations
NAMES = st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=12)
FORBIDDEN = [each for each in OPERATIONS if each.action is not Action.READ and each.path_parameters]


def at_a_slash(piece):
    """Put a piece in place of one of the slashes of a path."""
    return lambda path, at: piece.join(("/".join(path.split("/")[:at]), "/".join(path.split("/")[at:])))


def at_a_letter(change):
    """Write one letter of a path otherwise."""
    return lambda path, at: path[: at * 3] + change(path[at * 3]) + path[at * 3 + 1 :]


ENCODED = at_a_letter(lambda letter: "".join(f"%{byte:02x}" for byte in letter.encode()))
FULL_WIDTH = at_a_letter(
    lambda letter: chr(ord(letter) + 0xFEE0) if letter.isascii() and letter.isalpha() else letter
)
SPELLINGS = [
    at_a_slash("//"),
    at_a_slash("/./"),
    at_a_slash("/%2e/"),
    at_a_slash("/x/../"),
    at_a_slash("/x/y/.%2E/%2e%2e/"),
    at_a_slash("%2f"),
    at_a_slash("%252F"),
    at_a_slash("\\"),
    at_a_slash(";a=b/"),
    lambda path, _: f"{path}%20",
    at_a_letter(str.upper),
    ENCODED,
    at_a_letter(lambda letter: "".join(f"%25{byte:02X}" for byte in letter.encode())),
    FULL_WIDTH,
    lambda path, _: f"{path}/",
    lambda path, _: f"{path}.json",
    lambda path, _: f"{path};v=1",
    lambda path, _: f"{path}?x=1",
    lambda path, _: f"{path}%3Fx=1",
    lambda path, _: f"{path}%23x",
    lambda path, _: f"{path}%00",
    lambda path, _: f"{path}.",
    lambda path, _: f"/v1{path}",
    lambda path, _: f"/{path}",
]


@given(
    operation=st.sampled_from(FORBIDDEN),
    name=NAMES,
    spelled=st.lists(st.tuples(st.sampled_from(SPELLINGS), st.integers(1, 3)), max_size=4),
)
@example(operation=FORBIDDEN[-1], name="a", spelled=[(FULL_WIDTH, 1), (ENCODED, 1), (ENCODED, 1)])
def test_every_spelling_of_a_request_is_read_as_that_request(operation, name, spelled):
    """So that no router, framework or proxy makes more of it than the guard."""
    path = operation.url_path({operation.path_parameters[0]: name})
    for spell, at in spelled:
        path = spell(path, at)

    effect = effect_of(operation.method, path)

    assert Reading(operation.id, operation.action, name) in effect.readings or not effect.is_bounded
    assert operation.action in effect.actions or not effect.is_bounded


HEADERS = [
    "X-HTTP-Method-Override",
    "X-HTTP-Method",
    "x_method_override",
    "X-Method",
    "x-Http-METHOD-override",
]
PARAMETERS = [
    "_method",
    "x-http-method-override",
    "METHOD",
    "%5fmethod",
    "%255Fmethod",
    "a=b;_method",
    "_httpmethod",
]


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS"])
@given(name=NAMES, header=st.none() | st.sampled_from(HEADERS), parameter=st.sampled_from(PARAMETERS))
def test_request_that_names_another_method_is_read_as_any_of_its_path(method, name, header, parameter):
    headers = ((header, "DELETE"),) if header else ()
    target = f"/api/workflows/{name}" + ("" if header else f"?limit=1&{parameter}=DELETE")

    effect = effect_of(method, target, headers)

    assert Action.WRITE in effect.actions
    assert effect.names(Action.WRITE) == {name}
    assert not effect.is_documented


@pytest.mark.parametrize("header", ["X-Original-URL", "x_rewrite_url", "X-Forwarded-Path", "X-Original-Uri"])
@pytest.mark.parametrize("address", ["/api/models/suno/run", "https://h/api//models/suno/run?a=1"])
def test_request_that_names_another_path_is_read_as_both(header, address):
    effect = effect_of("POST", "/api/health", ((header, address),))

    assert effect.names(Action.RUN) == {"suno"}
    assert not effect.is_documented


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: each.id)
@given(name=NAMES, query=st.sampled_from(["", "?async=true", "?limit=5&offset=0&status=completed"]))
@example(name="api", query="")
def test_plain_request_is_read_as_nothing_else(operation, name, query):
    path = operation.url_path(dict.fromkeys(operation.path_parameters, name))

    effect = effect_of(operation.method, path + query, (("content-type", "application/json"),))

    own_name = name if operation.path_parameters else ""
    assert effect.readings == {Reading(operation.id, operation.action, own_name)}
    assert effect.actions == {operation.action}
    assert effect.is_documented
    assert effect.is_bounded


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("DELETE", "/api/account"),
        ("PATCH", "/api/workflows"),
        ("POST", "/api/whoami"),
        ("get", "/api/whoami"),
        ("DELETE", "/api/%E0%A4%A"),
    ],
)
def test_unknown_request_may_write(method, target):
    effect = effect_of(method, target)

    assert Action.WRITE in effect.actions
    assert not effect.is_documented


@pytest.mark.parametrize("path", ["/api/" + "%2e/" * 2000, f"/api/workflows/{'.' * 50_000}"])
def test_path_with_too_many_readings_is_not_one_request(path):
    """And is judged in no time."""
    assert not effect_of("GET", path).is_bounded
