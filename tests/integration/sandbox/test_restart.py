"""A killed sandbox loses nothing that it acknowledged, and every accepted execution ends."""

import contextlib
import signal
import threading

import httpx
from clocks import wait_until

FINAL = {"completed", "failed", "cancelled"}


def wait_until_ended(client, url):
    wait_until(lambda: client.get(url).json()["status"] in FINAL)
    return client.get(url).json()["status"]


def test_killed_sandbox_resumes_its_state(spawn, tmp_path):
    database = tmp_path / "sandbox.db"
    with spawn("--db", database, "--latency", "60000", "--time-scale", "0.01") as (process, ready, client):
        jobs = {"suno-v5": "completed", "failing-model": "failed"}
        urls = {
            client.post(f"/api/models/{model}/run?async=true", json={"inputs": {}}).json()["pollUrl"]: end
            for model, end in jobs.items()
        }
        slug = client.post("/api/workflows", json={"name": "Kept"}).json()["slug"]
        client.delete("/api/workflows/no-input")
        usage = client.get("/api/usage").json()
        process.kill()
        process.wait()

    with spawn("--db", database, "--seed", "99") as (_, ready_again, client):
        assert ready_again["keys"] == ready["keys"]
        assert client.get(f"/api/workflows/{slug}").status_code == 200
        assert client.get("/api/workflows/no-input").status_code == 404
        assert {url: wait_until_ended(client, url) for url in urls} == urls
        rows = client.get("/api/usage").json()["rows"]

    assert [row["requestId"] for row in rows] == [row["requestId"] for row in usage["rows"]]


def test_cancel_is_completed_after_a_kill(spawn, tmp_path):
    database = tmp_path / "sandbox.db"
    with spawn("--db", database, "--latency", "3600000", "--time-scale", "5") as (process, _, client):
        url = client.post("/api/models/suno-v5/run?async=true", json={"inputs": {}}).json()["pollUrl"]
        assert client.post(f"{url}/cancel").json()["status"] == "cancel_requested"
        process.kill()
        process.wait()

    with spawn("--db", database) as (_, _, client):
        assert wait_until_ended(client, url) == "cancelled"
        assert client.get("/api/usage?limit=1").json()["rows"][0]["creditsCost"] == 20


def test_synchronous_run_of_a_killed_sandbox_is_refunded(spawn, tmp_path):
    """Its caller is gone: the run has failed and costs nothing."""
    database = tmp_path / "sandbox.db"
    with spawn("--db", database, "--latency", "60000") as (process, _, client):
        caller = threading.Thread(target=post_and_lose, args=(client, "/api/models/suno-v5/run"))
        caller.start()
        wait_until(lambda: client.get("/api/usage?limit=1").json()["rows"][0]["status"] == "processing")
        process.kill()
        caller.join()

    with spawn("--db", database) as (_, _, client):
        row = client.get("/api/usage?limit=1").json()["rows"][0]

    assert (row["modelIds"], row["status"], row["creditsCost"]) == (["suno-v5"], "failed", 0)


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
        number = 0
        while True:
            number += 1
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
