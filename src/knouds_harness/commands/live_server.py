"""Serve the metrics of a running load over HTTP, to this machine only."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socket import socket
from socketserver import BaseServer
from threading import Lock, Thread
from typing import Final

from knouds_harness.errors import UsageError
from knouds_harness.reporting.openmetrics import live_openmetrics
from knouds_harness.runs.load_progress import LoadProgress
from knouds_harness.runs.load_record import read_results
from knouds_harness.runs.load_results import LOAD_FILE, LoadResults

_HOST: Final = "127.0.0.1"
_OWN_NAMES: Final = {_HOST, "localhost"}
_METRICS_TYPE: Final = "application/openmetrics-text; version=1.0.0; charset=utf-8"


class LiveMetrics:
    """The latest metrics of a load, from its progress and its record."""

    def __init__(self) -> None:
        self._progress: LoadProgress | None = None
        self._results: LoadResults | None = None
        self._read: tuple[Path, int] | None = None
        self._lock = Lock()

    def show(self, progress: LoadProgress) -> None:
        self._progress = progress

    def text(self) -> str:
        """Return the metrics as OpenMetrics; the record is read again only if it has changed."""
        with self._lock:
            progress = self._progress
            if progress and progress.folder:
                folder = Path(progress.folder)
                with suppress(OSError):  # there is no record yet, or no longer
                    written = folder, (folder / LOAD_FILE).stat().st_mtime_ns
                    if written != self._read:
                        self._results, self._read = read_results(folder, []), written
            return live_openmetrics(progress, self._results)


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, live: LiveMetrics, connection: socket, client: object, server: BaseServer) -> None:
        self._live = live
        super().__init__(connection, client, server)

    def do_GET(self) -> None:
        status, kind, text = HTTPStatus.OK, _METRICS_TYPE, ""
        if self.headers.get("host", "").partition(":")[0] not in _OWN_NAMES:
            # a foreign page whose host name resolves to this machine
            status, kind, text = HTTPStatus.FORBIDDEN, "text/plain", f"Ask for {_HOST}."
        elif self.path != "/metrics":
            status, kind, text = HTTPStatus.NOT_FOUND, "text/plain", "/metrics"
        body = (text or self._live.text()).encode("utf-8", "backslashreplace")
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.send_header("cache-control", "no-store")
        with suppress(ConnectionError):  # the client may be gone
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@contextmanager
def serving(live: LiveMetrics, *, port: int | None) -> Iterator[str]:
    """Serve the metrics until the context ends; yield their URL, or an empty string without a port."""
    if port is None:
        yield ""
        return
    try:
        server = ThreadingHTTPServer((_HOST, port), partial(_Handler, live))
    except OSError as error:
        raise UsageError(
            f"--metrics-port {port}: cannot be listened on: {error.strerror}\n"
            "  Choose another, or 0 for a free one."
        ) from None
    with server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
        thread.start()
        try:
            yield f"http://{_HOST}:{server.server_port}/metrics"
        finally:
            server.shutdown()
            thread.join()
