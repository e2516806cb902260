"""Reports of load: what is drawn, and how it is used."""

import pytest

pytestmark = pytest.mark.slow
CHARTS = ["chart-rate", "chart-errors", "chart-times", "chart-percentiles", "chart-capacity", "heat"]
COLOURS = """(id) => {
  const canvas = document.querySelector(`#${id} canvas`) ?? document.getElementById(id);
  const image = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  return new Set(new Uint32Array(image.data.buffer)).size;
}"""


@pytest.fixture
def page(open_page):
    return open_page("loaded")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_charts_are_drawn(open_page, scheme):
    """Lines, axes and labels give many colours on a canvas that was empty."""
    page = open_page("loaded", scheme=scheme)

    colours = {id_: page.evaluate(COLOURS, id_) for id_ in CHARTS}
    assert [id_ for id_, count in colours.items() if count <= 10] == []


def test_charts_without_anything_to_show_are_left_out(open_page):
    """An empty frame would look like an error of the report."""
    calm = open_page("calm")

    assert open_page("unmeasured").locator("figure:visible").count() == 0
    assert calm.locator("#chart-rate").is_visible()
    assert not calm.locator("#chart-errors").is_visible()


def test_times_over_all_operations_are_shown_first(page):
    """The other choices are the 99th percentile of each operation, and the times of one."""
    names = page.locator("#chart-times .key")
    first = names.all_inner_texts()

    page.select_option("#pick-times", "")

    each = names.all_inner_texts()
    page.select_option("#pick-times", "runWorkflow")
    own = names.all_inner_texts()

    assert page.locator("#pick-times option").first.inner_text() == "all operations"
    assert [name.strip() for name in first] == ["median", "99th percentile", "longest"]
    assert [name.strip() for name in each] == ["getWhoami", "runWorkflow", "runWorkflow async"]
    assert [name.strip() for name in own] == ["median", "99th percentile", "longest"]


def test_line_can_be_hidden_by_keyboard(page):
    key = page.locator("#chart-rate .key").first
    assert key.get_attribute("aria-pressed") == "true"

    key.press("Enter")

    page.wait_for_function("(e) => e.getAttribute('aria-pressed') === 'false'", arg=key.element_handle())


def test_heat_map_can_be_read_by_keyboard_and_pointer(page):
    page.locator("#heat").press("ArrowUp")
    assert page.inner_text("#heat-readout").startswith("second 0, ")

    page.locator("#heat").hover(position={"x": 300, "y": 100})
    assert " request" in page.inner_text("#heat-readout")


def test_charts_follow_the_colour_scheme(page):
    before = page.evaluate("document.querySelector('#chart-rate canvas').toDataURL()")

    page.emulate_media(color_scheme="dark")

    page.wait_for_function(
        "(then) => document.querySelector('#chart-rate canvas').toDataURL() !== then", arg=before
    )


def test_rate_limit_windows_fill_their_track(page):
    """Each is drawn at its time, and filled by the share of the limit that it admitted."""
    boxes = page.locator(".limit-window").evaluate_all(
        """(all) => all.map((each) => [
          each.offsetLeft, each.offsetWidth, each.querySelector("i").offsetHeight / each.offsetHeight])"""
    )
    track = page.locator(".track").first.evaluate("(e) => e.clientWidth")

    assert [round(full, 1) for _, _, full in boxes] == [0.6, 1.0, 0.6]
    assert [round(left / track, 1) for left, _, _ in boxes] == [0.0, 0.0, 0.5]
    assert all(abs(width / track - 0.5) < 0.01 for _, width, _ in boxes)


def test_error_opens_its_evidence(page):
    page.locator("section", has=page.locator("#operations")).locator("a", has_text="x00001").click()

    assert page.locator("#x00001 pre").first.is_visible()


def test_printed_report_fits_on_a_few_pages(page, tmp_path):
    path = tmp_path / "report.pdf"

    page.pdf(path=path, format="A4")

    assert path.read_bytes().count(b"/Type /Page\n") < 15
