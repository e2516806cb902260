"""Read exchanges from any HAR 1.2 file: of a browser, of a proxy or our own.

The exchanges are not redacted yet; ``TrafficRedactor`` does that before anything is kept.
"""

import base64
import binascii
import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit

from pydantic import BaseModel, Field, ValidationError

from knouds_harness.errors import UsageError
from knouds_harness.exchange.evidence import Exchange, Pairs, Request
from knouds_harness.exchange.traffic.har import from_entry
from knouds_harness.files import file_content

_BODILESS: Final = frozenset({204, 205})


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
    text: Any = None
    encoding: str | None = None
    size: float | None = None
    params: list[_NameValue] | None = None


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


def read_traffic(path: Path) -> list[Recorded]:
    """Read every entry of a HAR file; ids are positions in the file, from ``x00001``.

    Raises:
        UsageError: The file cannot be read, is empty, truncated or not HAR; the message says where.
    """
    recorded = []
    for number, entry in enumerate(_entries(path), start=1):
        try:
            recorded.append(_recorded(entry, f"x{number:05d}"))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            reason = "its URL or a body is damaged"
            if isinstance(error, ValidationError):
                first = error.errors(include_input=False, include_url=False)[0]
                place = ".".join(str(part) for part in first["loc"]) or "it"
                reason = f"{place}: {first['msg'].lower()}"
            raise _refused(path, f"is not a valid HAR file: entry {number}: {reason}") from None
    return recorded


def _entries(path: Path) -> list[Any]:
    try:
        content = file_content(path)
        if not content.strip():
            raise _refused(path, "is empty")
        har = json.loads(content.decode("utf-8-sig"))
    except OSError as error:
        raise _refused(path, f"cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise _refused(path, f"is cut short or not a HAR file: {error}") from None
    log = har.get("log") if isinstance(har, dict) else None
    entries = log.get("entries") if isinstance(log, dict) else None
    if not isinstance(entries, list):
        raise _refused(path, "is not a HAR file: it is JSON without log.entries")
    if not entries:
        raise _refused(path, "holds no exchanges")
    return entries


def _refused(path: Path, why: str) -> UsageError:
    return UsageError(f"{path}: {why}\n  Export the traffic again, as HAR with content.")


def _recorded(raw: Any, exchange_id: str) -> Recorded:  # noqa: ANN401 - whatever the file holds
    if isinstance(raw, dict) and "_request" in raw:
        return Recorded(exchange=replace(from_entry(raw), id=exchange_id), is_ours=True)
    entry = _Entry.model_validate(raw)
    asked, answer = entry.request, entry.response
    address = urlsplit(asked.url)
    _ = address.port  # raises if it is invalid
    body = _bytes(answer.content)
    started_at = entry.started_at
    exchange = Exchange(
        id=exchange_id,
        request=Request(
            method=asked.method.upper(),
            path=address.path or "/",
            query=tuple(parse_qsl(address.query, keep_blank_values=True)),
            body=_bytes(asked.body) if asked.body else None,
        ),
        url=asked.url,
        sent_headers=_pairs(asked.headers),
        status=answer.status if answer.status > 0 else None,
        headers=_pairs(answer.headers),
        body=body or b"",
        started_at=started_at if started_at.tzinfo else started_at.replace(tzinfo=UTC),
        elapsed_ms=max(entry.elapsed_ms or 0.0, 0.0),
    )
    return Recorded(exchange=exchange, obstacle=_obstacle(raw, answer, exchange, body))


def _obstacle(raw: dict[str, Any], answer: _Answer, exchange: Exchange, body: bytes | None) -> str | None:
    if exchange.status is None:
        return "no answer recorded"
    if exchange.status == 304 or raw.get("_fromCache") or raw.get("fromCache"):
        return "answered from a cache"
    size = answer.content.size or 0
    if body is None and exchange.status not in _BODILESS and (size > 0 or (answer.body_size or 0) > 0):
        return "body not recorded"
    if body and size > len(body) and exchange.json_or_none() is None:
        return "body not recorded whole"
    return None


def _bytes(body: _Body) -> bytes | None:
    if body.text is None:
        pairs = [(pair.name, pair.value or "") for pair in body.params or ()]
        return urlencode(pairs).encode() if pairs else None
    if not isinstance(body.text, str):
        raise TypeError
    if body.encoding == "base64":
        try:
            return base64.b64decode(body.text, validate=True)
        except binascii.Error:
            return base64.b64decode("".join(body.text.split()), validate=True)  # wrapped lines
    return body.text.encode("utf-8", "surrogatepass")


def _pairs(pairs: list[_NameValue]) -> Pairs:
    return tuple((pair.name, pair.value or "") for pair in pairs if not pair.name.startswith(":"))
