"""``history.html`` in a real browser: its chart is drawn, and follows window size and colour scheme."""

import pytest

pytestmark = pytest.mark.slow

PAINTED = """() => {
  const canvas = document.querySelector('#chart-0 canvas');
  const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
  return new Set(new Uint32Array(pixels.buffer)).size;
}"""


def test_chart_is_drawn(open_report):
    """Points, level, axes and the change give more than a few colours."""
    page = open_report("history").page

    assert page.locator(".verdict").inner_text().endswith("over 12 runs. One change.")
    assert page.evaluate(PAINTED) > 5


def test_chart_follows_the_window_width(open_report):
    page = open_report("history").page

    page.set_viewport_size({"width": 500, "height": 800})

    page.wait_for_function("document.querySelector('#chart-0 .uplot').clientWidth <= 500")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_figures_are_also_in_a_table(open_report):
    page = open_report("history").page

    page.get_by_text("All figures").click()

    assert page.locator(".list tbody tr").count() == 12
    assert page.get_by_text("begins here").count() == 1
