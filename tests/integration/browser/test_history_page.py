"""``history.html`` in a real browser: the chart is drawn, and follows the window and its colours."""

import pytest

pytestmark = pytest.mark.slow

PAINTED = """() => {
  const canvas = document.querySelector('#chart-0 canvas');
  const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
  return new Set(new Uint32Array(pixels.buffer)).size;
}"""


def test_chart_is_drawn(open_report):
    """Points, level, axes and the change make more than a few colours."""
    page = open_report("history").page

    assert page.locator(".verdict").inner_text().endswith("over 12 runs. One change.")
    assert page.evaluate(PAINTED) > 5


def test_chart_is_as_wide_as_its_place(open_report):
    page = open_report("history").page

    page.set_viewport_size({"width": 500, "height": 800})

    page.wait_for_function("document.querySelector('#chart-0 .uplot').clientWidth <= 500")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_figures_stand_in_a_table(open_report):
    page = open_report("history").page

    page.get_by_text("All figures").click()

    assert page.locator(".list tbody tr").count() == 12
    assert page.get_by_text("begins here").count() == 1
