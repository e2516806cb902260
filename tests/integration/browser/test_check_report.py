"""Reports of checks, used as a user would."""

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture
def page(open_page):
    return open_page("broken")


def shown_facts(page):
    return page.locator("#fact-table tr[data-status]:visible")


def test_facts_are_filtered_by_standing(page):
    page.select_option("#fact-status", "breach")

    statuses = {row.get_attribute("data-status") for row in shown_facts(page).all()}
    assert statuses == {"breach"}
    assert page.inner_text("#fact-count").startswith(f"{shown_facts(page).count()} of ")


def test_facts_are_searched(page):
    """Every word must match, in any column of the row."""
    page.fill("#fact-text", "COST credits run.cost-is-credits")

    assert shown_facts(page).count() == 1
    assert page.locator("#fact-run\\.cost-is-credits").is_visible()


def test_tile_filters_the_facts(page):
    tile = page.locator(".tiles a.verified")
    count = int(tile.locator("b").inner_text())

    tile.click()

    assert shown_facts(page).count() == count


def test_findings_are_searched(page):
    page.fill("#finding-text", "x-ratelimit-limit")

    section = page.locator("section", has=page.locator("#findings"))
    assert section.locator("details[data-finding]:visible").count() == 1
    assert section.locator("article.fact:visible").count() == 1
    assert page.inner_text("#finding-count").startswith("1 of ")


def test_cell_opens_its_exchange(page):
    cell = page.locator("td a.cell").last
    target = page.locator(f"[id='{cell.get_attribute('href').removeprefix('#')}']")
    assert not target.is_visible()

    cell.click()

    assert target.is_visible()
    assert page.evaluate("(e) => e.getBoundingClientRect().top < innerHeight", target.element_handle())


def test_fact_in_breach_shows_its_findings(page):
    page.fill("#finding-text", "nothing like this")
    page.locator("#fact-run\\.cost-is-credits a.badge").click()

    assert page.locator("#about-run\\.cost-is-credits").is_visible()


def test_offending_place_is_marked(page):
    finding = page.locator("article.fact", has=page.locator("#about-run\\.cost-is-credits"))

    assert finding.locator("mark").all_inner_texts() == ['  "cost": "12",']


def test_command_is_copied(page):
    button = page.locator("button[data-copies]:visible").first

    button.click()

    page.wait_for_function(
        "(e) => ['Copied', 'Selected'].includes(e.textContent)", arg=button.element_handle()
    )


def test_page_is_complete_without_scripts(open_page):
    page = open_page("broken", java_script_enabled=False)

    assert page.locator("#fact-table tr[data-status]").first.is_visible()
    assert page.locator("button:visible, input:visible").count() == 0
