"""Properties of every report, in a real browser."""

import pytest
from checking import sampled

from .conftest import REPORTS, SCREENSHOTS

pytestmark = pytest.mark.slow
every_report = pytest.mark.parametrize("name", REPORTS)
every_size = pytest.mark.parametrize("size", ["desktop", "phone"])
LOOKS = [("desktop", "light"), ("phone", "dark")]


@every_report
def test_page_requests_nothing_and_every_link_leads_somewhere(open_report, report_paths, name):
    opened = open_report(name)

    lost = opened.page.evaluate(
        """[...document.querySelectorAll("a")]
        .map((link) => link.getAttribute("href"))
        .filter((href) => !href.startsWith("#") || !document.getElementById(href.slice(1)))"""
    )

    assert opened.requests == [report_paths[name].as_uri()]
    assert opened.complaints == []
    assert lost == []


@pytest.mark.parametrize(
    ("name", "size", "scheme"), sampled([(name, *look) for name in REPORTS for look in LOOKS], every=5)
)
def test_axe_finds_no_violation(open_report, name, size, scheme):
    """With a dozen elements unfolded; a screenshot is saved in ``reports/screenshots``."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="pip install --group browser")
    page = open_report(name, size=size, scheme=scheme).page
    page.screenshot(path=SCREENSHOTS / f"{name}-{size}-{scheme}.png", full_page=True)
    page.evaluate(
        "[...document.querySelectorAll('details')].slice(-12).forEach((each) => { each.open = true })"
    )

    found = axe.Axe().run(page, options={"resultTypes": ["violations"]})

    assert found.violations_count == 0, found.generate_report()


@every_report
@every_size
def test_page_fits_the_width_of_its_window(open_report, name, size):
    page = open_report(name, size=size).page

    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@every_report
def test_first_tab_stop_skips_to_the_contents(open_report, name):
    page = open_report(name).page

    page.keyboard.press("Tab")
    page.keyboard.press("Enter")

    assert page.evaluate("document.activeElement.id") == "main"


@every_report
def test_print_has_a_white_background(open_report, name):
    """Whatever the screen's colours; and controls that work only on a screen are left out."""
    page = open_report(name, scheme="dark").page

    page.emulate_media(media="print", color_scheme="dark")

    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.locator(":is(nav, .filters, button):visible").count() == 0
