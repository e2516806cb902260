"""Bodies are read as strict JSON, and every failure is a ValueError."""

import sys
from dataclasses import replace

import pytest
from exchanges import exchange

from knouds_harness.body_bounds import KEPT_BYTES
from knouds_harness.exchange.har import KeptBodies

PAGE, JSON, NONE = {"content-type": "text/html"}, {"content-type": "application/json"}, {"content-type": ""}


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
def test_invalid_json_says_why(body: bytes, says: str):
    answer = exchange(200, raw=body)

    with pytest.raises(ValueError, match=says):
        answer.json()

    assert answer.json_or_none() is None
    assert answer.code is None


@pytest.mark.parametrize(
    "body", [b"[" * 200 + b"]" * 200, b"[" + b"[[]], " * 500 + b"1]", b'"' + b"[" * 900 + b'"']
)
def test_many_brackets_are_not_deep_nesting(body: bytes):
    assert exchange(200, raw=body).json() is not None


@pytest.mark.parametrize(
    ("written", "read"), [("4.0", 4), ("-0.0", 0), ("4e2", 400), ("4.5", 4.5), ("1e400", sys.float_info.max)]
)
def test_number_is_read_by_its_value(written, read):
    """Whole numbers become ints, also with a fraction of zeros; a huge one becomes the largest double."""
    value = exchange(raw=written.encode()).json()

    assert (value, type(value)) == (read, type(read))


def test_kept_bodies_are_bounded():
    """Each is cut, to fewer bytes once there are many; none is kept parsed, which takes ten times as much."""
    long, bodies = exchange(200, raw=b"x" * 1_000_000), KeptBodies()
    parsed = exchange(200, {"a": ["x"] * 1_000})
    parsed.json()

    sizes = [len(bodies.kept(long).body) for _ in range(1_000)]
    kept = KeptBodies().kept(parsed)

    assert (sizes[0], sizes[-1]) == (KEPT_BYTES, 1_000)
    assert sum(sizes) < 34_000_000
    assert kept == parsed
    assert "_kept_parsed" not in vars(kept)


@pytest.mark.parametrize(
    ("method", "status", "headers", "raw", "is_outside"),
    [
        ("GET", 503, PAGE, b"no healthy upstream", True),
        ("GET", 503, JSON, b'{"error": "Later."}', False),
        ("GET", 404, PAGE, b"not here", False),
        ("HEAD", 503, PAGE, b"", True),
        ("HEAD", 503, JSON, b"", False),
        ("HEAD", 403, NONE, b"", False),
        ("HEAD", 404, PAGE, b"", False),
    ],
)
def test_answer_from_outside_has_no_envelope(method, status, headers, raw, is_outside):
    answered = exchange(status, headers=headers, raw=raw)

    asked = replace(answered.request, method=method)
    assert replace(answered, request=asked).is_from_outside == is_outside
