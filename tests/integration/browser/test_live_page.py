"""The page of a running load."""

from dataclasses import replace
from threading import Thread

import pytest
from load_records import LIVE_PROGRESS
from loaded_runs import calm

from knouds_harness.commands.live_server import LiveLoad, serving
from knouds_harness.reporting.render import render_all
from knouds_harness.runs.load_results import LOAD_FILE

pytestmark = pytest.mark.slow
_TIMEOUT_MS = 120_000


@pytest.fixture
def live():
    """A load that has not begun."""
    return LiveLoad()


@pytest.fixture
def page(browser):
    """An empty page, with the browser's messages about it."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(_TIMEOUT_MS)
    yield context.new_page()
    context.close()


def test_open_page_follows_the_load_and_becomes_the_report(page, live, tmp_path):
    """It is opened before there are figures, keeps the user's choices, and outlives its server."""
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    folder = calm(tmp_path)
    with serving(live, port=None, has_page=True) as address:
        page.goto(address)
        page.wait_for_selector("h1:text-is('Starting')")
        live.show(replace(LIVE_PROGRESS, folder=str(folder)))
        page.wait_for_selector("h1:text-is('Running')")
        chosen = page.locator("#pick-times option").last.get_attribute("value")
        name = page.locator("#pick-times option").last.inner_text()
        page.select_option("#pick-times", label=name)
        version = page.get_attribute("body", "data-version")
        (folder / LOAD_FILE).touch()
        page.wait_for_selector(f"body[data-version]:not([data-version='{version}'])")
        kept = page.input_value("#pick-times")
        report = render_all(folder).html
        ending = Thread(target=live.end, args=[report])
        ending.start()
        page.wait_for_selector("body:not([data-version])")
        ending.join(timeout=60)

    assert kept == (chosen or name)
    assert page.locator("h1").inner_text() != "Running"
    assert complaints == []


def test_page_says_that_its_command_was_killed(page, live, tmp_path):
    """And keeps its figures."""
    folder = calm(tmp_path)
    live.show(replace(LIVE_PROGRESS, folder=str(folder)))
    with serving(live, port=None, has_page=True) as address:
        page.goto(address)
        page.wait_for_selector("h1:text-is('Running')")

    page.wait_for_selector("#ended:visible")

    assert str(folder) in page.locator("#ended").inner_text()
    assert page.locator("#chart-rate").is_visible()
