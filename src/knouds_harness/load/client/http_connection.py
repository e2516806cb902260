"""One HTTP/1.1 connection on gevent's loop, made for little work per request.

The loop watches the socket all the time, so a request starts and stops no watcher, and a server that closes
an idle connection is noticed at once. Parsing happens in the loop's callback: the greenlet that sent a
request is switched to once, when the response is complete. A deadline is a number, which the one timer of the
connection checks now and then, so that a request needs no timer of its own. A response counts as arrived when
its last bytes were read, however long it takes to process the responses before it.

Sockets are the standard library's own, patched or not: all waiting is done in gevent's hub.
"""

import socket
import ssl
from contextlib import suppress
from time import perf_counter
from typing import Any

import httptools
from gevent import get_hub, monkey
from greenlet import getcurrent, greenlet

from knouds_harness.body_bounds import MAX_BODY_BYTES
from knouds_harness.load.client.http_answer import (
    Answer,
    BadAnswer,
    ConnectionLost,
    Headers,
    TimedOut,
    TransportFailure,
)

MAX_HEAD_BYTES = 256 * 1024
_READ_BYTES = _SEND_BYTES = 64 * 1024
READ, WRITE = 1, 2  # what a loop watches for
# The id of the thread, which a hub knows too; the patched function gives a greenlet's.
_thread_id = monkey.get_original("_thread", "get_ident")
_EARLY_S = 0.001  # the loop's clock may be a little behind


class TlsStream:
    """Encrypts between a connection and its socket; OpenSSL works in memory and never touches the socket."""

    def __init__(self, raw_socket: socket.socket, context: ssl.SSLContext, host: str) -> None:
        self._socket = raw_socket
        self._from_server, self._to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._from_server, self._to_server, server_hostname=host)
        self._pending = b""
        self._taken = 0

    def handshake_step(self) -> bool:
        """Continue the handshake as far as the bytes at hand allow; return whether it is done."""
        self._take_from_socket()
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        finally:
            self._flush()
        return True

    def send(self, data: bytes | memoryview) -> int:
        """Encrypt and send; after ``BlockingIOError``, call again with the same data."""
        if not self._pending:
            self._taken = self._tls.write(data)
        self._flush()
        if self._pending:
            raise BlockingIOError
        return self._taken

    def recv(self, _size: int, /) -> bytes:
        """Return all that can be decrypted now, empty at the end, or raise ``BlockingIOError``."""
        is_at_end = self._take_from_socket()
        parts = []
        try:
            while part := self._tls.read(_READ_BYTES):
                parts.append(part)
            is_at_end = True  # the server sent close_notify
        except ssl.SSLWantReadError:
            pass
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            # Many servers send no close_notify; the framing of a response tells whether it is complete.
            is_at_end = True
        if self._to_server.pending:
            self._flush()
        if not parts and not is_at_end:
            raise BlockingIOError
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def close(self) -> None:
        self._socket.close()

    def _take_from_socket(self) -> bool:
        try:
            data = self._socket.recv(_READ_BYTES)
        except BlockingIOError:
            return False
        if data:
            self._from_server.write(data)
        else:
            self._from_server.write_eof()
        return not data

    def _flush(self) -> None:
        self._pending += self._to_server.read()
        if self._pending:
            try:
                sent = self._socket.send(self._pending)
            except BlockingIOError:
                return
            self._pending = self._pending[sent:]


class Connection:
    """Sends one request at a time over an open stream, and waits for the response."""

    def __init__(self, stream: socket.socket | TlsStream, fileno: int) -> None:
        self.is_open = False  # until the end of this method: before it, there is nothing to close
        self._stream = stream
        self._fileno = fileno
        self._hub = get_hub()
        self._parser: Any = httptools.HttpResponseParser(self)
        self._waiting: greenlet | None = None
        self._failure: TransportFailure | None = None
        self._timer: Any = None
        self._timer_at = 0.0
        self._deadline = 0.0
        self._arrived_at = self._first_at = 0.0
        self._later_bytes = 0
        self._head = b""
        self._body = b""
        self._more_body = bytearray()
        self._interim = 0
        self._status = 0
        self._is_done = True
        self._stays_open = True
        self._awaits_head_only = False
        self.idle_since = perf_counter()
        self._watcher = self._hub.loop.io(fileno, READ)
        self._watcher.start(self._on_readable)
        self.is_open = True

    def exchange(
        self,
        request: bytes,
        answer: Answer,
        sent_at: float,
        deadline: float,
        head_only: bool,  # noqa: FBT001
    ) -> None:
        """Send a request, once, and wait for the whole response; times are those of ``time.perf_counter``."""
        self._head = self._body = b""
        self._first_at = 0.0
        self._interim = self._later_bytes = 0
        self._stays_open = True
        self._is_done = False
        self._awaits_head_only = head_only
        self._deadline = deadline
        if self._timer is None or deadline < self._timer_at:
            self._set_timer(deadline)
        self._waiting = getcurrent()
        try:
            sent = self._send_some(request)
            if sent != len(request):
                sent, sent_at = self._send_rest(request, sent)
            switch = self._hub.switch
            while not self._is_done:
                switch()
        except OSError as error:
            self.close()
            raise ConnectionLost(failure_reason(error)) from error
        except BaseException:  # the greenlet was killed, or timed out by others: a response may still come
            self.close()
            raise
        finally:
            self._waiting = None
        received = len(self._head) + self._later_bytes
        answer.wire = (sent_at, self._first_at, self._arrived_at, sent, received)
        if self._failure is not None:
            raise self._failure
        if self._stays_open:
            self.idle_since = perf_counter()
        else:
            self.close()
        body = self._body
        if self._more_body:
            body = b"".join((body, self._more_body))
            self._more_body = bytearray()
        answer.fill(self._status, self._head, self._interim, body)
        answer.arrived_at = self._arrived_at

    def is_still_open(self) -> bool:
        """Read the socket itself: the server may have closed it without the loop having noticed yet."""
        if self.is_open:
            self._on_readable()
        return self.is_open

    def close(self) -> None:
        """Close the connection; this does not wake a greenlet that waits for a response."""
        if self.is_open:
            self.is_open = False
            timer, self._timer = self._timer, None
            with suppress(ValueError):  # the loop is gone, and what it watched with it
                self._watcher.stop()
                self._watcher.close()
                if timer is not None:
                    timer.close()
            self._stream.close()
            self._parser = None  # it holds this object's methods

    def close_from_anywhere(self) -> None:
        """Close from any thread: garbage is collected in any, but only a loop's own thread may touch it."""
        if _thread_id() == self._hub.thread_ident:
            self.close()
        else:
            with suppress(ValueError):
                self._hub.loop.run_callback_threadsafe(self.close)

    def _send_some(self, data: bytes | memoryview) -> int:
        try:
            return self._stream.send(data)
        except BlockingIOError:
            return 0

    def _send_rest(self, request: bytes, sent: int) -> tuple[int, float]:
        """Send what the socket's buffer had no room for; stop if the response comes early."""
        view = memoryview(request)
        watcher = self._hub.loop.io(self._fileno, WRITE)
        watcher.start(self._switch_to_waiting)
        try:
            while sent < len(request):
                self._hub.switch()
                if self._is_done:
                    self._stays_open = False  # the server does not want the rest, so nothing can follow it
                    return sent, perf_counter()
                sent_at = perf_counter()
                sent += self._send_some(view[sent : sent + _SEND_BYTES])
        finally:
            watcher.stop()
            watcher.close()
        return sent, sent_at

    # What the loop calls

    def _on_readable(self) -> None:
        try:
            data = self._stream.recv(_READ_BYTES)
        except BlockingIOError:
            return  # woken for nothing, or for a part of a TLS record
        except OSError as error:
            self._end(ConnectionLost(failure_reason(error)))
            return
        if self._is_done:  # idle: the server closes it, or sends what belongs to no request
            self.close()
            return
        now = self._arrived_at = perf_counter()
        if not self._first_at:
            self._first_at = now
        # Other sockets are read first: to process many responses at once takes milliseconds, which must not
        # delay the time at which the others count as arrived.
        self._hub.loop.run_callback(self._take, data)

    def _take(self, data: bytes) -> None:
        if not self.is_open:
            return  # the greenlet that waited was killed, or timed out
        if self._is_done:
            self.close()
        elif data:
            self._on_data(data)
        else:
            self._on_end_of_stream()

    def _on_data(self, data: bytes) -> None:
        if self._body:
            self._later_bytes += len(data)
        else:
            self._head = self._head + data if self._head else data
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._status = self._parser.get_status_code()
            self._stays_open = False
            self._is_done = True
        except httptools.HttpParserError as error:
            self._stays_open = False
            if not self._is_done:  # else it is garbage after a complete response
                self._end(BadAnswer(f"not HTTP/1.1: {error}"))
                return
        if len(self._head) > MAX_HEAD_BYTES and (
            not (self._is_done or self._body) or self._head.find(b"\r\n\r\n", 0, MAX_HEAD_BYTES) < 0
        ):
            self._end(BadAnswer(f"a head of over {MAX_HEAD_BYTES:,} bytes"))
        elif self._is_done:
            self._switch_to_waiting()
        elif len(self._more_body) > MAX_BODY_BYTES:
            self._end(BadAnswer(f"a body of over {MAX_BODY_BYTES:,} bytes"))

    def _on_end_of_stream(self) -> None:
        """The server closed the connection: the end of a response without a length, else a failure."""
        if self._head and _ends_with_connection(self._head, self._interim):
            self._status = self._parser.get_status_code()
            self._stays_open = False
            self._is_done = True
            self._switch_to_waiting()
        else:
            what = "in the middle of its answer" if self._head else "without an answer"
            self._end(ConnectionLost(f"the server hung up {what}"))

    def _on_timer(self) -> None:
        self._timer.close()
        self._timer = None
        if self._is_done:
            return
        if perf_counter() < self._deadline - _EARLY_S:  # it was set for an earlier request
            self._set_timer(self._deadline)
        else:
            what = "the answer is not whole" if self._head else "no answer"
            self._end(TimedOut(f"{what} in time"))

    def _set_timer(self, deadline: float) -> None:
        if self._timer is not None:
            self._timer.close()
        self._timer_at = deadline
        self._timer = self._hub.loop.timer(max(deadline - perf_counter(), 0.0))
        self._timer.start(self._on_timer)

    def _end(self, failure: TransportFailure) -> None:
        self._failure = failure
        self._more_body = bytearray()
        self._is_done = True
        self.close()
        self._switch_to_waiting()

    def _switch_to_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.switch()

    # What the parser calls

    def on_message_begin(self) -> None:
        """A head begins; after a complete response it belongs to no request."""
        if self._is_done:
            self._stays_open = False

    def on_headers_complete(self) -> None:
        if self._awaits_head_only and not self._is_done and self._parser.get_status_code() >= 200:
            self.on_message_complete()
            self._parser = httptools.HttpResponseParser(self)  # the old one waits for a body

    def on_body(self, data: bytes) -> None:
        if self._is_done:
            self._stays_open = False
        elif self._body:
            self._more_body += data
        else:
            self._body = data

    def on_message_complete(self) -> None:
        """A response is complete; only now does the parser know whether the connection stays open."""
        if self._is_done:
            return
        status = self._parser.get_status_code()
        if 100 <= status < 200:
            self._interim += 1
            return
        self._status = status
        self._stays_open = self._stays_open and self._parser.should_keep_alive()
        self._is_done = True


def _ends_with_connection(head: bytes, interim: int) -> bool:
    """Whether a response has neither a length nor chunks, so that only closing the connection ends it."""
    parts = head.split(b"\r\n\r\n", interim + 1)
    if len(parts) < interim + 2:
        return False
    headers = Headers(parts[interim])
    return "content-length" not in headers and "transfer-encoding" not in headers


def failure_reason(error: OSError) -> str:
    """Describe an error without addresses, so that equal failures group."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"TLS: the certificate is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {(error.reason or str(error)).replace('_', ' ').lower()}"
    return error.strerror or str(error) or type(error).__name__
