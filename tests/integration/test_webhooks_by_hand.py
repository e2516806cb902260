"""Webhooks of a target without a control plane: its profile says where deliveries arrive."""

import pytest
from checking import broken_by, check, knouds
from example_targets import free_port, write_profile

from knouds_harness.contract.document import shipped_document
from knouds_harness.errors import ExitCode
from knouds_sandbox.serving import running_sandbox


def untested(record):
    """Return what was missing, by check."""
    return {each.check: each.missing for each in record.untested if each.check.startswith("webhooks.")}


@pytest.fixture
def port():
    return free_port()


@pytest.fixture
def url(port):
    return f"http://127.0.0.1:{port}/hooks/knouds"


def checked(folder, lines, *options, **sandbox):
    """Check webhooks with these lines of ``[webhook]``, on a sandbox with these options."""
    with running_sandbox(**sandbox) as running:
        profile = write_profile(folder, running, webhook=lines)
        return check(folder, *options, "--family", "webhooks", "--target", str(profile))


def test_every_webhook_fact_is_verified(tmp_path, url):
    """The URL is on this machine, so the harness listens there."""
    record = checked(tmp_path, f'url = "{url}"', webhook_url=url)

    verified = {each.fact for each in record.results if each.passed and not each.failed}
    assert record.exit_code == ExitCode.KEPT
    assert untested(record) == {}
    assert {fact for fact in shipped_document().facts if fact.startswith("webhook.")} <= verified


ELSEWHERE = 'url = "https://hooks.example.com/knouds"'


def test_proxy_can_be_between_target_and_receiver(tmp_path, port, url):
    """The URL in the dashboard is not the one at which the harness listens."""
    lines = f'{ELSEWHERE}\nlisten = "127.0.0.1:{port}"'

    record = checked(tmp_path, lines, webhook_url=url)

    assert record.exit_code == ExitCode.KEPT
    assert untested(record) == {}


def test_remote_url_without_deliveries_is_untested(tmp_path, port):
    """Only the profile says that deliveries should come, so there is no breach; the report says why."""
    lines = f'{ELSEWHERE}\nlisten = "127.0.0.1:{port}"\ndeadline_s = 0.5'
    nowhere = f"http://127.0.0.1:{free_port()}/"

    record = checked(tmp_path, lines, "--quick", webhook_url=nowhere)

    way = f"a way from https://hooks.example.com/knouds to http://127.0.0.1:{port}/"
    assert record.exit_code == ExitCode.KEPT
    assert "webhooks.one-each" in untested(record)
    assert way in str(untested(record))


def test_local_target_without_deliveries_is_in_breach(tmp_path, url):
    lines, nowhere = f'url = "{url}"\ndeadline_s = 0.5', f"http://127.0.0.1:{free_port()}/"

    record = checked(tmp_path, lines, "--quick", webhook_url=nowhere)

    assert broken_by(record) == {"webhook.one-per-ended-execution"}


def test_remote_url_without_listen_is_untested(tmp_path):
    record = checked(tmp_path, ELSEWHERE)

    assert record.exit_code == ExitCode.USAGE, "nothing tested is no success"
    assert "listen" in untested(record)["webhooks.one-each"]


def test_taken_port_is_reported_before_anything_is_sent(tmp_path):
    with running_sandbox() as taken, running_sandbox() as sandbox:
        profile = write_profile(tmp_path, sandbox, webhook=f'url = "{taken.base_url}/hook"')
        process = knouds("check", "--target", profile, cwd=tmp_path)

    assert process.returncode == ExitCode.USAGE
    says = f"127.0.0.1 port {taken.base_url.rpartition(':')[2]}: Address already in use"
    assert says in " ".join(process.printed.split())
    assert not (tmp_path / "reports").exists()
