"""Make the sample reports of the site, in ``docs/samples``, and with ``--pictures`` the pictures in ``docs``.

On a machine that does nothing else; a site is made by ``nox -s site``, the pictures by ``nox -s samples``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parent
FAULTS: Final = ("auth-bearer-accepted", "async-status-is-queued", "envelope-404-as-html")
CHECK: Final = ("check", "--quick", "--seed", "175124973", *(f"--fault={each}" for each in FAULTS))
LOAD: Final = ("load", "mixed", "--rate=40", "--duration=20s", "--warm-up=3", "--verify")
SEEDS: Final = ("1", "2", "3", "679172862")
"""Of the load runs: all but the last are the baseline of that one."""
WIDTH: Final = 1200


def _ran(folder: Path, *arguments: str) -> Path:
    """Run a command, whatever it finds, and return the folder of its run."""
    runs = folder / "reports/runs"
    before = set(runs.glob("*"))
    subprocess.run([sys.executable, "-m", "knouds_harness", *arguments], cwd=folder, check=False)  # noqa: S603
    (made,) = set(runs.glob("*")) - before
    return made


def _make_reports(folder: Path) -> None:
    (FOLDER / "samples").mkdir(exist_ok=True)
    checked = _ran(folder, *CHECK)
    *baseline, loaded = SEEDS
    kept = [str(_ran(folder, *LOAD, "--seed", seed)) for seed in baseline]
    keep = ("compare", "--keep", "sandbox-mixed", *kept)
    subprocess.run([sys.executable, "-m", "knouds_harness", *keep], cwd=folder, check=True)  # noqa: S603
    for name, run in (("check", checked), ("load", _ran(folder, *LOAD, "--seed", loaded))):
        shutil.copy(run / "report.html", FOLDER / f"samples/{name}.html")


def _take_pictures() -> None:
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - the reports alone need no browser

    executable = os.environ.get("CHROMIUM") or shutil.which("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": 960})
        page.goto((FOLDER / "samples/check.html").as_uri())
        page.screenshot(path=FOLDER / "report-check.png")
        page.goto((FOLDER / "samples/load.html").as_uri())
        top, end = (page.locator(f"#{each}").bounding_box() for each in ("time", "percentiles"))
        height = end["y"] - top["y"]
        clip = {"x": 0, "y": top["y"] - 10, "width": WIDTH, "height": height}
        page.screenshot(path=FOLDER / "report-load.png", full_page=True, clip=clip)
        browser.close()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        _make_reports(Path(scratch))
    if "--pictures" in sys.argv:
        _take_pictures()
