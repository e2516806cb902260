"""Only requests with a host of this machine are answered: DNS rebinding makes a browser send others."""

import httpx
import pytest

from knouds_sandbox.serving import running_sandbox


@pytest.fixture(scope="module")
def answers():
    with (
        running_sandbox(control_token="token", allowed_hosts=("Box.test",)) as sandbox,
        httpx.Client(base_url=sandbox.base_url) as client,
    ):
        yield lambda host, path="/api/health": client.get(path, headers={"host": host})


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:8080", "localhost.", "127.0.0.1:1", "127.8.9.1", "[::1]:8080", "box.test:80"],
)
def test_loopback_and_allowed_names_are_answered(answers, host):
    assert answers(host).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example", "evil.example:8080", "192.168.0.1", "localhost:x", "[::1", ""],
)
@pytest.mark.parametrize("path", ["/api/health", "/", "/__sandbox__/state"])
def test_other_host_is_refused(answers, assert_refused, host, path):
    assert_refused(answers(host, path), 421, "HOST_NOT_ALLOWED")
