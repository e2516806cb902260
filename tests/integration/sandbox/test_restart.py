"""A killed sandbox loses nothing that it acknowledged, and every accepted execution ends."""

import contextlib
import itertools
import signal
import threading

import httpx
from clocks import wait_until

FINAL = {"completed", "failed", "cancelled"}


JOBS = {"suno-v5": "completed", "failing-model": "failed", "gpt-image-2": "cancelled"}


def test_killed_sandbox_resumes_its_state(spawn, tmp_path):
    """Executions end as they would have, a cancelled one is charged, a synchronous run fails and is free."""
    database = tmp_path / "sandbox.db"
    with spawn("--db", database, "--latency", "3000", "--legal", "own,stop=0.5") as (process, ready, client):
        slug = client.post("/api/workflows", json={"name": "Kept"}).json()["slug"]
        client.delete("/api/workflows/no-input")
        caller = threading.Thread(target=post_and_lose, args=(client, "/api/models/claude-sonnet/run"))
        caller.start()
        wait_until(lambda: client.get("/api/usage?limit=1").json()["rows"][0]["status"] == "processing")
        urls = {
            client.post(f"/api/models/{model}/run?async=true", json={"inputs": {}}).json()["pollUrl"]: end
            for model, end in JOBS.items()
        }
        accepted = [row["requestId"] for row in client.get("/api/usage").json()["rows"]]
        assert client.post(f"{list(urls)[-1]}/cancel").json()["status"] == "cancel_requested"
        process.kill()
        caller.join()

    with spawn("--db", database, "--seed", "99") as (_, ready_again, client):
        assert ready_again["keys"] == ready["keys"]
        assert client.get(f"/api/workflows/{slug}").status_code == 200
        assert client.get("/api/workflows/no-input").status_code == 404
        wait_until(lambda: all(client.get(url).json()["status"] in FINAL for url in urls))
        assert {url: client.get(url).json()["status"] for url in urls} == urls
        rows = client.get("/api/usage").json()["rows"]

    assert [row["requestId"] for row in rows] == accepted
    assert [(row["status"], row["creditsCost"]) for row in rows[:4]] == [
        ("cancelled", 15),
        ("failed", 0),
        ("completed", 20),
        ("failed", 0),
    ]


def test_ctrl_c_shows_no_traceback_of_what_was_in_flight(spawn, capfd):
    slow = {"prefer": "wire=slow, delay_ms=60000"}
    with (
        spawn("--prefer") as (process, _, client),
        contextlib.suppress(httpx.TransportError),
        client.stream("GET", "/api/health", headers=slow),
    ):
        process.send_signal(signal.SIGINT)
        process.wait(timeout=10)

    assert process.returncode == 0
    assert "Traceback" not in capfd.readouterr().err


def post_and_lose(client, path):
    with contextlib.suppress(httpx.HTTPError):
        client.post(path, json={"inputs": {}})


def test_acknowledged_writes_survive_a_kill(spawn, tmp_path):
    """After a kill amid many writes, every acknowledged one is there, and none is half done."""
    database = tmp_path / "sandbox.db"
    acknowledged, run_ids = [], []

    def write_until_cut(client):
        for number in itertools.count():
            try:
                created = client.post("/api/workflows", json={"name": f"w {threading.get_ident()} {number}"})
                run = client.post("/api/models/suno-v5/run?async=true", json={"inputs": {}})
            except httpx.HTTPError:
                return
            acknowledged.append(created.json()["slug"])
            run_ids.append(run.json()["requestId"])

    with spawn("--db", database) as (process, _, client):
        writers = [threading.Thread(target=write_until_cut, args=(client,)) for _ in range(4)]
        for writer in writers:
            writer.start()
        wait_until(lambda: len(acknowledged) >= 100)
        process.kill()
        for writer in writers:
            writer.join()

    with spawn("--db", database) as (_, _, client):
        slugs = {line["slug"] for line in client.get("/api/workflows").json()}
        rows: list[dict[str, object]] = []
        while len(rows) < client.get("/api/usage?limit=1").json()["total"]:
            rows += client.get(f"/api/usage?limit=500&offset={len(rows)}").json()["rows"]

    assert set(acknowledged) <= slugs
    assert set(run_ids) <= {row["requestId"] for row in rows}


def test_sandbox_ends_with_its_parent(spawn):
    with spawn() as (process, _, _):
        process.stdin.close()

        assert process.wait(timeout=5) == 0
