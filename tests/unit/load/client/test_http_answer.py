"""Responses of the load client: decoded and parsed on demand."""

import gzip
import json
import tracemalloc
import zlib

import brotli
import pytest

from knouds_harness.body_bounds import MAX_BODY_BYTES, UndecodableBody
from knouds_harness.load.client.http_answer import Answer, Headers

BODY = b'{"prompt": "harbour"}' * 50


def answer(body: bytes = b"", *headers: str, interim: int = 0) -> Answer:
    heads = "HTTP/1.1 103 Early Hints\r\nX: early\r\n\r\n" * interim
    head = "\r\n".join(["HTTP/1.1 200 OK", *headers, "", ""])
    answer = Answer()
    answer.fill(200, (heads + head).encode("latin-1") + body, interim, body)
    return answer


def bare_deflate(body: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compressor.compress(body) + compressor.flush()


ENCODERS = [
    ("gzip", gzip.compress),
    ("deflate", zlib.compress),
    ("deflate", bare_deflate),
    ("br", brotli.compress),
]


@pytest.mark.parametrize(
    ("encoding", "encode"),
    [*ENCODERS, ("gzip, BR", lambda body: brotli.compress(gzip.compress(body))), ("identity", bytes)],
    ids=["gzip", "zlib", "bare deflate", "br", "twice", "unknown"],
)
@pytest.mark.parametrize("interim", [0, 1])
def test_compressed_body_is_decoded(encoding, encode, interim):
    assert answer(encode(BODY), f"Content-Encoding: {encoding}", interim=interim).content == BODY


def test_header_name_in_a_body_is_not_an_encoding():
    assert answer(b"Content-Encoding: gzip").content == b"Content-Encoding: gzip"


@pytest.mark.parametrize(("encoding", "encode"), ENCODERS, ids=["gzip", "zlib", "bare deflate", "br"])
@pytest.mark.parametrize("is_cut_short", [True, False])
def test_broken_compression_raises_undecodable_body(encoding, encode, is_cut_short):
    """A ValueError for every encoding, as broken JSON is."""
    body = encode(BODY)[:-9] if is_cut_short else b"\xff\xff" + encode(BODY)

    with pytest.raises(UndecodableBody):
        _ = answer(body, f"Content-Encoding: {encoding}").content


@pytest.mark.parametrize(("encoding", "encode"), ENCODERS, ids=["gzip", "zlib", "bare deflate", "br"])
def test_decompression_bomb_is_refused(encoding, encode):
    with pytest.raises(UndecodableBody, match="over 4,000,000 bytes once decoded"):
        _ = answer(encode(bytes(5_000_000)), f"Content-Encoding: {encoding}").content


@pytest.mark.parametrize(
    ("content_type", "body", "text"),
    [
        ("text/plain; charset=latin-1", b"\xe4", "ä"),
        ('text/plain; charset="UTF-8"', "ä".encode(), "ä"),
        ("application/json", "ä".encode(), "ä"),
        ("text/plain; charset=nonsense", "ä".encode(), "ä"),
        ("text/plain", b"\xff", "\ufffd"),
    ],
)
def test_text_is_read_by_its_charset(content_type, body, text):
    assert answer(body, f"Content-Type: {content_type}").text == text


def test_json_is_read():
    assert answer(b'{"a": [1]}').json() == {"a": [1]}
    with pytest.raises(ValueError, match="Expecting"):
        answer(b"<html>").json()


MANY_VALUES = {
    "objects": b"[" + b"{}," * 1_300_000 + b"{}]",
    "numbers": b"[" + b"0," * 1_999_000 + b"0]",
    "brackets": b"[" * 3_000_000,
    "member": b'{"rows": [' + b"0," * 100_000 + b"0]}",
}


@pytest.mark.parametrize("body", MANY_VALUES.values(), ids=MANY_VALUES)
@pytest.mark.parametrize(("encoding", "encode"), [("", bytes), *ENCODERS[:1], *ENCODERS[-1:]])
def test_json_of_too_many_values_is_not_parsed(body, encoding, encode):
    answered = answer(encode(body), f"Content-Encoding: {encoding}")
    tracemalloc.start()

    with pytest.raises(ValueError, match="holds over 100,000 values"):
        answered.json()

    assert tracemalloc.get_traced_memory()[1] < 6 * MAX_BODY_BYTES
    tracemalloc.stop()


def test_long_json_of_few_values_is_read():
    body = b'{"image": "' + b"A" * 3_900_000 + b'"}'

    assert len(answer(body).json()["image"]) == 3_900_000


@pytest.mark.parametrize(
    "body",
    [
        rb'"\ud800"',
        b"\xef\xbb\xbf{}",
        b"NaN",
        b"1e400",
        b"4.35",
        b"12345678901234567890123",
        b'{"a": 1, "a": 2}',
    ],
)
def test_json_is_read_as_python_reads_it(body):
    assert repr(answer(body).json()) == repr(json.loads(body))


@pytest.mark.parametrize("interim", [0, 1, 2])
def test_headers_are_those_of_the_final_answer(interim):
    """Looked up by name in any case; headers of interim responses do not count."""
    headers = answer(b"a: b\r\n\r\nc: d", "X-A: 1", "x-a:2 ", "X-B:", interim=interim).headers

    assert dict(headers) == {"x-a": "1, 2", "x-b": ""}
    assert (headers["X-a"], headers.get("x"), "X-B" in headers, len(headers)) == ("1, 2", None, True, 2)
    assert (headers.get_all("X-A"), headers.get_all("x-c")) == (["1", "2"], [])
    assert dict(Answer().headers) == dict(Headers(b"")) == {}
