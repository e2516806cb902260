"""TLS over a socket that does not block, with the waiting left to the caller."""

import socket
import ssl

_READ_BYTES = 64 * 1024


class TlsStream:
    """Encrypts between a connection and its socket; OpenSSL works in memory and never touches the socket."""

    __slots__ = ("_from_server", "_pending", "_socket", "_taken", "_tls", "_to_server")

    def __init__(self, raw_socket: socket.socket, context: ssl.SSLContext, host: str) -> None:
        self._socket = raw_socket
        self._from_server, self._to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._from_server, self._to_server, server_hostname=host)
        self._pending = b""
        self._taken = 0

    def handshake_step(self) -> bool:
        """Go on with the handshake as far as the bytes at hand allow; return whether it is done."""
        self._take_from_socket()
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        finally:
            self._flush()
        return True

    def send(self, data: bytes | memoryview) -> int:
        """Encrypt and send.

        Raises:
            BlockingIOError: The socket's buffer is full. Call again, when it has room, with the same data.
        """
        if not self._pending:
            self._taken = self._tls.write(data)
        self._flush()
        if self._pending:
            raise BlockingIOError
        return self._taken

    def recv(self, _size: int, /) -> bytes:
        """All that can be decrypted now; empty at the end.

        Raises:
            BlockingIOError: Nothing yet, or no whole record.
        """
        is_at_end = self._take_from_socket()
        parts = []
        try:
            while part := self._tls.read(_READ_BYTES):
                parts.append(part)
            is_at_end = True  # the server has said goodbye
        except ssl.SSLWantReadError:
            pass
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            is_at_end = (
                True  # many servers end without a goodbye; an answer's own framing tells whether it is whole
            )
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
