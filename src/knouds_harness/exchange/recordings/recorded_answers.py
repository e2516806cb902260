"""Serve recordings to the tests of a client, as an httpx transport or as respx routes."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from knouds_harness.errors import RecordingError
from knouds_harness.exchange.recordings.recording import Recording, read_recordings
from knouds_harness.locations import recordings_path

if TYPE_CHECKING:
    import respx

_Asked = tuple[str, str, tuple[tuple[str, str], ...]]


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
    found = {each.name: each for each in read_recordings(path)}
    if not found:
        raise RecordingError(f"{path}: holds no recordings")
    return found


class RecordedTransport(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """Answers the requests of an httpx client with recordings, each one once, in the given order.

    A request gets the recorded response for its method, path and query. Host, headers and body are ignored.
    """

    def __init__(self, *recordings: Recording) -> None:
        """Serve these recordings.

        Raises:
            RecordingError: One is a webhook delivery, which no client requests.
        """
        self._left: dict[_Asked, list[Recording]] = defaultdict(list)
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
        asked = f"{request.method} {request.url.raw_path.decode()}"
        answers = self._left.get(_asked(request.method, request.url))
        if answers is None:
            known = sorted({_shown(*each) for each in self._left})
            raise AssertionError(f"{asked}: not recorded; there are {', '.join(known)}")
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


def _asked(method: str, url: httpx.URL) -> _Asked:
    return method, url.raw_path.partition(b"?")[0].decode(), tuple(sorted(url.params.multi_items()))


def _shown(method: str, path: str, query: tuple[tuple[str, str], ...]) -> str:
    return f"{method} {path}{'?' if query else ''}{httpx.QueryParams(query)}"
