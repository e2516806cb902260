"""Hosts that requests may name (DNS rebinding makes a browser send others), and where deliveries may go."""

import asyncio
from ipaddress import ip_network

import httpx
import pytest

from knouds_sandbox.access.network import ReceiverRefused, ReceiverRules
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


PRIVATE = [
    *("10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "224.0.0.1"),
    *("0.0.0.0", "255.255.255.255"),  # noqa: S104 - no address to bind
    *("fd00::1", "fe80::1%eth0", "ff02::1", "::"),
    *("::ffff:10.1.2.3", "::10.1.2.3", "64:ff9b::a01:203", "2002:a01:203::"),
]
LOOPBACK = ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1"]
PUBLIC = ["8.8.8.8", "2606:4700:4700::1111", "::ffff:8.8.8.8"]


@pytest.mark.parametrize(
    ("rules", "allowed", "refused"),
    [
        (ReceiverRules(), [*LOOPBACK, *PUBLIC], PRIVATE),
        (ReceiverRules(allows_loopback=False), PUBLIC, [*LOOPBACK, *PRIVATE]),
        (ReceiverRules(networks=(ip_network("172.16.0.0/12"),)), ["172.20.0.5"], ["192.168.0.5"]),
    ],
    ids=["usual", "without loopback", "with a network"],
)
def test_private_addresses_are_refused(rules, allowed, refused):
    assert [each for each in allowed if not rules.allows(each)] == []
    assert [each for each in refused if rules.allows(each)] == []


@pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "[::ffff:7f00:1]", "localhost"])
def test_name_is_resolved_before_it_is_judged(host):
    rules = ReceiverRules(allows_loopback=False)

    with pytest.raises(ReceiverRefused, match="private address"):
        asyncio.run(rules.addresses(f"http://{host}/"))


def test_one_private_address_refuses_the_name(monkeypatch):
    async def getaddrinfo(*_, **__):
        return [(0, 0, 0, "", ("8.8.8.8", 0)), (0, 0, 0, "", ("10.0.0.1", 0))]

    async def resolve():
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo, raising=False)
        return await ReceiverRules().addresses("http://two.example/")

    with pytest.raises(ReceiverRefused, match=r"two\.example"):
        asyncio.run(resolve())


def test_given_url_is_allowed_whatever_its_address():
    rules = ReceiverRules(allows_loopback=False, given_url="http://10.0.0.1/hook")

    assert asyncio.run(rules.addresses("http://10.0.0.1/hook")) == ["10.0.0.1"]
    with pytest.raises(ReceiverRefused):
        asyncio.run(rules.addresses("http://10.0.0.1/other"))


def test_name_that_is_too_long_is_unknown():
    with pytest.raises(OSError, match="label"):
        asyncio.run(ReceiverRules().addresses(f"http://{'a' * 70}.example/"))
