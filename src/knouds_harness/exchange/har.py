"""Write exchanges as HAR 1.2 to a file that is valid JSON after every entry, and read any HAR file.

Members that begin with an underscore hold what HAR has no member for, as its specification allows.
"""

import base64
import json
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from io import FileIO
from itertools import islice
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from pydantic import BaseModel, Field, ValidationError

from knouds_harness.body_bounds import KEPT_BYTES
from knouds_harness.contract.document import shipped_document
from knouds_harness.errors import UsageError
from knouds_harness.exchange.alterations import Alteration
from knouds_harness.exchange.evidence import Exchange, Pairs, Request
from knouds_harness.files import OwnsFile, file_lines, file_text, new_file

_MOST_KEPT_BYTES = 32_000_000
_LEAST_KEPT_BYTES = 1000
_OF_OURS = ("persona", "action", "cost_credits", "path", "query", "headers")
_OF_OUR_ENTRY = ("id", "failure", "is_lost", "is_delivery", "alteration")
_HEAD = (
    b'{"log": {"version": "1.2", "creator": {"name": "knouds-harness", "version": "1"}, '
    b'"pages": [], "entries": [\n'
)
_TAIL = b"\n]}}\n"


class KeptBodies:
    """Truncates bodies that are kept: to ``KEPT_BYTES``, or to 1,000 bytes once all together take 32 MB."""

    def __init__(self) -> None:
        self._left_bytes = _MOST_KEPT_BYTES

    def kept(self, exchange: Exchange) -> Exchange:
        """Return the exchange with its body truncated; the copy does not keep a parsed body."""
        if len(exchange.body) <= _LEAST_KEPT_BYTES:
            return exchange
        most_bytes = KEPT_BYTES if self._left_bytes > 0 else _LEAST_KEPT_BYTES
        self._left_bytes -= min(len(exchange.body), most_bytes)
        return replace(exchange, body=exchange.body[:most_bytes])


class HarWriter(OwnsFile):
    """Appends exchanges to a HAR file that stays readable even if the run is killed.

    Each entry is one line, written together with the end of the document, which the next entry overwrites.
    """

    _file: FileIO

    def __init__(self, path: Path) -> None:
        self._file = new_file(path.parent, path.name)
        self._separator = b""
        self._end = len(_HEAD)
        self._write(_HEAD)

    def add(self, exchange: Exchange) -> None:
        """Append one exchange; if that fails, as on a full disk, earlier entries stay readable."""
        entry = self._separator + json.dumps(to_entry(exchange)).encode()
        self._file.seek(self._end)
        try:
            self._write(entry)
        except OSError:
            self._file.seek(self._end)
            self._file.truncate()
            self._file.write(_TAIL)  # fits: the file had it before
            raise
        self._end += len(entry)
        self._separator = b",\n"

    def _write(self, data: bytes) -> None:
        rest = memoryview(data + _TAIL)
        while rest:
            rest = rest[self._file.write(rest) :]


def read_har(path: Path) -> list[Exchange]:
    """Read exchanges that ``HarWriter`` wrote, up to the first broken line; long bodies are truncated."""
    exchanges, bodies = [], KeptBodies()
    for line in islice(file_lines(path), 1, None):
        try:
            exchanges.append(bodies.kept(from_entry(json.loads(line.rstrip(b",\n")))))
        except (ValueError, TypeError, RecursionError):
            break
    return exchanges


def to_entry(exchange: Exchange) -> dict[str, Any]:
    request = exchange.request
    content_type = exchange.header("content-type") or ""
    sent_type = ", ".join(value for name, value in exchange.sent_headers if name.lower() == "content-type")
    return {
        "_id": exchange.id,
        "startedDateTime": exchange.started_at.isoformat(),
        "time": exchange.elapsed_ms,
        "request": {
            "method": request.method,
            "url": exchange.url,
            "httpVersion": "HTTP/1.1",
            "cookies": [],
            "headers": _named(exchange.sent_headers),
            "queryString": _named(tuple(parse_qsl(urlsplit(exchange.url).query, keep_blank_values=True))),
            "headersSize": -1,
            "bodySize": len(request.body or b""),
            **({} if request.body is None else {"postData": _content(request.body, sent_type)}),
        },
        "response": {
            "status": exchange.status or 0,
            "statusText": "",
            "httpVersion": "HTTP/1.1",
            "cookies": [],
            "headers": _named(exchange.headers),
            "content": {"size": len(exchange.body), **_content(exchange.body, content_type)},
            "redirectURL": exchange.header("location") or "",
            "headersSize": -1,
            "bodySize": len(exchange.body),
        },
        "cache": {},
        "timings": {"send": 0, "wait": exchange.elapsed_ms, "receive": 0},
        "_failure": exchange.failure,
        **({"_is_lost": True} if exchange.is_lost else {}),
        **({"_is_delivery": True} if exchange.is_delivery else {}),
        **({"_alteration": asdict(exchange.alteration)} if exchange.alteration else {}),
        "_request": {
            "operation": request.operation_id,
            **{name: getattr(request, name) for name in _OF_OURS},
            "path_values": dict(request.path_values),
        },
    }


def _content(body: bytes, content_type: str) -> dict[str, str]:
    try:
        return {"mimeType": content_type, "text": body.decode("utf-8")}
    except UnicodeDecodeError:
        return {"mimeType": content_type, "text": base64.b64encode(body).decode(), "encoding": "base64"}


def _named(pairs: Pairs) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in pairs]


_BODILESS: Final = frozenset({204, 205})
NO_BODY: Final = "body not recorded"


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """One entry of a HAR file.

    Attributes:
        is_ours: Whether this harness sent the request, so the entry also has operation and persona.
        obstacle: Why the response cannot be judged; None if it can.
    """

    exchange: Exchange
    is_ours: bool = False
    obstacle: str | None = None


class _NameValue(BaseModel):
    name: str
    value: str | None = ""


class _Body(BaseModel):
    text: str | None = None
    encoding: str | None = None
    size: float | None = None


class _Request(BaseModel):
    method: str
    url: str
    headers: list[_NameValue]
    body: _Body | None = Field(default=None, alias="postData")


class _Answer(BaseModel):
    status: int
    headers: list[_NameValue]
    content: _Body = _Body()
    body_size: float | None = Field(default=None, alias="bodySize")


class _Entry(BaseModel):
    started_at: datetime = Field(alias="startedDateTime")
    elapsed_ms: float | None = Field(default=0.0, alias="time")
    request: _Request
    response: _Answer


class _OwnRequest(BaseModel):
    operation_id: str | None = Field(alias="operation")
    persona: str | None
    path: str
    path_values: dict[str, str]
    query: Pairs
    headers: Pairs
    cost_credits: float


class _OwnEntry(_Entry):
    id: str = Field(alias="_id")
    sent: _OwnRequest = Field(alias="_request")
    failure: str | None = Field(alias="_failure")
    is_lost: bool = Field(default=False, alias="_is_lost")
    is_delivery: bool = Field(default=False, alias="_is_delivery")
    alteration: Alteration | None = Field(default=None, alias="_alteration")


def from_entry(raw: Any) -> Exchange:  # noqa: ANN401 - whatever the file holds
    """Make an exchange from a HAR entry of ``to_entry``; raise ValueError if it was damaged since."""
    entry = _OwnEntry.model_validate(raw)
    exchange = _exchange(entry)
    request = replace(exchange.request, method=entry.request.method, **dict(entry.sent))
    return replace(exchange, request=request, **{name: getattr(entry, name) for name in _OF_OUR_ENTRY})


def _exchange(entry: _Entry) -> Exchange:
    asked, answer, started_at = entry.request, entry.response, entry.started_at
    _ = urlsplit(asked.url).port  # raises if it is invalid
    return Exchange(
        id="",
        request=observed_request(asked.method.upper(), asked.url, _bytes(asked.body) if asked.body else None),
        url=asked.url,
        sent_headers=_header_pairs(asked.headers),
        status=answer.status if answer.status > 0 else None,
        headers=_header_pairs(answer.headers),
        body=_bytes(answer.content) or b"",
        started_at=started_at if started_at.tzinfo else started_at.replace(tzinfo=UTC),
        elapsed_ms=max(entry.elapsed_ms or 0.0, 0.0),
    )


def observed_request(method: str, url: str, body: bytes | None, *, base_path: str = "") -> Request:
    """Return what another client sent, as a request to the operation that the document has there, if any.

    ``base_path`` is what stands before the paths of the document.
    """
    target = url.partition("://")[2].partition("/")[2]  # any text may be sent as one
    path, _, query = f"/{target}".partition("#")[0].partition("?")
    path = path.removeprefix(base_path)
    operation, path_values = shipped_document().recognise(method, path) or (None, {})
    return Request(
        method=method,
        path=path,
        query=tuple(parse_qsl(query, keep_blank_values=True)),
        body=body,
        operation_id=operation.id if operation else None,
        path_values=path_values,
    )


def read_traffic(path: Path) -> list[Recorded]:
    """Read every entry of a HAR file; ids are positions in the file, from ``x00001``.

    Raises:
        UsageError: The file cannot be read, is empty, truncated or not HAR; the message says where.
    """
    recorded = []
    for number, entry in enumerate(_entries(path), start=1):
        try:
            recorded.append(_recorded(entry, f"x{number:05d}"))
        except (TypeError, ValueError) as error:
            reason = "its URL or a body is damaged"
            if isinstance(error, ValidationError):
                first = error.errors(include_input=False, include_url=False)[0]
                place = ".".join(str(part) for part in first["loc"]) or "it"
                reason = f"{place}: {first['msg'].lower()}"
            raise _refused(path, f"is not a valid HAR file: entry {number}: {reason}") from None
    return recorded


def _entries(path: Path) -> list[Any]:
    try:
        entries = json.loads(file_text(path))["log"]["entries"]
    except OSError as error:
        raise _refused(path, f"cannot be read: {error.strerror}") from error
    except (LookupError, TypeError):
        raise _refused(path, "is not a HAR file: it is JSON without log.entries") from None
    except (ValueError, RecursionError) as error:
        raise _refused(path, f"is empty, cut short or not a HAR file: {error}") from None
    if not isinstance(entries, list) or not entries:
        raise _refused(path, "holds no exchanges")
    return entries


def _refused(path: Path, why: str) -> UsageError:
    return UsageError(f"{path}: {why}\n  Export the traffic again, as HAR with content.")


def _recorded(raw: Any, exchange_id: str) -> Recorded:  # noqa: ANN401 - whatever the file holds
    if isinstance(raw, dict) and "_request" in raw:
        return Recorded(exchange=replace(from_entry(raw), id=exchange_id), is_ours=True)
    entry = _Entry.model_validate(raw)
    exchange = replace(_exchange(entry), id=exchange_id)
    return Recorded(exchange=exchange, obstacle=_obstacle(raw, entry.response, exchange))


def _obstacle(raw: dict[str, Any], answer: _Answer, exchange: Exchange) -> str | None:
    if exchange.status is None:
        return "no answer recorded"
    if exchange.status == 304 or raw.get("_fromCache") or raw.get("fromCache"):
        return "answered from a cache"
    size, body = answer.content.size or 0, _bytes(answer.content)
    if body is None and exchange.status not in _BODILESS and (size > 0 or (answer.body_size or 0) > 0):
        return NO_BODY
    if body and size > len(body) and exchange.json_or_none() is None:
        return "body not recorded whole"
    return None


def _bytes(body: _Body) -> bytes | None:
    if body.text is not None and body.encoding == "base64":
        return base64.b64decode("".join(body.text.split()), validate=True)  # some wrap its lines
    return None if body.text is None else body.text.encode("utf-8", "surrogatepass")


def _header_pairs(pairs: list[_NameValue]) -> Pairs:
    """Return headers, without what HTTP/2 sends before them."""
    return tuple([_pair(pair.name, pair.value or "") for pair in pairs if not pair.name.startswith(":")])


@lru_cache(maxsize=1024)  # most headers repeat: this halves the memory of a run
def _pair(name: str, value: str) -> tuple[str, str]:
    return name, value
