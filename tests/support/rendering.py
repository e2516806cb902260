"""Reports as their readers get them: lines of a terminal, tables of a page, samples of metrics."""

import io
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from prometheus_client.openmetrics.parser import text_string_to_metric_families
from rich.console import Console

from knouds_harness.reporting.render import render_and_print
from knouds_harness.reporting.report import Report
from knouds_harness.reporting.terminal import print_report

FILES = {
    "html": "report.html",
    "markdown": "report.md",
    "junit": "junit.xml",
    "summary": "summary.json",
    "metrics": "metrics.txt",
}
VOID = {"meta", "input", "br", "link", "img", "hr"}


def printed(shown: Report | Path, *, width: int = 80, is_terminal: bool = False, **options: Any) -> str:
    """Return what a console of this width gets of a report, or of a run folder, which is rendered too."""
    text = io.StringIO()
    console = Console(file=text, width=width, force_terminal=is_terminal, color_system=None)
    if isinstance(shown, Report):
        print_report(shown, None, console=console)
    else:
        render_and_print(shown, console=console, **options)
    return text.getvalue()


def render_all(folder: Path) -> SimpleNamespace:
    """Render a run; return the paths of its reports, the one in CSV as ``table``."""
    printed(folder)
    table = "operations.csv" if (folder / "operations.csv").exists() else "facts.csv"
    return SimpleNamespace(**{kind: folder / name for kind, name in FILES.items()}, table=folder / table)


class Page(HTMLParser):
    """Parse a page like a browser; fail if tags are not closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)
        if {"td", "th"} & set(self._open):
            self.rows[-1][-1] += data

    def all(self, *tags: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.elements if tag in tags]

    @property
    def text(self) -> str:
        return "".join(self.texts)


def samples(text: str) -> dict[tuple[str, ...], float]:
    """Return every sample by name and label values, as the reference parser reads them."""
    return {
        (sample.name.removeprefix("knouds_harness_"), *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)  # type: ignore[no-untyped-call]  # the library says no types
        for sample in family.samples
    }
