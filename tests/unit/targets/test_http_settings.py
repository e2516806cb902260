"""``[http]`` of a profile: what is read, and the messages for what is refused."""

import re

import pytest
import trustme

from knouds_harness.errors import ProfileError
from knouds_harness.exchange.curl import ShellNames
from knouds_harness.exchange.redaction import Redactor

ADDRESS = 'base_url = "https://staging.example.com"\n[http]\n'
TOKEN = "Bearer gateway 0123"


def test_headers_and_proxy_are_read(load):
    """Lines of curl use the same."""
    target = load(
        ADDRESS
        + 'headers = { X-Tag = "night run" }\nheaders_env = { X-Gateway = "TOKEN" }\nproxy_env = "PROXY"',
        TOKEN=TOKEN,
        PROXY="http://ada:pass%40word@127.0.0.1:3128",
    )

    assert target.http.revealed_headers == (("X-Tag", "night run"), ("X-Gateway", TOKEN))
    assert target.http.via is not None
    assert (target.http.via.url, target.http.via.user) == ("http://127.0.0.1:3128", "ada")
    assert TOKEN not in repr(target)
    assert "pass@word" not in repr(target)
    assert Redactor.for_target(target).text(f"{TOKEN} pass@word") == "{{header:x-gateway}} {{proxy-password}}"
    of_curl = ShellNames.of(target)
    assert of_curl.options == ("--noproxy", "", "--proxy", "\0${PROXY}\0")
    assert of_curl.variable("header:x-gateway") == "TOKEN"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('headers = { X-Access-Token = "x" }', "http.headers.X-Access-Token: may be a secret in the profile"),
        ('headers = { X-API-Key = "x" }', "http.headers.X-API-Key: may be a secret in the profile"),
        ('headers = { Host = "x" }', "http.headers.Host: is a header that the harness sets itself"),
        *(
            (f'headers = {{ {name} = "DELETE" }}', "may turn a request into another")
            for name in (
                *("X-HTTP-Method-Override", "x-method-override", "X-HTTP-Method"),
                *("X-Original-URL", "X-Rewrite-Url"),
            )
        ),
        ('headers = { "X Tag" = "x" }', "http.headers.X Tag: is not a header name"),
        ('headers = { X-Tag = "a\\nb" }', "http.headers.X-Tag: has characters that a header cannot hold"),
        ('headers_env = { X-Gateway = "ABSENT" }', "environment variable ABSENT is not set"),
        ('headers_env = { X-Gateway = "SHORT" }', "8 to 4,096 printable characters"),
        ('proxy = "socks5://127.0.0.1:1080"', "http.proxy: is not a proxy that the harness can use"),
        ('proxy = "http://127.0.0.1"', "http.proxy: is not a proxy that the harness can use"),
        ('proxy = "http://ada:secret@127.0.0.1:1"', "http.proxy: holds a user name or a password"),
        ('proxy_env = "ABSENT"', "http.proxy_env: environment variable ABSENT is not set"),
        ('ca_file = "absent.pem"', "/absent.pem cannot be used: no such file"),
        ('ca_file = "staging.toml"', "/staging.toml cannot be used: no certificate or crl found"),
        ('client_certificate = "staging.toml"', "http.client_certificate: "),
        ('client_key = "staging.toml"', "http.client_key: is set without client_certificate"),
        ('cafile = "x"', 'Did you mean "ca_file"?'),
    ],
)
def test_unusable_http_settings_are_refused(load, text, says):
    with pytest.raises(ProfileError, match=re.escape(says)) as caught:
        load(ADDRESS + text, SHORT="short")

    assert "ada:secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('client_certificate = "cert.pem"', "client_certificate: FOLDER/cert.pem cannot be used: "),
        (
            'client_certificate = "cert.pem"\nclient_key = "other.pem"',
            "FOLDER/cert.pem with FOLDER/other.pem cannot be used: key values mismatch",
        ),
        ('client_certificate = "cert.pem"\nclient_key = "absent.pem"', "cannot be used: no such file"),
        ('ca_file = "empty.pem"', "ca_file: FOLDER/empty.pem cannot be used: no certificate or crl found"),
    ],
)
def test_unusable_certificate_files_are_refused(load, tmp_path, text, says):
    authority = trustme.CA()
    mine, other = authority.issue_cert("ada@example.com"), authority.issue_cert("bea@example.com")
    mine.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    other.private_key_pem.write_to_path(tmp_path / "other.pem")
    (tmp_path / "empty.pem").touch()

    with pytest.raises(ProfileError, match=re.escape(says.replace("FOLDER", str(tmp_path)))):
        load(ADDRESS + text)
