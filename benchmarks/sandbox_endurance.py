"""Whether the sandbox bears whatever is sent, and hours of use.

    python benchmarks/sandbox_endurance.py [--requests 100000] [--hours 12]

First requests of every kind: those of ``tests/support/hostile_traffic.py``, many of them with bytes changed,
lost, added or doubled, over sockets. After each tenth the state is reset, so what memory grows by is a leak.
Then hours of ordinary use in time-lapse: the clock of the rate-limit windows moves by minutes, and latencies
and pauses between webhook attempts take a hundredth of their time. Exits with 1 where an answer is a defect,
the sandbox ended, something is left in flight, or memory grows.
"""

import argparse
import json
import random
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
from hypothesis import HealthCheck, Phase, given, settings
from sandbox_process import sandbox_process

from knouds_sandbox.seeding import key_secret

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "support"))

TOKEN = "test-token"  # noqa: S105 - opens nothing but the sandbox of this script
ROUNDS = 10
DRAWN = 2_000
MOST_GROWTH_MB = 10
MOST_BYTES_PER_RUN = 4_000
DRAIN_S = 120
DOCUMENTED_5XX = "500 EXECUTION_FAILED"
ANSWER = re.compile(rb"HTTP/1\.1 (\d{3}) [^\r\n]*\r\n")


def main() -> int:
    parser = argparse.ArgumentParser(description="Send the sandbox whatever there is, for hours.")
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--hours", type=int, default=12)
    options = parser.parse_args()
    problems = [*send_anything(options.requests)] if options.requests else []
    problems += use_for(options.hours) if options.hours else ()
    print(*(f"problem: {problem}" for problem in problems), sep="\n")
    return int(bool(problems))


@contextmanager
def sandbox(*options: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any], httpx.Client]]:
    """A sandbox in a process of its own, and a client of its control plane."""
    with sandbox_process("--control-token", TOKEN, *options) as (process, ready):
        headers = {"x-sandbox-token": TOKEN, "x-api-key": ready["keys"]["full"]}
        with httpx.Client(base_url=ready["base_url"], headers=headers, timeout=60) as client:
            yield process, ready, client


def memory_mb(process: subprocess.Popen[str]) -> float:
    status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
    return int(re.findall(r"VmRSS:\s+(\d+)", status)[0]) / 1024


def send_anything(requests: int) -> Iterator[str]:
    """Send hostile requests; yields what went wrong."""
    from hostile_traffic import exchange  # noqa: PLC0415 - from tests/support, found above

    pools = drawn_requests(), sound_requests()
    draw = random.Random(1)
    statuses: Counter[str] = Counter()
    after_reset_mb: list[float] = []
    url = "http://127.0.0.1:9/"  # where nobody is
    with sandbox("--prefer", "--time-scale", "0.01", "--webhook-url", url) as (process, ready, control):
        for number in range(ROUNDS):
            for _ in range(requests // ROUNDS):
                sent = changed(draw.choice(draw.choice(pools)), draw)
                answer = exchange(ready["base_url"], sent)
                found = kinds_of(answer)
                statuses.update(found or ["none"])
                if any(each.startswith("5") and each != DOCUMENTED_5XX for each in found):
                    yield f"{sent!r} was answered {answer[:300]!r}"
            full_mb, rows = memory_mb(process), control.get("/__sandbox__/state").json()
            control.post("/__sandbox__/reset", json={}).raise_for_status()
            after_reset_mb.append(memory_mb(process))
            errors = {kind: count for kind, count in statuses.items() if kind.startswith("5")}
            print(
                f"round {number + 1}: {full_mb:.0f} MB with {rows}, {after_reset_mb[-1]:.0f} MB after reset"
            )
            print(f"  server errors so far: {errors} of {statuses.total()} answers", flush=True)
        if control.get("/api/whoami").status_code != 200 or process.poll() is not None:
            yield "the sandbox answers no more"
    print(f"answers by status, with the code of server errors: {dict(sorted(statuses.items()))}")
    growth_mb = after_reset_mb[-1] - max(after_reset_mb[: ROUNDS // 2])
    if growth_mb > MOST_GROWTH_MB:
        yield f"memory after a reset grew by {growth_mb:.0f} MB in the last {ROUNDS // 2} rounds"


def kinds_of(answers: bytes) -> list[str]:
    """The status of each answer on a connection; of a 5xx with the ``code`` of its body."""
    heads = [*ANSWER.finditer(answers)]
    ends = [*(head.start() for head in heads[1:]), len(answers)]
    kinds = []
    for head, end in zip(heads, ends, strict=False):  # without a head there is nothing to end
        kind = head[1].decode()
        if kind.startswith("5"):
            try:
                body = json.loads(answers[head.start() : end].partition(b"\r\n\r\n")[2])
                kind = f"{kind} {body['code']}"
            except (ValueError, KeyError, TypeError):
                kind += " without a code"
        kinds.append(kind)
    return kinds


def drawn_requests() -> list[bytes]:
    """Requests as the strategies draw them."""
    from hostile_traffic import REQUESTS  # noqa: PLC0415 - from tests/support, found above

    pool: list[bytes] = []

    def keep(request: bytes) -> None:
        pool.append(request)

    no_checks = settings(
        max_examples=DRAWN,
        database=None,
        deadline=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    no_checks(given(REQUESTS)(keep))()
    return pool


def sound_requests() -> list[bytes]:
    """Requests most of which a sandbox accepts."""
    from hostile_traffic import PATHS, keyed_request  # noqa: PLC0415 - from tests/support, found above

    def sound(method: str, path: str, body: object = None, *, persona: str = "full", **more: bytes) -> bytes:
        content = json.dumps(body).encode() if body else b""
        key = key_secret(0, persona).encode()
        return keyed_request(path=path, segment=b"", method=method, body=content, key=key, **more)

    run = {"inputs": {"prompt": "a lighthouse", "count": 2}}
    hook = {"url": "http://127.0.0.1:9/hook", "secret": "a-secret-of-some-length"}
    return [
        *(sound("GET", path.replace("{}", "portrait")) for path in PATHS),
        sound("POST", "/api/workflows", {"name": "Sound", "nodes": [], "edges": [], "tags": ["a"]}),
        sound("PUT", "/api/workflows/sound", {"description": "changed"}),
        sound("PUT", "/api/workflows/sound/move", {"folderId": "folder-2026"}),
        sound("DELETE", "/api/workflows/sound"),
        sound("POST", "/api/workflows/portrait/run", run),
        sound("POST", "/api/workflows/always-fails/run", run),
        sound("POST", "/api/workflows/ines-portrait/run", run, persona="ines"),
        sound("POST", "/api/models/seedream-v5/run", run, persona="business"),
        sound("POST", "/api/models/suno-v5/run", run, query=b"async=true"),
        *(
            sound("POST", "/api/workflows/sunset-clip/run", run, query=b"async=true", preference=preference)
            for preference in (b"", b"execution=failed", b"execution=cancelled", b"execution=processing")
        ),
        sound("GET", "/api/usage", query=b"status=completed&limit=3&offset=1"),
        sound("POST", "/__sandbox__/accounts", {"tier": "pro", "credits": 5, "grant": 3}),
        sound("POST", "/__sandbox__/keys", {"account": "ada", "capabilities": ["a:b"], "webhook": hook}),
        sound("POST", "/__sandbox__/clock", {"advance_s": 1}),
    ]


def changed(request: bytes, draw: random.Random) -> bytes:
    """A request as it is, or with up to four damages."""
    data = bytearray(request)
    for _ in range(draw.choice((0, 1, 2, 4))):
        at = draw.randrange(len(data) + 1)
        length = draw.choice((1, 1, 4, 30))
        match draw.randrange(4):
            case 0:
                data[at : at + length] = draw.randbytes(length)
            case 1:
                del data[at : at + length]
            case 2:
                data[at:at] = draw.randbytes(length)
            case _:
                data[at:at] = data[at : at + length]
    return bytes(data)


class Receiver(BaseHTTPRequestHandler):
    """Takes two deliveries of three."""

    count = 0

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        Receiver.count += 1
        self.send_response(204 if Receiver.count % 3 else 503)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Stay quiet."""


def use_for(hours: int) -> Iterator[str]:
    """Use a sandbox for hours in time-lapse; yields what went wrong."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as receiver:
        threading.Thread(target=receiver.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{receiver.server_port}/"
        with sandbox("--time-scale", "0.01", "--webhook-url", url) as (process, ready, client):
            start_mb = memory_mb(process)
            for hour in range(hours):
                for minute in range(60):
                    use_for_a_minute(client, ready["keys"], minute)
                rows = client.get("/__sandbox__/state").json()
                print(f"hour {hour + 1}: {memory_mb(process):.0f} MB, {rows}", flush=True)
            deadline_s = time.monotonic() + DRAIN_S
            while time.monotonic() < deadline_s:
                rows = client.get("/__sandbox__/state").json()
                if not rows["deliveriesWaiting"] and not rows["runsInFlight"]:
                    break
                time.sleep(0.1)
            else:
                yield f"left over after {DRAIN_S} s: {rows}"
            grown_bytes = (memory_mb(process) - start_mb) * 1024**2
            print(f"{grown_bytes / rows['runs']:.0f} bytes of memory for each run in the history")
            if grown_bytes > MOST_BYTES_PER_RUN * rows["runs"] + MOST_GROWTH_MB * 1024**2:
                yield f"memory grew by {grown_bytes / 1024**2:.0f} MB in {rows['runs']} runs"
        receiver.shutdown()


def use_for_a_minute(client: httpx.Client, keys: dict[str, str], minute: int) -> None:
    """What a team's clients do in a minute, on the clock of the rate-limit windows."""
    ordinary = {"x-api-key": keys["ines"]}
    for persona in ("full", "business", "pro"):
        client.get("/api/whoami", headers={"x-api-key": keys[persona]})
    polls = []
    for _ in range(8):
        body = {"inputs": {"prompt": f"minute {minute}"}}
        client.post("/api/workflows/ines-portrait/run", json=body, headers=ordinary).raise_for_status()
        run = client.post("/api/workflows/sunset-clip/run?async=true", json=body).raise_for_status()
        polls.append(run.json()["pollUrl"])
    client.post(f"{polls[0]}/cancel")
    for poll in polls:
        client.get(poll).raise_for_status()
    made = client.post("/api/workflows", json={"name": f"Minute {minute}"}).raise_for_status().json()["slug"]
    client.put(f"/api/workflows/{made}", json={"description": "changed"}).raise_for_status()
    client.delete(f"/api/workflows/{made}").raise_for_status()
    for path in ("/api/usage", "/api/usage/models", "/api/workflows", "/api/no-such-route"):
        client.get(path)
    client.post("/__sandbox__/clock", json={"advance_s": 60}).raise_for_status()


if __name__ == "__main__":
    sys.exit(main())
