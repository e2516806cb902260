"""Serve a running load over HTTP, to this machine only: its report, and metrics for Prometheus."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Final
from urllib.parse import unquote

from knouds_harness.errors import RunRecordError, UsageError
from knouds_harness.reporting.html import html
from knouds_harness.reporting.load.live import live_report, waiting_report
from knouds_harness.reporting.openmetrics import live_openmetrics
from knouds_harness.runs.load_progress import LoadProgress
from knouds_harness.runs.load_record import read_results
from knouds_harness.runs.load_results import LOAD_FILE, LoadResults

_HOST: Final = "127.0.0.1"
_OWN_NAMES: Final = {_HOST, "localhost"}
_METRICS_TYPE: Final = "application/openmetrics-text; version=1.0.0; charset=utf-8"
_LAST: Final = "last"
"""The version of the final page; other versions name the run and when its record was written."""
_IS_OPEN_WITHIN_S: Final = 10.0
_FETCHED_WITHIN_S: Final = 10.0
_HELD_S: Final = 8.0
_LOOK_EVERY_S: Final = 0.5


class LiveLoad:
    """The latest state of a load, from its progress and its record, in the forms that are served."""

    def __init__(self) -> None:
        self._progress: LoadProgress | None = None
        self._results: tuple[str, LoadResults | None] = "", None
        self._page = "", ""
        self._lock = Lock()
        self._asked_s = -_IS_OPEN_WITHIN_S
        self._is_over = Event()
        self._is_last_fetched = Event()

    def show(self, progress: LoadProgress) -> None:
        self._progress = progress

    def end(self, page: Path) -> None:
        """Note that the load is over and this page is final; if a browser is open, wait until it has it."""
        with self._lock:
            self._page = _LAST, page.read_text(encoding="utf-8")
        self._is_over.set()
        if time.monotonic() - self._asked_s < _IS_OPEN_WITHIN_S:
            self._is_last_fetched.wait(_FETCHED_WITHIN_S)

    def metrics(self) -> str:
        folder, version = self._written()
        with self._lock:
            if folder and self._results[0] != version:
                self._results = version, read_results(folder, [])
            return live_openmetrics(self._progress, self._results[1])

    def version(self) -> str:
        """Return the version of the page; it changes when the page does."""
        self._asked_s = time.monotonic()
        return _LAST if self._page[0] == _LAST else self._written()[1]

    def next_version(self, shown: str) -> str:
        """Wait some seconds for another version than ``shown``, and return the current one."""
        held_until_s = time.monotonic() + _HELD_S
        while (version := self.version()) == shown and time.monotonic() < held_until_s:
            self._is_over.wait(_LOOK_EVERY_S)
        return version

    def page(self) -> str:
        """Return the report of the record so far, rendered again only if the record has changed."""
        folder, version = self._written()
        with self._lock:
            if self._page[0] == _LAST:
                self._is_last_fetched.set()
            elif folder and self._page[0] != version:
                with suppress(RunRecordError):  # not complete yet; the browser will ask again
                    self._page = version, html(live_report(folder, version=version))
            return self._page[1] or html(waiting_report())

    def _written(self) -> tuple[Path | None, str]:
        """Return the run folder and the version of its record; None and an empty string without a record."""
        if self._progress is None or self._progress.folder is None:
            return None, ""
        folder = Path(self._progress.folder)
        try:
            return folder, f"{folder.name} {(folder / LOAD_FILE).stat().st_mtime_ns}"
        except OSError:
            return None, ""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, live: LiveLoad, port: int, *, has_page: bool) -> None:
        self.answer_by_path: dict[str, tuple[str, Callable[[], str]]] = {
            "/metrics": (_METRICS_TYPE, live.metrics)
        }
        self.next_version = live.next_version
        if has_page:
            self.answer_by_path |= {
                "/": ("text/html; charset=utf-8", live.page),
                "/version": ("text/plain; charset=utf-8", live.version),
            }
        super().__init__((_HOST, port), _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        name, _, _ = self.headers.get("host", "").partition(":")
        if name not in _OWN_NAMES:  # a foreign page whose host name resolves to this machine
            self._answer(HTTPStatus.FORBIDDEN, "text/plain", f"Ask for {_HOST}.")
        elif self.path.startswith("/version?") and "/version" in self.server.answer_by_path:
            version = self.server.next_version(unquote(self.path.partition("?")[2]))
            self._answer(HTTPStatus.OK, "text/plain; charset=utf-8", version)
        elif self.path in self.server.answer_by_path:
            kind, answer = self.server.answer_by_path[self.path]
            self._answer(HTTPStatus.OK, kind, answer())
        else:
            self._answer(HTTPStatus.NOT_FOUND, "text/plain", " ".join(self.server.answer_by_path))

    def _answer(self, status: HTTPStatus, kind: str, text: str) -> None:
        body = text.encode("utf-8", "backslashreplace")
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.send_header("cache-control", "no-store")
        with suppress(ConnectionError):  # the browser may be gone
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@contextmanager
def serving(live: LiveLoad, *, port: int | None, has_page: bool) -> Iterator[str]:
    """Serve a load until the context ends; yield the address without a slash, or nothing if none is served.

    Without a port, the report (``has_page``) is served on a free one, and no metrics are.
    """
    if port is None and not has_page:
        yield ""
        return
    try:
        server = _Server(live, port or 0, has_page=has_page)
    except OSError as error:
        raise UsageError(
            f"--metrics-port {port}: cannot be listened on: {error.strerror}\n"
            "  Choose another, or 0 for a free one."
        ) from None
    with server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
        thread.start()
        try:
            yield f"http://{_HOST}:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
