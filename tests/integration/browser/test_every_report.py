"""Properties of every report, in a real browser."""

import pytest
from checking import sampled

from .conftest import DESKTOP, PHONE, REPORTS, SCREENSHOTS, opening

pytestmark = pytest.mark.slow
LOOKS = [("desktop", "light"), ("phone", "dark")]


@pytest.fixture(scope="module", params=REPORTS)
def opened(request, browser, report_paths):
    """Each report, in one window for all of these tests."""
    with opening(browser, report_paths[request.param]) as opened:
        yield opened


def test_page_requests_nothing_and_every_link_leads_somewhere(opened):
    lost = opened.page.evaluate(
        """[...document.querySelectorAll("a")]
        .map((link) => link.getAttribute("href"))
        .filter((href) => !href.startsWith("#") || !document.getElementById(href.slice(1)))"""
    )

    assert opened.requests == [opened.page.url]
    assert opened.complaints == []
    assert lost == []


def test_first_tab_stop_skips_to_the_contents(opened):
    url = opened.page.url
    opened.page.keyboard.press("Tab")
    opened.page.keyboard.press("Enter")

    assert opened.page.evaluate("document.activeElement.id") == "main"
    opened.page.goto(url)


def test_page_fits_the_width_of_its_window(opened):
    """Once its charts have followed the window's new size; raises if they do not."""
    for size in (PHONE, DESKTOP):
        opened.page.set_viewport_size(size)
        at_size = f"innerWidth === {size['width']}"

        opened.page.wait_for_function(f"{at_size} && document.documentElement.scrollWidth <= innerWidth")


def test_print_has_a_white_background(opened):
    """Whatever the screen's colours; and controls that work only on a screen are left out."""
    opened.page.emulate_media(media="print", color_scheme="dark")

    assert opened.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert opened.page.locator(":is(nav, .filters, button):visible").count() == 0


@pytest.mark.parametrize(
    ("name", "size", "scheme"), sampled([(name, *look) for name in REPORTS for look in LOOKS], every=5)
)
def test_axe_finds_no_violation(open_page, name, size, scheme):
    """With a dozen elements unfolded; a screenshot is saved in ``reports/screenshots``."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="pip install --group browser")
    page = open_page(name, viewport=PHONE if size == "phone" else DESKTOP, scheme=scheme)
    page.screenshot(path=SCREENSHOTS / f"{name}-{size}-{scheme}.png", full_page=True)
    page.evaluate(
        "[...document.querySelectorAll('details')].slice(-12).forEach((each) => { each.open = true })"
    )

    found = axe.Axe().run(page, options={"resultTypes": ["violations"]})

    assert found.violations_count == 0, found.generate_report()
