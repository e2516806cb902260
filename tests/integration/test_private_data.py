"""Private data stays out of files, and keys out of process arguments and away from other servers."""

import json
import re
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import pytest
from checking import knouds, started
from clocks import wait_until
from example_targets import write_profile
from hostile_traffic import whole
from integration.echoed_secrets import found_in
from loading import PATIENT
from raw_server import replacing, serving

from knouds_harness.contract.document import shipped_document
from knouds_harness.errors import ExitCode
from knouds_sandbox.serving import running_sandbox

ON_LINUX = pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="needs /proc")


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        ("check", "--quick", "--family", "usage", "--family", "schemas", "--family", "authentication"),
        ("load", "mixed", "--users", "4", "--duration", "3s", "--verify", "--quiet", *PATIENT),
    ],
    ids=lambda command: command[0],
)
def test_values_of_redacted_members_are_in_no_file(sandbox, tmp_path, command):
    profile = write_profile(tmp_path, sandbox)
    profile.write_text('redact = ["email", "userId"]\n' + profile.read_text(encoding="utf-8"))
    headers = {"x-api-key": sandbox.keys["full"]}
    user = httpx.get(f"{sandbox.base_url}/api/whoami", headers=headers).json()["user"]
    runs = tmp_path / "runs"
    ended = knouds(*command, "--target", profile, "--runs-folder", runs, cwd=tmp_path)

    assert ended.returncode in (ExitCode.KEPT, ExitCode.INVALID_MEASUREMENT), ended.stdout + ended.stderr
    written = b"".join(path.read_bytes() for path in runs.rglob("*") if path.is_file())
    assert b"getWhoami" in written
    assert user["email"].encode() not in written
    if command[0] == "check":
        assert re.search(rb"\{\{email:\d+\}\}", written)


@ON_LINUX
@pytest.mark.slow
@pytest.mark.parametrize("command", [("demo",), ("load", "reads", "--rate", "5", "--duration", "20s")])
def test_control_token_is_not_a_process_argument(tmp_path, command):
    """Anyone on the machine who could read it could mint keys."""
    seen = set()
    with started(tmp_path, *command) as process:
        own = psutil.Process(process.pid)
        wait_until(lambda: tokens_of(own))
        (token,) = tokens_of(own)
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):
                seen.add(path.read_bytes())

    assert any(b"knouds_sandbox" in each for each in seen)
    assert not [each for each in seen if token.encode() in each]


def tokens_of(process: psutil.Process) -> set[str]:
    """Return the control tokens in the environment of its children."""
    found = set()
    for child in process.children(recursive=True):
        with suppress(psutil.Error):
            found.add(child.environ().get("KNOUDS_SANDBOX_SERVED_TOKEN", ""))
    return found - {""}


@pytest.mark.nightly
def test_demo_shows_no_key_of_its_sandbox(tmp_path):
    """Its keys follow from the seed that it prints."""
    ended = knouds("demo", cwd=tmp_path)

    with running_sandbox(seed=int(re.findall(r"seed (\d+)", ended.stdout)[0])) as sandbox:
        written = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        shown = written | {"printed": (ended.stdout + ended.stderr).encode()}
        assert [
            at for at, text in shown.items() for key in sandbox.keys.values() if found_in(text, key)
        ] == []


LIMITS = 'credits = 100_000\nconcurrency = 4\nallow = ["read", "write", "run", "cancel"]'
PROXIES = ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")
JSON_202 = b"HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\n"


def luring(elsewhere: str, **members: str):
    """Redirect lists to another server, and give accepted runs these members."""
    redirect = b"HTTP/1.1 307 Temporary Redirect\r\nLocation: %s/\r\n" % elsewhere.encode()

    def choose(target: str, status: int):
        if target.endswith("/run?async=true") and status in (200, 202):
            return whole(lambda body: json.dumps({**json.loads(body), **members}).encode(), head=JSON_202)
        if target.startswith(("/api/usage/models", "/api/pricing")):
            return whole(lambda _: b"", head=redirect)
        return None

    return choose


@pytest.fixture
def elsewhere():
    """A server that must not be contacted."""
    with serving(lambda server, connection: server.read_request(connection)) as server:
        yield server


@pytest.fixture
def environment(tmp_path, elsewhere):
    """Proxies and credentials that a library could use."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login mallory password of-no-use\n")
    netrc.chmod(0o600)
    return dict.fromkeys(PROXIES, elsewhere.base_url) | {"NETRC": str(netrc), "NO_PROXY": "", "no_proxy": ""}


@pytest.mark.slow
@pytest.mark.parametrize(
    "case",
    [
        (("check", "--family", "executions", "--quick"), None),
        (("load", "cancels", "--users", "4", "--duration", "3s", "--quiet"), "../workflows/portrait/run?x="),
    ],
)
def test_nothing_is_sent_to_another_server(sandbox, tmp_path, elsewhere, environment, case):
    command, execution_id = case
    members = {"pollUrl": f"{elsewhere.base_url}/api/executions/1"}
    if execution_id:
        members["executionId"] = execution_id
    with replacing(sandbox.base_url, luring(elsewhere.base_url, **members)) as proxy:
        profile = write_profile(tmp_path, sandbox, base_url=proxy.base_url, limits=LIMITS)
        ended = knouds(*command, "--target", profile, cwd=tmp_path, **environment)

    assert elsewhere.connections == 0
    heads = [each.partition(b"\r\n\r\n")[0].decode("latin-1") for each in proxy.requests]
    assert any("async=true" in head for head in heads), ended.stderr
    assert not [head for head in heads if "\r\nauthorization:" in head.lower() and "load" in command]
    asked = {(head.split(" ")[0], head.split(" ")[1].partition("?")[0]) for head in heads}
    documented = shipped_document().operations
    if execution_id:
        assert not [
            (method, path)
            for method, path in asked
            if not any(each.method == method and each.path_values(path) is not None for each in documented)
        ]
