"""Answers and an environment that name another server: nothing goes there, and no key."""

import json

import pytest
from checking import knouds
from example_targets import write_profile
from hostile_traffic import whole
from raw_server import replacing, serving

from knouds_harness.contract.document import shipped_document
from knouds_sandbox.serving import running_sandbox

LIMITS = 'credits = 100_000\nconcurrency = 4\nallow = ["read", "write", "run", "cancel"]'
PROXIES = ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")
JSON_202 = b"HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\n"


def luring(elsewhere: str, **members: str):
    """Redirects what is listed to another server, and gives members of accepted runs these values."""
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
    """A server that nobody is to ask anything."""
    with serving(lambda server, connection: server.read_request(connection)) as server:
        yield server


@pytest.fixture
def environment(tmp_path, elsewhere):
    """Proxies and credentials that a library would use."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login mallory password of-no-use\n")
    netrc.chmod(0o600)
    return dict.fromkeys(PROXIES, elsewhere.base_url) | {"NETRC": str(netrc), "NO_PROXY": "", "no_proxy": ""}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "execution_id"),
    [
        (("check", "--family", "executions", "--quick"), None),
        (("load", "cancels", "--users", "4", "--duration", "3s", "--quiet"), "../workflows/portrait/run?x="),
        (("load", "cancels", "--users", "4", "--duration", "2s", "--quiet", "--client", "fast"), "/.."),
    ],
)
def test_nothing_is_sent_elsewhere(tmp_path, elsewhere, environment, command, execution_id):
    """Neither to what ``pollUrl``, a redirect or a proxy names, nor to what an id makes of a path."""
    members = {"pollUrl": f"{elsewhere.base_url}/api/executions/1"}
    if execution_id:
        members["executionId"] = execution_id
    with (
        running_sandbox() as sandbox,
        replacing(sandbox.base_url, luring(elsewhere.base_url, **members)) as proxy,
    ):
        profile = write_profile(tmp_path, sandbox, base_url=proxy.base_url, limits=LIMITS)
        ended = knouds(*command, "--target", profile, cwd=tmp_path, **environment)

    assert "Traceback" not in ended.stderr
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
