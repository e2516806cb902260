"""The metrics of a running load, over HTTP."""

import shutil
import socket
from dataclasses import replace

import httpx
import pytest
from load_records import LIVE_PROGRESS
from loaded_runs import loaded

from knouds_harness.commands.live_server import LiveMetrics, serving
from knouds_harness.errors import UsageError


@pytest.fixture
def live():
    """A load that has not begun."""
    return LiveMetrics()


@pytest.fixture
def url(live):
    with serving(live, port=0) as found:
        yield found


def test_metrics_follow_the_load(live, url, tmp_path):
    """None at first, then the progress and the record's figures, also once the record is removed."""
    before, folder = httpx.get(url), loaded(tmp_path)
    live.show(replace(LIVE_PROGRESS, folder=str(folder)))

    text = httpx.get(url).text
    shutil.rmtree(folder)

    assert before.text == "# EOF\n"
    assert before.headers["content-type"].startswith("application/openmetrics-text")
    assert "knouds_harness_live_requests_per_second 198.2" in text
    assert 'knouds_harness_requests_per_second{operation="' in text
    assert httpx.get(url).text == text


def test_request_with_another_host_is_refused(url):
    """A foreign name could resolve to this machine, in any browser."""
    assert httpx.get(url, headers={"host": "evil.example"}).status_code == 403


def test_nothing_else_is_served(url):
    assert httpx.get(url.removesuffix("metrics")).status_code == 404


def test_taken_port_is_a_usage_error(live):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        says = rf"--metrics-port {port}: cannot be listened on: Address already"
        with pytest.raises(UsageError, match=says), serving(live, port=port):
            pass


def test_nothing_is_served_by_default(live):
    with serving(live, port=None) as url:
        assert url == ""
