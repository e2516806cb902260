"""Recordings: redacted exchanges as files, one for each operation and outcome.

``knouds-harness record`` writes them. They must not be edited by hand: each has a checksum of its content.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import quote, urlencode

import httpx

from knouds_harness.errors import RecordingError
from knouds_harness.exchange.evidence import Exchange, Pairs, Request
from knouds_harness.files import file_text, replace_file
from knouds_harness.locations import recordings_path

if TYPE_CHECKING:
    import respx


FORMAT: Final = 1
BASE_URL: Final = "https://recorded.example"
"""Replaces the address of the target; no such host exists."""
TEST_SECRET: Final = "whsec_signs_recordings_and_is_no_secret"  # noqa: S105 - as it says
"""Signs recorded deliveries, instead of the original secret."""
BUILT_IN: Final = "built-in sandbox"
"""The value of ``RecordingOrigin.server`` for the sandbox that the harness started itself."""
_LONG: Final = 10_000
_AS_THEY_ARE: Final = ("kind", "operation", "outcome", "says", "story")

Kind = Literal["answer", "delivery"]


@dataclass(frozen=True, kw_only=True)
class RecordingOrigin:
    """Where a recording comes from; its server is ``BUILT_IN``, or ``BASE_URL`` for any other."""

    target: str
    server: str
    recorded_at: datetime
    contract_version: str
    tool_version: str
    seed: int


@dataclass(frozen=True, kw_only=True)
class Recording:
    """One outcome of one operation.

    Attributes:
        outcome: Such as ``legacy``; with the operation, it identifies what was provoked, for any status.
        says: How it was provoked, in one sentence.
        exchange: The exchange without secrets. The request of a delivery is the target's, signed again with
            ``TEST_SECRET``.
        story: Recordings of one story share ids, and are recorded again together; None for a single one.
        checks: Ids of checks that judged it, other than those that judge every exchange.
        held: The capabilities of the sent key according to the profile; None without a known key.
    """

    operation: str
    outcome: str
    says: str
    exchange: Exchange
    kind: Kind = "answer"
    story: str | None = None
    facts: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()
    held: tuple[str, ...] | None = None
    tier: str | None = None
    origin: RecordingOrigin

    @property
    def key(self) -> tuple[str, str]:
        """Operation and outcome, unique together."""
        return self.operation, self.outcome

    @property
    def name(self) -> str:
        """The name of the file without its suffix: ``getWhoami-401-legacy``."""
        return f"{self.operation}-{self.exchange.status}-{self.outcome}"


def write_recording(folder: Path, recording: Recording) -> Path:
    """Write one recording; an existing file is replaced atomically."""
    path = folder / f"{recording.name}.json"
    content = as_content(recording)
    content["sha256"] = _checksum(content)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        replace_file(folder, path.name, f"{json.dumps(content, indent=2, ensure_ascii=False)}\n".encode())
    except OSError as problem:
        raise RecordingError(f"{path}: cannot be written: {problem.strerror or problem}") from problem
    return path


def read_recording(path: Path, *, contract_version: str | None = None) -> Recording:
    """Read one recording.

    Raises:
        RecordingError: It cannot be read, is truncated or not JSON, was edited or renamed by hand, or has
            another format or contract version.
    """
    try:
        content = json.loads(file_text(path))
        if (version := content["format"]) != FORMAT:
            raise _refused(path, f"has format {version!r}, but this harness reads {FORMAT}")
        if content.pop("sha256", None) != _checksum(content):
            raise _refused(path, "was edited by hand: its checksum does not match")
        recording = _from_content(content)
    except OSError as problem:
        raise _refused(path, f"cannot be read: {problem.strerror or problem}") from problem
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as problem:
        said = f"{type(problem).__name__}: {problem}"
        raise _refused(path, f"is cut short or not a recording ({said})") from None
    if path.stem != recording.name:
        raise _refused(path, f"was renamed by hand: it holds {recording.name}")
    recorded = recording.origin.contract_version
    if contract_version is not None and recorded != contract_version:
        raise _refused(path, f"is of contract version {recorded}, but the document is {contract_version}")
    return recording


def _refused(path: Path, why: str) -> RecordingError:
    command = f"knouds-harness record --update --folder {path.parent} --outcome {path.stem}"
    return RecordingError(f"{path}: {why}\n  Record it again from its target (--target): {command}")


def _checksum(content: Mapping[str, Any]) -> str:
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def as_content(recording: Recording) -> dict[str, Any]:
    """Return a recording as the JSON of its file, without the checksum."""
    exchange, origin = recording.exchange, recording.origin
    request = exchange.request
    return {
        "format": FORMAT,
        **{name: getattr(recording, name) for name in _AS_THEY_ARE},
        "facts": list(recording.facts),
        "checks": list(recording.checks),
        "origin": {**asdict(origin), "recorded_at": origin.recorded_at.isoformat()},
        "request": {
            "method": request.method,
            "path": request.path,
            "path_values": dict(request.path_values),
            "query": [list(pair) for pair in request.query],
            "persona": request.persona,
            "held": None if recording.held is None else list(recording.held),
            "tier": recording.tier,
            "action": request.action,
            "headers": _lines(request.headers),
            "sent_headers": _lines(exchange.sent_headers),
            "body": None if request.body is None else _as_text(request.body),
        },
        "response": {
            "status": exchange.status,
            "headers": _lines(exchange.headers),
            "body": _as_text(exchange.body),
            "elapsed_ms": round(exchange.elapsed_ms, 3),
        },
    }


def _from_content(content: Mapping[str, Any]) -> Recording:
    asked, answered, origin = content["request"], content["response"], content["origin"]
    recorded_at = datetime.fromisoformat(origin["recorded_at"])
    query = tuple((name, value) for name, value in asked["query"])
    tail = f"?{urlencode(query, quote_via=quote)}" if query else ""
    return Recording(
        **{name: content[name] for name in _AS_THEY_ARE},
        facts=tuple(content["facts"]),
        checks=tuple(content["checks"]),
        held=None if asked["held"] is None else tuple(asked["held"]),
        tier=asked["tier"],
        origin=RecordingOrigin(**{**origin, "recorded_at": recorded_at}),
        exchange=Exchange(
            id="r00001",
            request=Request(
                method=asked["method"],
                path=asked["path"],
                path_values=asked["path_values"],
                query=query,
                persona=asked["persona"],
                headers=_headers(asked["headers"]),
                body=None if asked["body"] is None else _as_bytes(asked["body"]),
                operation_id=content["operation"] if content["kind"] == "answer" else None,
            ),
            url=f"{BASE_URL}{asked['path']}{tail}",
            sent_headers=_headers(asked["sent_headers"]),
            status=answered["status"],
            headers=_headers(answered["headers"]),
            body=_as_bytes(answered["body"]),
            started_at=recorded_at,
            elapsed_ms=answered["elapsed_ms"],
            is_delivery=content["kind"] == "delivery",
        ),
    )


def _as_text(body: bytes) -> str | dict[str, str | int]:
    if len(body) > _LONG and len(set(body)) == 1:  # a body that is too long on purpose
        return {"byte": body[0], "times": len(body)}
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(body).decode()}


def _as_bytes(body: str | dict[str, Any]) -> bytes:
    if isinstance(body, str):
        return body.encode()
    return bytes([body["byte"]]) * body["times"] if "byte" in body else base64.b64decode(body["base64"])


def _lines(headers: Pairs) -> list[str]:
    return [f"{name}: {value}" for name, value in headers]


def _headers(lines: list[str]) -> Pairs:
    return tuple((name, value) for name, _, value in (line.partition(": ") for line in lines))


def load_recordings(folder: Path | str | None = None) -> dict[str, Recording]:
    """Read the recordings of a folder.

    Args:
        folder: A folder written by ``knouds-harness record --folder``; None for the recordings that ship with
            the harness.

    Returns:
        The recordings by name, such as ``getWhoami-401-legacy``.

    Raises:
        RecordingError: There are none, or one was edited, renamed or truncated.
    """
    path = recordings_path() if folder is None else Path(folder)
    recordings = [read_recording(each) for each in sorted(path.glob("*.json"))]
    if not recordings:
        raise RecordingError(f"{path}: holds no recordings")
    return {each.name: each for each in recordings}


class RecordedTransport(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """Answers the requests of an httpx client with recordings, each one once, in the given order.

    A request gets the recorded response for its method, path and query. Host, headers and body are ignored.
    """

    def __init__(self, *recordings: Recording) -> None:
        """Serve these recordings.

        Raises:
            RecordingError: One is a webhook delivery, which no client requests.
        """
        self._left: dict[str, list[Recording]] = defaultdict(list)
        for each in recordings:
            if each.kind == "delivery":
                raise RecordingError(f"{each.name}: is a webhook delivery, which no client requests")
            self._left[_asked(each.exchange.request.method, httpx.URL(each.exchange.url))].append(each)

    @property
    def unused(self) -> tuple[str, ...]:
        """The names of the recordings that have not been requested yet."""
        return tuple(each.name for answers in self._left.values() for each in answers)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Answer one request.

        Raises:
            AssertionError: The request was not recorded, or its recordings are used up.
        """
        asked = _asked(request.method, request.url)
        answers = self._left.get(asked)
        if answers is None:
            raise AssertionError(f"{asked}: not recorded; there are {', '.join(sorted(self._left))}")
        if not answers:
            raise AssertionError(f"{asked}: sent more often than recorded")
        exchange = answers.pop(0).exchange
        headers = [(name.encode(), value.encode("latin-1")) for name, value in exchange.headers]
        return httpx.Response(exchange.status or 0, headers=headers, content=exchange.body)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer one request of an ``httpx.AsyncClient``, as ``handle_request`` does."""
        return self.handle_request(request)


def add_recorded_routes(router: respx.Router, *recordings: Recording) -> None:
    """Add a route for each recorded request to a respx router; it answers like ``RecordedTransport``.

    Raises:
        RecordingError: One is a webhook delivery, which no client requests.
    """
    transport = RecordedTransport(*recordings)
    for each in recordings:
        url = httpx.URL(each.exchange.url)
        router.route(method=each.exchange.request.method, path=url.path, params__eq=url.params).mock(
            side_effect=transport.handle_request
        )


def _asked(method: str, url: httpx.URL) -> str:
    """Return what is compared of a request; the parameters of its query may come in any order."""
    query = httpx.QueryParams(sorted(url.params.multi_items()))
    return f"{method} {url.raw_path.partition(b'?')[0].decode()}{'?' if query else ''}{query}"
