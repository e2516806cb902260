"""An HTTP response, parsed only on demand."""

import codecs
import json
from collections.abc import Iterator, Mapping
from email.message import Message
from functools import lru_cache
from typing import Any, NamedTuple

from pydantic_core import from_json

from knouds_harness.body_bounds import MAX_VALUES, UndecodableBody, decoded, has_too_many_values

_NOTHING = object()
Wire = tuple[float, float, float, int, int]


class Headers(Mapping[str, str]):
    """Header fields by case-insensitive name; the values of a repeated field are joined by commas."""

    def __init__(self, head: bytes) -> None:
        self._fields = [_field(line) for line in head.decode("latin-1").split("\r\n")[1:] if ":" in line]
        self._values = dict(self._fields)
        if len(self._values) < len(self._fields):
            self._values = {name: ", ".join(self.get_all(name)) for name in self._values}

    def __getitem__(self, name: str) -> str:
        return self._values[name.lower()]

    def __contains__(self, name: object) -> bool:  # Mapping's own raises and catches an exception
        return isinstance(name, str) and name.lower() in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def get_all(self, name: str) -> list[str]:
        """Each value of a field, in order; empty without the field."""
        return [value for each, value in self._fields if each == name.lower()]


@lru_cache(maxsize=1024)
def _field(line: str) -> tuple[str, str]:
    """Split a header line; cached, as most lines repeat those of the response before."""
    name, _, value = line.partition(":")
    return name.lower(), value.strip(" \t")


class Opening(NamedTuple):
    """Times to open a connection; ``dns_ms`` is None for an IP address, ``tls_ms`` for plain HTTP."""

    dns_ms: float | None
    connect_ms: float
    tls_ms: float | None


class Answer:
    """The response to one request.

    Attributes:
        status_code: The final status; 0 if none came.
        raw_head: The head as it was sent; ``interim`` heads of 1xx precede the final one in it.
        raw_body: The body as it was sent, before any ``Content-Encoding`` is undone.
        is_strict_json: Whether ``json`` found strict JSON; it accepts NaN and UTF-16 too.
        arrived_at: When its last bytes were read, on ``time.perf_counter``'s clock.
        opening: How the connection was opened for the request; None if one was reused.
        wire: When the request was written, and when the first and the last bytes of the response were read,
            on the same clock; then the bytes sent and the bytes received. One tuple, as that is cheap; zeros
            if the connection broke while the request was written.
    """

    status_code = 0
    arrived_at = 0.0
    opening: Opening | None = None
    wire: Wire = (0.0, 0.0, 0.0, 0, 0)
    raw_body = b""
    is_strict_json = False
    raw_head = b""
    interim = 0
    _headers: Headers | None = None
    _content: bytes | None = None
    _undecodable = ""
    _parsed: Any = _NOTHING

    def fill(self, status_code: int, raw_head: bytes, interim: int, raw_body: bytes) -> None:
        self.status_code = status_code
        self.raw_head = raw_head
        self.interim = interim
        self.raw_body = raw_body

    @property
    def ok(self) -> bool:
        """Whether there is a status below 400."""
        return 0 < self.status_code < 400

    @property
    def headers(self) -> Headers:
        if self._headers is None:
            self._headers = Headers(self.raw_head.split(b"\r\n\r\n", self.interim + 1)[self.interim])
        return self._headers

    @property
    def content(self) -> bytes:
        """The body, decoded; raises ``UndecodableBody`` if it is not what ``Content-Encoding`` says."""
        if self._undecodable:
            raise UndecodableBody(self._undecodable)
        if self._content is None:
            # Cheaper to tell than by parsing the fields.
            end = self.raw_head.find(b"\r\n\r\n")
            if self.interim or b"content-encoding" in self.raw_head[:end].lower():
                encoding = self.headers.get("content-encoding", "")
                try:
                    self._content = self.raw_body and decoded(self.raw_body, encoding)
                except UndecodableBody as error:  # kept, as decoding again may take long
                    self._undecodable = str(error)
                    raise
            else:
                self._content = self.raw_body
        return self._content

    @property
    def text(self) -> str:
        """The body as text, in the charset of the response or UTF-8; what cannot be decoded is replaced."""
        return self.content.decode(_charset(self.headers.get("content-type", "")), "replace")

    def json(self) -> Any:  # noqa: ANN401 - it is what the server sent
        """Parse the body as JSON; returns the same object each time.

        Raises:
            ValueError: It is not JSON, is nested too deeply, or holds too many values.
        """
        if self._parsed is _NOTHING:
            self._parsed = self._read()
        return self._parsed

    def _read(self) -> Any:  # noqa: ANN401 - it is what the server sent
        # A body that begins like JSON and parses as JSON was not encoded: no need to look for an encoding.
        content = self.raw_body if self.raw_body[:1] == b"{" else self.content
        try:
            read = from_json(_bounded(content), allow_inf_nan=False)  # five times as fast, and strict
            self.is_strict_json = True
        except ValueError:
            try:
                return json.loads(_bounded(self.content))
            except RecursionError as error:
                raise ValueError("the body is nested too deeply") from error
        return read


def _bounded(content: bytes) -> bytes:
    if has_too_many_values(content):
        raise ValueError(f"the body holds over {MAX_VALUES:,} values")
    return content


def _charset(content_type: str) -> str:
    message = Message()
    message["content-type"] = content_type
    try:
        return codecs.lookup(message.get_content_charset("utf-8")).name
    except LookupError:
        return "utf-8"


class TransportFailure(Exception):
    """A request got no response; the message names no port or time, so that equal failures group."""

    may_have_arrived = True
    """Part of the request was sent, so a paid run may have been started, and charged."""


class NotConnected(TransportFailure):
    """No connection, so nothing was sent."""

    may_have_arrived = False


class ConnectionLost(TransportFailure):
    """The connection broke before the response was complete."""


class TimedOut(TransportFailure):
    """The response was not complete in time."""


class BadAnswer(TransportFailure):
    """The response is not HTTP/1.1, or too long."""
