"""Bodies are read as JSON strictly, and never with a traceback."""

import sys

import pytest
from exchanges import exchange


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "the body is empty"),
        (b"<html>", "the body is not JSON"),
        (b'{"a": NaN}', "NaN is not a JSON value"),
        (b"[Infinity]", "Infinity is not a JSON value"),
        (b'{"a": "\xff"}', "not UTF-8"),
        ('{"a": 1}'.encode("utf-16"), "not UTF-8"),
        (b"\xef\xbb\xbf{}", "the body is not JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b"[" * 201 + b"]" * 201, "nested too deeply"),
        (b"[" + b"0," * 200_000 + b"0]", "over 100,000 values"),
        (b'{"a": ' * 300 + b"1" + b"}" * 300, "nested too deeply"),
        (b"1" * 5_000, "not JSON"),
        (b"{} {}", "the body is not JSON"),
    ],
)
def test_what_is_no_json_says_why(body: bytes, says: str):
    answer = exchange(200, raw=body)

    with pytest.raises(ValueError, match=says):
        answer.json()

    assert answer.json_or_none() is None
    assert answer.code is None


@pytest.mark.parametrize(
    "body", [b"[" * 200 + b"]" * 200, b"[" + b"[[]], " * 500 + b"1]", b'"' + b"[" * 900 + b'"']
)
def test_many_brackets_are_no_deep_nesting(body: bytes):
    assert exchange(200, raw=body).json() is not None


@pytest.mark.parametrize(
    ("body", "code"),
    [({"code": "X"}, "X"), ({"code": 5}, None), ({"error": "x"}, None), (["code"], None), (None, None)],
)
def test_code_is_the_text_in_an_error_body(body: object, code: str | None):
    assert exchange(400, body).code == code


@pytest.mark.parametrize(
    ("written", "read"),
    [("4.0", 4), ("-0.0", 0), ("4e2", 400), ("4.5", 4.5), ("1e400", sys.float_info.max)],
)
def test_number_is_what_it_stands_for(written, read):
    """A whole number may have a fraction of zeros, and none is beyond all doubles."""
    value = exchange(raw=written.encode()).json()

    assert (value, type(value)) == (read, type(read))


def test_repeated_headers_are_joined():
    answer = exchange(200, {}, headers={"X-RateLimit-Limit": "5", "x-ratelimit-limit": "6"})

    assert answer.header("X-RATELIMIT-LIMIT") == "5, 6"
