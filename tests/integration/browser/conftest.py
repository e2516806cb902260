"""A browser, and rendered reports to open in it."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from load_records import load_side
from loaded_runs import calm, loaded, unmeasured
from rendering import render_all
from run_records import broken, empty, healthy, interrupted

from knouds_harness.reporting.comparison.check_comparison import check_figures, compare_checks
from knouds_harness.reporting.comparison.load_comparison import compare_loads, read_tolerances
from knouds_harness.reporting.comparison.report import write_comparison
from knouds_harness.runs.record import read_run


def _compared_loads(folder: Path) -> Path:
    before = load_side(folder, 100, 100, 100)
    after = load_side(folder, 150, 150, 150, first_seed=50)
    tolerances = read_tolerances(None, "reads", [])
    compared = compare_loads(before, after, tolerances=tolerances, objectives=None)
    return write_comparison(compared, folder / "compared")


def _compared_checks(folder: Path) -> Path:
    before, after = (check_figures(read_run(write(folder / write.__name__))) for write in (healthy, broken))
    return write_comparison(compare_checks(before, after), folder / "compared")


WRITERS: dict[str, Callable[[Path], Path]] = {
    "healthy": healthy,
    "broken": broken,
    "interrupted": interrupted,
    "empty": empty,
    "calm": calm,
    "loaded": loaded,
    "unmeasured": unmeasured,
}
"""Makes the run of each report."""
PAGES: dict[str, Callable[[Path], Path]] = {
    "compared-loads": _compared_loads,
    "compared-checks": _compared_checks,
}
"""Makes pages that are not rendered from one complete run."""
REPORTS = [*WRITERS, *PAGES]
SCREENSHOTS = Path(os.environ.get("BROWSER_SCREENSHOTS", "reports/screenshots"))
_TIMEOUT_MS = 120_000  # a busy machine is slow, not wrong
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests that need a browser."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.browser)


def _missing(what: str) -> None:
    """Skip the test; fail instead if a browser is required (``REQUIRE_BROWSER=1``, as in CI)."""
    if os.environ.get("REQUIRE_BROWSER"):
        pytest.fail(what)
    pytest.skip(what)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Debian's Chromium, or the one that ``CHROMIUM`` names."""
    executable = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if executable is None:
        _missing("no Chromium here: apt-get install chromium, or name one in CHROMIUM")
    try:
        from playwright.sync_api import sync_playwright  # noqa: PLC0415 - only these tests need it
    except ImportError:
        _missing("Playwright is not installed: pip install --group browser")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="session")
def report_paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """``report.html`` by the kind of run, and other pages by name."""
    others = {name: write(tmp_path_factory.mktemp(name)) for name, write in PAGES.items()}
    rendered = {
        name: render_all(write(tmp_path_factory.mktemp(name))).html for name, write in WRITERS.items()
    }
    return others | rendered


@dataclass
class Opened:
    """A report in a browser: the page, each requested URL, errors of scripts and of the content policy."""

    page: Any
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


@contextmanager
def opening(browser: Any, path: Path, *, scheme: str = "light", **options: Any) -> Iterator[Opened]:
    """Open a file in a window of its own."""
    context = browser.new_context(**{"viewport": DESKTOP, "color_scheme": scheme, **options})
    context.set_default_timeout(_TIMEOUT_MS)
    opened = Opened(context.new_page())
    opened.page.on("request", lambda request: opened.requests.append(request.url))
    opened.page.on("console", lambda message: opened.complaints.append(message.text))
    opened.page.on("pageerror", lambda error: opened.complaints.append(str(error)))
    opened.page.goto(path.as_uri())
    yield opened
    context.close()


@pytest.fixture
def open_page(browser: Any, report_paths: dict[str, Path]) -> Iterator[Callable[..., Any]]:
    """Open a report by its name; return Playwright's page."""
    with ExitStack() as windows:

        def open_page(name: str, **options: Any) -> Any:
            return windows.enter_context(opening(browser, report_paths[name], **options)).page

        yield open_page
