"""How long reports of large runs take: rendering, memory, and opening in a browser.

Two records are made by hand in a temporary folder: one hour of load at 2,000 requests a second over 20
operations, and a check with 10,000 exchanges. Each is rendered in a process of its own, as ``knouds-harness
report`` does; then Chromium opens the page.

    python benchmarks/report_scale.py [--rounds 3] [--keep DIR]
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "support"))

OPERATIONS = 20
SECONDS = 3600
EXCHANGES = 10_000
LIMITS = {"render_s": 3.0, "memory_mb": 300.0, "open_s": 2.0}


def hour_of_load(root: Path) -> Path:
    """2,000 requests a second: 100 of each of 20 operations, every second."""
    from loaded_runs import loaded  # noqa: PLC0415 - from tests/support, found above

    medians = {f"operation{number:02}": 2.0 * 1.3**number for number in range(OPERATIONS)}
    return loaded(root, seconds=SECONDS, operations=medians, samples=100)


def large_check(root: Path) -> Path:
    """10,000 exchanges, a finding in every fifth of 500 of them, and the whole matrix."""
    from run_records import DOCUMENT, add_finding, add_matrix, add_untested, add_verified, exchange, running  # noqa: PLC0415 - from tests/support, found above

    operations = [each.id for each in DOCUMENT.operations]
    with running(root) as writer:
        add_matrix(writer)
        add_verified(writer)
        add_untested(writer)
        rows = [{"id": number, "status": "completed", "cost": 0.024} for number in range(20)]
        for number in range(1000, 1000 + EXCHANGES):
            operation = operations[number % len(operations)]
            shown = exchange(number, operation, body={"rows": rows, "total": number}, sent={"number": number})
            if number % 100 == 0:
                add_finding(
                    writer, shown, "run.cost-is-credits", where=f"/rows/cost{number}", observed="text"
                )
            else:
                writer.add_exchange(shown)
        writer.finish("broken", 1)
    return writer.folder


def render(folder: Path) -> dict[str, float]:
    """Render in a process of its own; seconds without its start, and its peak memory."""
    code = (
        "import sys, time; from pathlib import Path; from knouds_harness.reporting.render import render_all\n"
        "import resource; began = time.perf_counter(); render_all(Path(sys.argv[1]))\n"
        "took = time.perf_counter() - began\n"
        "print(took, time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)"
    )
    printed = subprocess.run(
        [sys.executable, "-c", code, str(folder)], check=True, capture_output=True, text=True
    ).stdout
    took_s, processor_s, memory_mb = map(float, printed.split())
    return {"render_s": took_s, "processor_s": processor_s, "memory_mb": memory_mb}


def opener() -> tuple[Callable[[Path], float], Callable[[], None]] | None:
    """Opens a page in Chromium and says how long that took; None without a browser."""
    chromium = shutil.which("chromium")
    try:
        from playwright.sync_api import sync_playwright  # noqa: PLC0415 - rendering is measured without it
    except ImportError:
        return None
    if chromium is None:
        return None
    playwright = sync_playwright().start()
    browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])

    def opened(path: Path) -> float:
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        began = time.perf_counter()
        page.goto(path.as_uri())
        page.evaluate("new InvariantKey((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        took_s = time.perf_counter() - began
        page.close()
        return took_s

    def close() -> None:
        browser.close()
        playwright.stop()

    return opened, close


def measure(name: str, folder: Path, rounds: int) -> dict[str, float]:
    """Medians, and the size of the page."""
    rendered = [render(folder) for _ in range(rounds)]
    figures = {key: statistics.median(each[key] for each in rendered) for key in rendered[0]}
    path = folder / "report.html"
    figures["size_mb"] = path.stat().st_size / 1e6
    browser = opener()
    if browser:
        opened, close = browser
        opened(path)  # the browser itself starts with the first page
        figures["open_s"] = statistics.median(opened(path) for _ in range(rounds))
        close()
    for key, value in figures.items():
        limit = f"  (at most {LIMITS[key]:g})" if key in LIMITS else ""
        print(f"{name:24} {key:12} {value:8.2f}{limit}")
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--keep", type=Path, help="leave the records there")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        root = asked.keep or Path(temporary)
        figures = {
            name: measure(name, write(root / name.replace(" ", "-")), asked.rounds)
            for name, write in {"one hour of load": hour_of_load, "10,000 exchanges": large_check}.items()
        }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
