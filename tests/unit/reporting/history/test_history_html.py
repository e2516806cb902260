"""``history.html``: what is not ours stays words, and reports that are there are linked."""

from load_records import load_run, lognormal_seconds

from knouds_harness.reporting.history.changes import series_of
from knouds_harness.reporting.history.entry import entry_of
from knouds_harness.reporting.history.report import series_report
from knouds_harness.reporting.html import html
from knouds_harness.runs.record import read_run


def page_of(root, **plan):
    """The page of one run."""
    folder = load_run(root / "runs", {"whoami": lognormal_seconds(1, seconds=2)}, plan=plan)
    entry = entry_of(read_run(folder))
    series = series_of("p99_ms:whoami", [entry], {entry.folder: 12.0})
    return folder, html(series_report("p99_ms:whoami", series, runs_folder=root / "runs"))


def test_words_of_a_record_stay_words(tmp_path):
    """Neither markup nor the end of a script."""
    _, page = page_of(tmp_path, scenario="</script><script>alert(1)</script>")

    assert "<script>alert" not in page


def test_reports_that_are_there_are_linked(tmp_path):
    """Beside the page; a run without one, or whose folder is gone, is named only."""
    folder, page = page_of(tmp_path)
    assert "href=" not in page.split("<main", 1)[1]

    (folder / "report.html").write_text("", encoding="utf-8")
    entry = entry_of(read_run(folder))
    series = series_of("p99_ms:whoami", [entry], {entry.folder: 12.0})
    page = html(series_report("p99_ms:whoami", series, runs_folder=tmp_path / "runs"))

    assert f'href="runs/{folder.name}/report.html"' in page
