"""Keys go only to hosts that the user has listed outside the repository, where there is a list."""

from unittest.mock import Mock

import click
import pytest

from knouds_harness.commands.init import _hosts_with
from knouds_harness.errors import GuardStop, UsageError
from knouds_harness.targets.address import allowed_hosts, entry_of, hosts_file

ADDRESS = "https://staging.example.com"
KEY = '[keys.full]\nsecret_env = "STAGING_KEY_FULL"\ncapabilities = []\nuser = "ada"\ntier = "pro"\n'
PROXY = '[http]\nproxy = "http://proxy.example.com:3128"\n'


@pytest.fixture(autouse=True)
def own_configuration(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.fixture
def listed(monkeypatch):
    return lambda text: monkeypatch.setenv("KNOUDS_HARNESS_HOSTS", text)


@pytest.fixture
def load_for(load):
    def load_for(url, more=""):
        text = f'base_url = "{url}"\nplain_http = true\n{KEY}{more}'
        return load(text, STAGING_KEY_FULL="knouds_live_0123456789")

    return load_for


def add_to_file(*entries):
    hosts_file().parent.mkdir(parents=True)
    hosts_file().write_text("".join(f"{each}\n" for each in entries))


def test_without_a_list_every_host_is_allowed(load_for):
    assert load_for("https://anywhere.example.com").base_url


@pytest.mark.parametrize(
    ("entries", "url"),
    [
        ("staging.example.com", "https://staging.example.com/under/a/path"),
        ("staging.example.com", "https://STAGING.example.com.:443"),
        ("Staging.Example.com.:443", "https://staging.example.com"),
        ("other.example.com, staging.example.com:8443", "https://staging.example.com:8443"),
        ("bücher.example", "https://bücher.example"),
        ("[::1]:8443", "https://[::1]:8443"),
        ("staging.example.com:80", "http://staging.example.com"),
    ],
)
def test_listed_host_is_allowed(load_for, listed, entries, url):
    listed(entries)

    assert load_for(url).base_url == url


@pytest.mark.parametrize(
    "url",
    [
        ADDRESS,
        "https://evil.example.com",
        "https://staging.example.com.evil.com",
        "https://staging.example.com:8443",  # another server on that machine
        "http://staging.example.com",  # unencrypted
        "http://staging.example.com:443",
        "http://127.0.0.1:8080",  # a neighbour on this machine may listen there
        "https://staging.example.com\\\\.evil.com",
    ],
)
def test_other_host_is_refused(load_for, listed, url):
    """An empty list, as a variable of the job that was never set, allows none."""
    listed("" if url == ADDRESS else "staging.example.com")

    with pytest.raises(
        GuardStop, match=r"staging\.toml: base_url: .* is not among the hosts .*KNOUDS_HARNESS_HOSTS"
    ):
        load_for(url)


def test_other_proxy_is_refused(load_for, listed):
    """With a ``ca_file`` of its own, the profile could let it read the keys."""
    listed("staging.example.com")

    with pytest.raises(GuardStop, match=r"http\.proxy: proxy\.example\.com:3128 is not among"):
        load_for(ADDRESS, PROXY)
    listed("staging.example.com proxy.example.com:3128")
    assert load_for(ADDRESS, PROXY).http.via


def test_file_of_the_user_lists_hosts(load_for):
    add_to_file("# ours", "staging.example.com # the cluster", "", "other.example.com:8443")

    assert load_for(ADDRESS).base_url == ADDRESS
    with pytest.raises(GuardStop, match=r"config/knouds-harness/hosts"):
        load_for("https://evil.example.com")


def test_variable_counts_before_the_file(load_for, listed):
    add_to_file("other.example.com")
    listed("staging.example.com")

    assert load_for(ADDRESS).base_url == ADDRESS
    with pytest.raises(GuardStop):
        load_for("https://other.example.com")


def test_secret_is_not_even_read_for_another_host(load, listed):
    listed("staging.example.com")

    with pytest.raises(GuardStop):  # not: the variable is not set
        load('base_url = "https://evil.example.com"\n' + KEY)


@pytest.mark.parametrize(
    "entry", ["https://staging.example.com", "a@staging.example.com", "staging/x", "::1", "*.example.com"]
)
def test_malformed_entry_is_named(listed, entry):
    listed(entry)

    with pytest.raises(UsageError, match=r"KNOUDS_HARNESS_HOSTS: .* is not a host\n  Write staging"):
        allowed_hosts()


def test_list_that_cannot_be_read_is_no_missing_list():
    hosts_file().mkdir(parents=True)

    with pytest.raises(UsageError, match="cannot be read"):
        allowed_hosts()


@pytest.mark.parametrize("is_agreed", [True, False])
def test_init_offers_to_list_the_host(monkeypatch, is_agreed):
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    confirm = Mock(return_value=is_agreed)
    monkeypatch.setattr(click, "confirm", confirm)

    hosts = _hosts_with(ADDRESS)

    assert "sent to staging.example.com, and only to hosts in" in confirm.call_args.args[0]
    assert hosts_file().exists() == is_agreed
    assert (hosts.entries if hosts else None) == (frozenset({entry_of(ADDRESS)}) if is_agreed else None)


def test_init_without_a_terminal_keeps_to_the_list():
    add_to_file("staging.example.com")

    assert _hosts_with(ADDRESS)
    with pytest.raises(GuardStop, match=r"^--url: evil\.example\.com is not among"):
        _hosts_with("https://evil.example.com")
