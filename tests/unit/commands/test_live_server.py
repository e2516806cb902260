"""A running load, over HTTP."""

import shutil
import socket
from dataclasses import replace
from threading import Thread
from urllib.parse import quote

import httpx
import pytest
from clocks import wait_until
from load_records import LIVE_PROGRESS
from loaded_runs import calm, loaded

from knouds_harness.commands.live_server import LiveLoad, serving
from knouds_harness.errors import UsageError
from knouds_harness.runs.load_results import LOAD_FILE


@pytest.fixture
def live():
    """A load that has not begun."""
    return LiveLoad()


@pytest.fixture
def address(live):
    """The URL that serves it, with its page."""
    with serving(live, port=None, has_page=True) as found:
        yield found


def goes(live, folder):
    live.show(replace(LIVE_PROGRESS, folder=str(folder)))


def test_metrics_follow_the_load(live, address, tmp_path):
    """None at first, then the progress, and the figures by operation that the record has."""
    before = httpx.get(f"{address}/metrics")
    goes(live, loaded(tmp_path))

    text = httpx.get(f"{address}/metrics").text

    assert before.text == "# EOF\n"
    assert before.headers["content-type"].startswith("application/openmetrics-text")
    assert "knouds_harness_live_requests_per_second 198.2" in text
    assert 'knouds_harness_requests_per_second{operation="' in text


def test_page_is_the_report_so_far(live, address, tmp_path):
    """It says that the load is running, and its version changes with the record."""
    folder = calm(tmp_path)
    waiting, version_before = httpx.get(f"{address}/").text, httpx.get(f"{address}/version").text
    goes(live, folder)
    page, version = httpx.get(f"{address}/").text, httpx.get(f"{address}/version").text

    (folder / LOAD_FILE).touch()

    assert "<h1>Starting</h1>" in waiting
    assert version_before == ""
    assert "<h1>Running</h1>" in page
    assert f'data-version="{version}"' in page
    assert "connect-src" in page
    assert httpx.get(f"{address}/version").text != version


def test_last_page_is_the_report(live, address, tmp_path):
    """Byte for byte; the server waits for clients that follow the load."""
    report = tmp_path / "report.html"
    report.write_text("<title>the report</title>", encoding="utf-8")
    httpx.get(f"{address}/version")

    ending = Thread(target=live.end, args=[report])
    ending.start()
    wait_until(lambda: httpx.get(f"{address}/version").text == "last")
    was_waited_for = ending.is_alive()
    page = httpx.get(f"{address}/").text
    ending.join(timeout=60)

    assert was_waited_for
    assert page == "<title>the report</title>"
    assert not ending.is_alive()


def test_request_for_the_version_waits_for_a_new_one(live, address, tmp_path):
    """Browsers slow down hidden pages, so a waiting page hears of the end at once."""
    report = tmp_path / "report.html"
    report.write_text("<title>the report</title>", encoding="utf-8")
    goes(live, calm(tmp_path))
    shown = httpx.get(f"{address}/version").text
    told: list[str] = []

    def wait() -> None:
        while not told or told[-1] == shown:
            told.append(httpx.get(f"{address}/version", params=quote(shown), timeout=60).text)
        httpx.get(f"{address}/")

    waiting = Thread(target=wait)
    waiting.start()
    live.end(report)
    waiting.join(timeout=60)

    assert told[-1] == "last"


def test_end_does_not_wait_without_clients(live, tmp_path):
    (tmp_path / "report.html").write_text("", encoding="utf-8")

    live.end(tmp_path / "report.html")

    assert live.version() == "last"


def test_page_is_kept_if_the_record_is_removed(live, address, tmp_path):
    folder = calm(tmp_path)
    goes(live, folder)
    page = httpx.get(f"{address}/").text

    shutil.rmtree(folder)

    assert httpx.get(f"{address}/").text == page
    assert httpx.get(f"{address}/metrics").is_success


def test_request_with_another_host_is_refused(address):
    """A foreign name could resolve to this machine, in any browser."""
    refused = httpx.get(f"{address}/metrics", headers={"host": "evil.example"})

    assert refused.status_code == 403


def test_page_is_served_only_on_request(live):
    with serving(live, port=0, has_page=False) as address:
        assert httpx.get(f"{address}/").status_code == 404
        assert httpx.get(f"{address}/metrics").is_success


def test_taken_port_is_a_usage_error(live):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with (
            pytest.raises(
                UsageError, match=rf"--metrics-port {port}: cannot be listened on: Address already"
            ),
            serving(live, port=port, has_page=False),
        ):
            pass


def test_nothing_is_served_by_default(live):
    with serving(live, port=None, has_page=False) as address:
        assert address == ""
