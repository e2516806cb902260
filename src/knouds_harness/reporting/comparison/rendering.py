"""All reports of one comparison, written into a folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from knouds_harness.errors import RunRecordError
from knouds_harness.reporting.comparison.html import comparison_html
from knouds_harness.reporting.comparison.json_file import comparison_json
from knouds_harness.reporting.comparison.markdown import comparison_markdown
from knouds_harness.reporting.comparison.texts import Comparison


@dataclass(frozen=True, kw_only=True)
class ComparisonPaths:
    """Where the reports are: for people, for a pull request's comment, for programs."""

    html: Path
    markdown: Path
    json: Path


def write_comparison(comparison: Comparison, folder: Path) -> ComparisonPaths:
    """Write every report of a comparison.

    Args:
        comparison: What came of it.
        folder: Is made where it is missing.

    Raises:
        RunRecordError: It cannot be written to.
    """
    paths = ComparisonPaths(
        html=folder / "compare.html", markdown=folder / "compare.md", json=folder / "compare.json"
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in (
            (paths.html, comparison_html(comparison)),
            (paths.markdown, comparison_markdown(comparison)),
            (paths.json, comparison_json(comparison)),
        ):
            path.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")
    except OSError as error:
        raise RunRecordError(
            f"{folder}: cannot be written to: {error.strerror}\n  Name another folder with --output."
        ) from error
    return paths
