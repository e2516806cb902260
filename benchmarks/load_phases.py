"""Whether the phases of a request are true: first byte, body and TLS, against a server that knows them.

The server, a process of its own, waits before a handshake, before the first and before the last bytes of an
answer, and notes how long that took. What a phase of the load generator is longer is what the way there and
back and the generator added; 0.1 ms are wanted in the middle, on a machine that is not busy.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import socket
import ssl
import statistics
import subprocess
import tempfile
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path

import gevent

from knouds_harness.load.client.http_client import HttpClient, encode, origin_of, tls_context

GOAL_MS = 0.1
FIRST, CLOSE, LAST = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n%s\r\n{", b"connection: close\r\n", b"}"
PER_CONNECTION = 10
SHORT_S, LONG_S = 0.001, 0.01

Phases = dict[int, dict[str, float]]
"""By the number of a request, how long each phase took, in ms."""


def main() -> None:
    """Print how far each phase is off; exit with 1 where that is too far."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=2000, help="over each of HTTP and TLS")
    parser.add_argument("--users", type=int, default=4, help="requests in flight")
    options = parser.parse_args()
    print(f"load average {os.getloadavg()[0]:.1f} at the start")
    with tempfile.TemporaryDirectory() as folder:
        certificate = certificate_in(Path(folder))
        met = [compared("http", None, options), compared("https", certificate, options)]
    raise SystemExit(not all(met))


def compared(scheme: str, certificate: Path | None, options: argparse.Namespace) -> bool:
    """Send requests, and print by how much the client's figures exceed the server's."""
    pipe, of_server = multiprocessing.Pipe()
    multiprocessing.get_context("spawn").Process(
        target=serve, args=(of_server, certificate), daemon=True
    ).start()
    origin = origin_of(f"{scheme}://127.0.0.1:{pipe.recv()}", tls=tls_context(verify=False))
    with HttpClient(origin) as client:
        found = measured(client, options)
    pipe.send("stop")
    true: Phases = pipe.recv()
    is_met = True
    for phase in ("first byte", "body", "TLS"):
        off = sorted(said[phase] - true[number][phase] for number, said in found.items() if phase in said)
        if off:
            middle = statistics.median(off)
            is_met &= abs(middle) <= GOAL_MS
            print(
                f"{scheme:5}  {phase:10}  {len(off):5} times: {middle:+.3f} ms in the middle, "
                f"{off[int(0.95 * len(off))]:+.3f} ms at the 95th percentile"
            )
    return is_met


def measured(client: HttpClient, options: argparse.Namespace) -> Phases:
    """What the client says of each request."""
    found: Phases = {}
    numbers = iter(range(options.requests))

    def user() -> None:
        for number in numbers:
            answer = client.exchange(encode("GET", f"/{number}", "here"), timeout_s=10)
            written_at, first_at, last_at, *_ = answer.wire
            found[number] = {"first byte": (first_at - written_at) * 1e3, "body": (last_at - first_at) * 1e3}
            if answer.opening and answer.opening.tls_ms:
                found[number]["TLS"] = answer.opening.tls_ms

    gevent.joinall([gevent.spawn(user) for _ in range(options.users)], raise_error=True)
    return found


def serve(pipe: Connection, certificate: Path | None) -> None:
    """Answer until told to stop; then what each phase took goes over the pipe."""
    context = None
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
    true: Phases = {}

    def accept() -> None:
        while True:
            taken, _ = listening.accept()
            threading.Thread(target=answer, args=(taken, context, true), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0), backlog=128) as listening:
        pipe.send(listening.getsockname()[1])
        threading.Thread(target=accept, daemon=True).start()
        pipe.recv()
        pipe.send(true)


def answer(taken: socket.socket, context: ssl.SSLContext | None, true: Phases) -> None:
    """Answer the requests of one connection, each after times of its own, and note how long they were."""
    taken.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    chance = random.Random(taken.fileno())
    accepted_s = time.perf_counter()
    if context:
        time.sleep(chance.uniform(SHORT_S, LONG_S))
        taken = context.wrap_socket(taken, server_side=True)
    tls_ms = (time.perf_counter() - accepted_s) * 1e3
    with taken:
        for rest in range(PER_CONNECTION - 1, -1, -1):
            request = taken.recv(65536)
            if not request:
                return
            received_s = time.perf_counter()
            time.sleep(chance.uniform(SHORT_S, LONG_S))
            first_s = time.perf_counter()
            taken.sendall(FIRST % (b"" if rest else CLOSE))
            time.sleep(chance.uniform(SHORT_S, LONG_S))
            last_s = time.perf_counter()
            true[int(request.split()[1].strip(b"/"))] = {
                "first byte": (first_s - received_s) * 1e3,
                "body": (last_s - first_s) * 1e3,
                "TLS": tls_ms,
            }
            taken.sendall(LAST)


def certificate_in(folder: Path) -> Path:
    """A key and a certificate that it signed, in one file."""
    key, signed = folder / "key.pem", folder / "signed.pem"
    command = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=127.0.0.1")
    subprocess.run([*command, "-keyout", key, "-out", signed], check=True, capture_output=True)
    key.write_text(key.read_text() + signed.read_text())
    return key


if __name__ == "__main__":
    main()
