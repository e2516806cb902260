"""Run folders, recordings and HARs from elsewhere are data: nothing is sent or written as they say."""

import json
import re
from dataclasses import replace
from urllib.parse import unquote

import pytest
from checking import knouds
from raw_server import RawServer, serving
from run_records import TARGET, exchange, finding, healthy, start

from knouds_harness.exchange.har import HarWriter

MINE = b"ssh-ed25519 mine\n"
KEY = "knouds_live_of_the_user_0123456789"
PROFILE = """base_url = "{url}"
[limits]
credits = {credits}
allow = {allow}
[keys.full]
secret_env = "MY_KEY"
capabilities = ["*"]
user = "ada"
tier = "pro"
[workflows.prod-pipeline]
owner = "ada"
[workflows.cheap]
owner = "ada"
cost_credits = 20
inputs.count = 1
"""
FORGED = (
    ("DELETE", "/api/workflows/prod-pipeline"),
    ("DELETE", "/api//workflows/prod-pipeline"),
    ("DELETE", "/api/workflows/%70rod-pipeline"),
    ("DELETE", "/api/workflows/%2570rod-pipeline"),
    ("DELETE", "/api/health/../workflows/prod-pipeline"),
    ("DELETE", "/api/account"),
    ("PUT", "/api/workflows/prod-pipeline/move"),
    ("PATCH", "/api/workflows/prod-pipeline"),
    ("POST", "/api/workflows/prod-pipeline/run"),
    ("POST", "/API/WORKFLOWS/PROD-PIPELINE/RUN/"),
    ("POST", "/api/models/dear/run"),
    ("POST", "/api/executions/of-somebody/cancel"),
    ("GET", "/api/workflows/prod-pipeline?_method=DELETE"),
    ("GET", "/api/workflows/..%2f..%2fadmin"),
    ("GET", "/api/admin/wipe"),
    ("OPTIONS", "/api/workflows/prod-pipeline"),
)
FORGED_HEADERS = (
    ("X-HTTP-Method-Override", "DELETE"),
    ("X-Original-URL", "/api/workflows/prod-pipeline"),
    ("Transfer-Encoding", "chunked"),
    ("Host", "evil.example"),
)
DEARER = (
    b'{"inputs": {"count": 8}}',
    b'{"inputs": {"count": 8, "count": 1}}',
    b'{"inputs": {"count": 1, "frames": 8}}',
    b'{"inputs": {"count": 8}, "inputs": {"count": 1}}',
    '{"inputs": {"count": 1}}'.encode("utf-16"),
    b'{"inputs": {}}',
)
"""Inputs of the workflow ``cheap`` that may cost more than its price in the profile."""
NAME = "Harness 0123456789ab of a stranger"
SLUG = "harness-0123456789ab-of-a-stranger"


@pytest.fixture
def mine(tmp_path):
    """A file of the user, outside of every folder that a command is given."""
    path = tmp_path / "authorized_keys"
    path.write_bytes(MINE)
    return path


@pytest.fixture
def run_folder(tmp_path):
    return healthy(tmp_path / "reports" / "runs")


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("{run}/report.html", ("report",)),
        ("{run}/compare.md", ("compare", "others")),
        ("pages/compare.html", ("compare", "--output", "pages", "others")),
        ("reports/baselines/spring.json", ("compare", "--keep", "spring")),
    ],
)
def test_no_output_is_written_through_a_link(run_folder, mine, tmp_path, name, arguments):
    healthy(tmp_path).rename(tmp_path / "others")
    link = tmp_path / name.format(run=run_folder)
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(mine)

    process = knouds(*arguments, run_folder, cwd=tmp_path)

    assert process.returncode == 2
    assert re.search("cannot be written(?: to)?: it is a link", process.stderr)
    assert mine.read_bytes() == MINE


def answer(server: RawServer, connection) -> None:
    """Answer like a server that does whatever it is asked."""
    while request := server.read_request(connection):
        path = request.split(b" ")[1].partition(b"?")[0]
        user = {"id": "usr_1", "email": "a@example.com", "role": "user", "tier": "pro", "approved": True}
        body = {b"/api/health": {"status": "ok"}, b"/api/whoami": {"user": user}, b"/api/workflows": []}
        if request.startswith(b"POST /api/workflows "):
            body = {path: {"slug": SLUG, "name": NAME}}
        content = json.dumps(body.get(path, {"success": True})).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
        connection.sendall(head.encode() + content)


def forge_run(root, base_url):
    """Write a run whose findings all name ``getWhoami``, and whose requests do harm."""
    run, cheap = ("POST", "/api/workflows/cheap/run"), b'{"inputs": {"count": 1}}'
    requests = [
        *((method, path, (), cheap) for method, path in FORGED),
        *(("GET", "/api/whoami", (header,), cheap) for header in FORGED_HEADERS),
        *((*run, (), body) for body in DEARER),
        *[(*run, (), cheap)] * 4,
        ("GET", "/api/whoami", (), b""),
    ]
    with start(root, target=replace(TARGET, name="mine", base_url=base_url)) as writer:
        for number, (method, path, headers, body) in enumerate(requests):
            shown = exchange(number, "getWhoami", status=500, body={})
            request = replace(shown.request, method=method, path=path, headers=headers, body=body)
            forged = replace(shown, request=request, url=base_url + path)
            writer.add_exchange(forged)
            writer.add_finding(replace(finding(forged, "whoami.user-object"), fingerprint=f"{number:012x}"))
        document = {"name": NAME, "nodes": [{"id": "n", "type": "generator", "data": {"model": "dear"}}]}
        made = exchange(900, "createWorkflow", sent=document, body={"slug": SLUG, "name": NAME})
        ran = exchange(901, "runWorkflow", sent={"inputs": {}}, status=500, body={})
        request = replace(ran.request, path=f"/api/workflows/{SLUG}/run", path_values={"slug": SLUG})
        ran = replace(ran, request=request, url=f"{base_url}{request.path}")
        for each in (replace(made, url=f"{base_url}/api/workflows"), ran):
            writer.add_exchange(each)
        steps = (made.id, ran.id)
        writer.add_finding(replace(finding(ran, "run.success-shape"), steps=steps, fingerprint=f"{901:012x}"))
        writer.finish("broken", 1)
        return writer.folder


def replayed(tmp_path, monkeypatch, *, allow, credit_limit):
    """Return the requests that a replay of the forged run sends: method and path as sent, and all."""
    monkeypatch.setenv("MY_KEY", KEY)
    (tmp_path / "targets").mkdir()
    with serving(answer) as server:
        text = PROFILE.format(url=server.base_url, allow=json.dumps(allow), credits=credit_limit)
        (tmp_path / "targets" / "mine.toml").write_text(text)
        folder = forge_run(tmp_path / "runs", server.base_url)
        process = knouds("replay", folder, "--target", "mine", "--all", cwd=tmp_path)
    assert process.stdout.count("getWhoami") >= len(FORGED), process.stdout + process.stderr
    sent = [each.decode("latin-1") for each in server.requests]
    return [(*each.split(" ")[:2], each) for each in sent]


def test_replay_of_a_forged_run_sends_only_documented_reads(tmp_path, monkeypatch):
    """If the profile allows reads only, whatever the record says that a request is."""
    sent = replayed(tmp_path, monkeypatch, allow=["read"], credit_limit=0)

    reads = (
        "/api/health",
        "/api/whoami",
        "/api/workflows",
        "/api/usage",
        "/api/workflows/prod-pipeline/schema",
    )
    assert {(method, path) for method, path, _ in sent} <= {("GET", path) for path in reads}
    assert ("GET", "/api/whoami") in {(method, path) for method, path, _ in sent}
    assert not any(name.lower() in head.lower() for name, _ in FORGED_HEADERS[:3] for *_, head in sent)
    assert not any("evil.example" in head for *_, head in sent)


def test_replay_of_a_forged_run_changes_nothing_and_runs_nothing_of_unknown_price(tmp_path, monkeypatch):
    """If the profile allows everything: what has a price is run, with the profile's inputs, within the limit.

    A workflow that the replay itself creates may hold any generator.
    """
    sent = replayed(tmp_path, monkeypatch, allow=["read", "write", "run", "cancel"], credit_limit=50)

    others = [(method, unquote(unquote(path)).lower()) for method, path, _ in sent if method != "GET"]
    runs = [whole for _, path, whole in sent if path == "/api/workflows/cheap/run"]
    created = {("POST", "/api/workflows"), ("DELETE", f"/api/workflows/{SLUG}")}
    assert set(others) - created == {("POST", "/api/workflows/cheap/run")}
    assert len(runs) == 2
    assert all(whole.endswith('\r\n\r\n{"inputs": {"count": 1}}') for whole in runs)
    assert not any("_method" in path or "admin" in path for _, path, _ in sent)


def test_verify_sends_nothing_and_writes_only_where_it_is_asked_to(tmp_path, mine):
    """Whatever a HAR names: hosts, paths, methods, codes and operations."""
    with serving(answer) as server:
        with HarWriter(tmp_path / "forged.har") as har:
            for number, (method, path) in enumerate(FORGED):
                shown = exchange(number, "getWhoami", status=401, body={"error": "No.", "code": f"../{path}"})
                request = replace(shown.request, method=method, path=path, operation_id=f"../../{number}")
                har.add(replace(shown, request=request, url=server.base_url + path))
            shown = exchange(
                99, "getWhoami", status=401, body={"error": "No.", "code": "../../authorized_keys"}
            )
            har.add(replace(shown, url=f"{server.base_url}/api/whoami"))
        before = files_of(tmp_path)
        verified = knouds("verify", "forged.har", "--runs-folder", "asked", cwd=tmp_path)

    assert list((tmp_path / "asked").glob("*-verify-*/report.html")), verified.stderr
    assert server.requests == []
    assert {path for path in files_of(tmp_path) - before if path.parts[0] != "asked"} == set()
    assert mine.read_bytes() == MINE


def files_of(folder):
    return {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
