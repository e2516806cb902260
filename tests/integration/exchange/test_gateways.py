"""``[http]`` of a profile in use: gateways that need a token or a certificate, and proxies."""

import base64
import re
import socket
import ssl
import threading
from dataclasses import replace

import pytest
import trustme
from checking import knouds
from example_targets import make_target, why_unreachable, write_profile
from raw_server import RawServer, Script, always, replacing, serving

from knouds_harness.errors import UsageError
from knouds_harness.exchange.client import Client
from knouds_harness.exchange.profile_check import first_contact
from knouds_harness.load.options import LoadOptions
from knouds_harness.load.workload.preflight import check_plan
from knouds_harness.targets.http_settings import HttpSettings, Proxy
from knouds_harness.targets.secrets import Secret
from knouds_sandbox.serving import running_sandbox

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
TOKEN = "Bearer of-the-gateway 0123456789"


@pytest.fixture
def certified(tmp_path):
    """A server's context that requires a client certificate, and settings that provide it."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    context.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(context)
    client = authority.issue_cert("ada@example.com")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    client.private_key_and_cert_chain_pem.write_to_path(tmp_path / "client.pem")
    return context, HttpSettings(ca_file=tmp_path / "ca.pem", client_certificate=tmp_path / "client.pem")


def tunnelling(credentials: bytes = b"") -> Script:
    """Make the script of a proxy: CONNECT and plain requests, 407 without these credentials."""

    def script(server: RawServer, connection: socket.socket) -> None:
        request = server.read_request(connection)
        method, target, _ = request.split(b" ", 2)
        if credentials and b"Basic " + base64.b64encode(credentials) not in request:
            connection.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            return
        if method != b"CONNECT":
            connection.sendall(ANSWER)
            return
        host, _, port = target.decode().rpartition(":")
        with socket.create_connection((host, int(port))) as upstream:
            connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            back = threading.Thread(target=_pump, args=(upstream, connection), daemon=True)
            back.start()
            _pump(connection, upstream)

    return script


def _pump(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass


@pytest.mark.parametrize("unknown", [{"/api/health"}, {"/api/health", "/api/whoami"}])
def test_server_that_knows_no_path_is_not_the_api(sandbox, unknown):
    """As with a wrong path in ``base_url``; one that lacks only health is the API, and in breach."""
    not_found = b"HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
    with replacing(
        sandbox.base_url, instead=lambda _, path: not_found if path in unknown else None
    ) as server:
        target = make_target(server.base_url)
        if len(unknown) == 1:
            with Client(target=target) as client:
                assert first_contact(client).status == 404
        else:
            said = "answers 404 to /api/health and to /api/whoami, so it is not the API\n  Check base_url"
            assert said in why_unreachable(target)


def test_client_certificate_and_custom_authority_are_used(certified):
    context, http = certified
    with serving(always(b"{}"), context) as server:
        target = make_target(server.base_url)
        with Client(target=replace(target, http=http)) as client:
            assert first_contact(client).status == 200
        untrusted = why_unreachable(target)
        without = why_unreachable(replace(target, http=replace(http, client_certificate=None)))

    assert "ca_file in [http]" in untrusted
    assert "certificate required\n  Check client_certificate" in without


def test_tls_goes_through_a_proxy(certified):
    """TLS is with the target itself; only the proxy gets its credentials."""
    context, http = certified
    with serving(always(b"{}"), context) as server, serving(tunnelling(b"ada:pass word")) as proxy:
        through = Proxy(url=proxy.base_url, user="ada", password=Secret("pass word", "proxy-password"))
        target = replace(make_target(server.base_url), http=replace(http, via=through))
        with Client(target=target) as client:
            exchange = first_contact(client)

    assert exchange.status == 200
    assert proxy.requests[0].startswith(b"CONNECT 127.0.0.1:")
    assert b"roxy-" not in server.requests[0]


def test_plain_http_goes_through_a_proxy():
    with serving(tunnelling()) as proxy:
        http = HttpSettings(via=Proxy(url=proxy.base_url))
        with Client(target=replace(make_target("http://127.0.0.1:1"), http=http)) as client:
            assert first_contact(client).status == 200

    assert proxy.requests[0].startswith(b"GET http://127.0.0.1:1/api/health ")


def test_refusal_by_the_proxy_is_not_taken_for_the_target():
    with serving(tunnelling(b"ada:right")) as proxy:
        http = HttpSettings(via=Proxy(url=proxy.base_url))
        said = why_unreachable(replace(make_target("http://127.0.0.1:1"), http=http))

    assert re.search(r"the proxy 127.+ refuses: 407\n.+ proxy_env in \[http\]", said)


def test_plain_http_server_is_recognised_despite_a_certificate(certified):
    _, http = certified
    with serving(lambda _, connection: connection.sendall(ANSWER)) as server:
        target = make_target(server.base_url.replace("http:", "https:"))
        said = why_unreachable(replace(target, http=http))

    assert "speaks plain HTTP: check https in base_url" in said


def test_refusing_or_unreachable_proxy_is_named(certified):
    """With its response, but without the password."""
    _, http = certified
    with serving(tunnelling(b"ada:right")) as proxy:
        wrong = Proxy(url=proxy.base_url, user="ada", password=Secret("wrong-one", "proxy-password"))
        target = replace(make_target("https://127.0.0.1:1"), http=replace(http, via=wrong))
        refusing = why_unreachable(target)
    away = why_unreachable(replace(target, http=replace(http, via=Proxy(url="http://127.0.0.1:2"))))

    assert re.search(r"the proxy 127.+ does not connect to .+: 407", refusing)
    assert "wrong-one" not in refusing
    assert re.search(r"nothing listens at the proxy 127.0.0.1:2 .+\n  Check that the proxy", away)


@pytest.mark.slow
def test_init_check_and_load_pass_a_gateway(certified, tmp_path):
    """Each request has the token, and no file of their runs does."""
    context, _ = certified
    with running_sandbox(seed=1) as sandbox, replacing(sandbox.base_url, lambda *_: None, context) as gateway:
        profile = write_profile(tmp_path, sandbox, base_url=gateway.base_url)
        table = (
            '[http]\nheaders_env = { X-Gateway = "GATEWAY_TOKEN" }\nheaders = { X-Tag = "a" }\n'
            'ca_file = "ca.pem"\nclient_certificate = "client.pem"\n'
        )
        (tmp_path / "http.toml").write_text(table, encoding="utf-8")
        with profile.open("a", encoding="utf-8") as file:
            file.write(f"\n{table}")
        init = ("init", "--url", gateway.base_url, "--key", "FULL_KEY", "--http", "http.toml")
        commands = (
            (*init, "--output", "own.toml"),
            ("check", "--fact", "auth.missing-key-is-401", "--quick", "--target", "own.toml"),
            ("load", "reads", "--rate", "20", "--duration", "1s", "--warm-up", "0", "--target", profile),
        )
        counts = []
        for command in commands:
            done = knouds(*command, cwd=tmp_path, GATEWAY_TOKEN=TOKEN, FULL_KEY=sandbox.keys["full"])
            assert done.returncode in (0, 1, 5), done.stderr  # on a busy machine the measurement is invalid
            counts.append(len(gateway.requests))

    assert 0 < counts[0] < counts[1] < counts[2]
    assert sum(b"Accept-Encoding: gzip" in each for each in gateway.requests) > 10  # from the load client
    assert [each for each in gateway.requests if f"X-Gateway: {TOKEN}".encode() not in each] == []
    files = [path for path in (tmp_path / "reports").rglob("*") if path.is_file()]
    files.append(tmp_path / "own.toml")
    assert [path for path in files if TOKEN.encode() in path.read_bytes()] == []


def test_load_refuses_a_proxy():
    target = replace(
        make_target("http://127.0.0.1:1"), http=HttpSettings(via=Proxy(url="http://127.0.0.1:2"))
    )

    with pytest.raises(UsageError, match="load goes through no proxy"):
        check_plan(target, LoadOptions(), host=None)
