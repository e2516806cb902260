"""The columns of load's tables: declared once, and the same in every report."""

import csv
import json
import re
from html.parser import HTMLParser
from io import StringIO

import pytest
from load_records import load_run, lognormal_seconds
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from rich.console import Console

from knouds_harness.reporting.comparison.load_figures import load_figures
from knouds_harness.reporting.load import columns
from knouds_harness.reporting.load.columns import LoadColumn, operation_columns, time_columns
from knouds_harness.reporting.render import render_all, render_and_print
from knouds_harness.runs.load_record import load_file_format
from knouds_harness.runs.load_results import LOAD_FILE
from knouds_harness.runs.operation_load import (
    ALL_OPERATIONS,
    RECORDED_PERCENTS,
    STATUSES,
    OperationLoad,
    Times,
)
from knouds_harness.runs.record import read_run

OPERATIONS = ["getPublicWorkflowSchema", "runWorkflow async"]
NEVER_CAME = {"throttled", "refused", "wrong"}
HEADINGS = [*(column.heading.lower() for column in operation_columns()), "p50", "p90", "p95", "p99", "max"]


class Tables(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self._is_cell = False
        self.feed(page)

    def handle_starttag(self, tag, attrs):  # noqa: ARG002 - as HTMLParser has it
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th") and self.rows:
            self._is_cell = True
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        self._is_cell = self._is_cell and tag not in ("td", "th")

    def handle_data(self, data):
        if self._is_cell:
            self.rows[-1][-1] += data


@pytest.fixture
def folder(tmp_path):
    """Two operations, one of which sometimes failed; half of each time was spent waiting to be sent."""
    seconds = {
        name: lognormal_seconds(number, median_ms=8.0 * 30**number, spread=1.0)
        for number, name in enumerate(OPERATIONS)
    }
    folder = load_run(tmp_path, seconds, failed=3)
    contents = json.loads((folder / LOAD_FILE).read_text())
    for operation in contents["operations"]:
        service = operation["service"]
        service["percentiles"] = {percent: ms / 2 for percent, ms in service["percentiles"].items()}
        service |= {name: service[name] / 2 for name in ("mean_ms", "min_ms", "max_ms")}
    (folder / LOAD_FILE).write_text(json.dumps(contents))
    return folder


def shown(folder, *, width: int | None = None) -> list[str]:
    file = StringIO()
    console = Console(
        file=file,
        width=width or 80,
        force_terminal=width is not None,
        color_system=None,
        legacy_windows=False,
    )
    render_and_print(folder, console=console)
    lines = file.getvalue().splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("  times in ms"))
    last = next(number for number, line in enumerate(lines) if line.startswith(f"  {ALL_OPERATIONS}"))
    return [line.rstrip() for line in lines[first : last + 1]]


def cells_of(line: str) -> list[str]:
    return re.split(r" {2,}", line.strip())


def in_terminal(folder, operation: str) -> dict[str, str]:
    head, *rows = map(cells_of, shown(folder))
    row = next(row for row in rows if row[0] == operation)
    figures = dict(zip(head[1:], row[1:], strict=True))
    times = {column.heading.lower() for column in time_columns()}
    return {name: f"{text} ms" if name in times and text != "-" else text for name, text in figures.items()}


def in_markdown(folder, operation: str) -> dict[str, str]:
    lines = render_all(folder).markdown.read_text().splitlines()
    head, _, *rows = [
        [cell.strip().strip("`*") for cell in line.strip("|").split("|")] for line in lines if "|" in line
    ]
    return dict(zip(head[1:], next(row for row in rows if row[0] == operation)[1:], strict=True))


def in_html(folder, operation: str) -> dict[str, str]:
    rows = Tables(render_all(folder).html.read_text()).rows
    figures: dict[str, str] = {}
    for place, head in enumerate(rows):
        if head[0] == "Operation" and head[-1] in ("Errors", "Max"):
            names = head[2:] if head[1] == "Time" else head[1:]
            row = next(row for row in rows[place + 1 :] if row[0] == operation and row[1] != "service")
            figures |= dict(zip(map(str.lower, names), row[-len(names) :], strict=True))
    return figures


def in_record(folder, operation: str) -> dict[str, str]:
    results = load_file_format().validate_json((folder / LOAD_FILE).read_bytes())
    row = next(row for row in (*results.operations, results.total) if row.operation == operation)
    return {
        **{column.heading.lower(): column.text(row) for column in operation_columns()},
        **{column.heading.lower(): column.text(row.response) for column in time_columns()},
    }


@pytest.mark.parametrize("operation", [*OPERATIONS, ALL_OPERATIONS])
def test_figures_are_the_same_in_every_report_for_people(folder, operation):
    """Tables of text have five times, and leave out statuses that never occurred."""
    expected = in_record(folder, operation)
    text = {name: expected[name] for name in HEADINGS if name not in NEVER_CAME}

    assert in_html(folder, operation) == expected
    assert in_markdown(folder, operation) == text
    assert in_terminal(folder, operation) == text
    assert expected["p95"] != expected["p99"] != expected["mean"] != "-"


@pytest.mark.parametrize("operation", OPERATIONS)
def test_figures_are_the_same_in_csv_and_summary(folder, operation):
    paths = render_all(folder)
    table = next(
        row for row in csv.DictReader(paths.table.read_text().splitlines()) if row["operation"] == operation
    )
    rows = json.loads(paths.summary.read_text())["load"]["operations"]
    summary = next(row for row in rows if row["operation"] == operation)

    assert {name: int(table[name]) for name in STATUSES} == summary["by_status"]
    assert float(table["per_s"]) == summary["per_s"]
    for kind in ("response", "service"):
        times = summary[kind]
        assert float(table[f"{kind}_mean_ms"]) == times["mean_ms"]
        assert float(table[f"{kind}_max_ms"]) == times["max_ms"]
        percentiles = {percent: float(table[f"{kind}_p{percent}_ms"]) for percent in RECORDED_PERCENTS}
        assert percentiles == times["percentiles"]


def test_all_operations_are_the_sum_of_each(folder):
    """Their times are those of all requests, not means of percentiles."""
    results = load_file_format().validate_json((folder / LOAD_FILE).read_bytes())
    total = results.total

    assert total.requests == sum(each.requests for each in results.operations) == 4060
    assert total.by_status["failed"] == 60
    assert total.error_rate == pytest.approx(60 / 4060)
    assert total.response == results.overall
    assert total.response.count == 4000


def test_single_operation_has_no_row_for_all(tmp_path):
    paths = render_all(load_run(tmp_path, {"getWhoami": [[1.0, 2.0]]}))

    assert ALL_OPERATIONS not in paths.markdown.read_text()
    assert [ALL_OPERATIONS] not in [row[:1] for row in Tables(paths.html.read_text()).rows]


def test_new_column_needs_one_declaration(folder, monkeypatch):
    share: LoadColumn[OperationLoad] = LoadColumn(
        key="kept_rate",
        heading="Kept rate",
        unit="share",
        figure=lambda load: load.by_status["ok"] / load.requests,
        metric="kept_rate",
        says="The share of requests that were kept.",
        rank=9,
    )
    least: LoadColumn[Times] = LoadColumn(
        key="min_ms",
        heading="Min",
        unit="ms",
        figure=lambda times: times.min_ms,
        metric="min_time_seconds",
        says="The shortest time.",
        rank=9,
    )
    monkeypatch.setattr(columns, "OPERATION_COLUMNS", (*columns.OPERATION_COLUMNS, share))
    monkeypatch.setattr(columns, "TIME_COLUMNS", (least, *columns.TIME_COLUMNS))
    operation = OPERATIONS[0]
    results = load_file_format().validate_json((folder / LOAD_FILE).read_bytes())
    (load,) = [each for each in results.operations if each.operation == operation]
    expected = {"kept rate": "97.09%", "min": f"{load.response.min_ms:.2f} ms"}

    paths = render_all(folder)

    assert expected.items() <= in_terminal(folder, operation).items()
    assert expected.items() <= in_markdown(folder, operation).items()
    page = Tables(paths.html.read_text()).rows
    assert [row for row in page if row[0] == operation and row[-1] == expected["kept rate"]]
    assert [row for row in page if row[:3] == [operation, "response", expected["min"]]]
    table = next(csv.DictReader(paths.table.read_text().splitlines()))
    assert float(table["kept_rate"]) == 2000 / 2060
    assert float(table["response_min_ms"]) == load.response.min_ms
    assert float(table["service_min_ms"]) == load.service.min_ms
    samples = {
        (sample.name, sample.labels.get("operation")): sample.value
        for family in text_string_to_metric_families(paths.metrics.read_text())
        for sample in family.samples
    }
    assert samples["knouds_harness_kept_rate", operation] == 2000 / 2060
    assert samples["knouds_harness_response_min_time_seconds", operation] == load.response.min_ms / 1000


def test_metrics_have_every_figure(folder):
    results = load_file_format().validate_json((folder / LOAD_FILE).read_bytes())
    load = results.operations[0]

    samples = {
        (sample.name.removeprefix("knouds_harness_"), *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(render_all(folder).metrics.read_text())
        for sample in family.samples
    }

    name = load.operation
    assert samples["requests_total", "failed", name] == 60
    assert samples["requests_per_second", name] == load.per_s
    assert samples["error_rate", name] == load.error_rate
    assert load.response.mean_ms
    assert samples["response_mean_time_seconds", name] == load.response.mean_ms / 1000
    assert samples["response_time_seconds", "0.95", name] == load.response.percentiles["95"] / 1000
    assert samples["response_time_seconds", "1", name] == load.response.max_ms / 1000
    assert samples["service_time_seconds", "0.999", name] == load.service.percentiles["99.9"] / 1000


@pytest.fixture
def phased(folder):
    """The first operation waited 3 ms for its first byte, over two TLS connections."""
    contents = json.loads((folder / LOAD_FILE).read_text())
    percentiles = dict.fromkeys(RECORDED_PERCENTS, 3.0)
    times = {"count": 2, "mean_ms": 3.0, "min_ms": 3.0, "max_ms": 3.0, "percentiles": percentiles}
    contents["operations"][0] |= {"first_byte": times, "body": times, "tls": times}
    contents["operations"][0] |= {"connections_opened": 2, "connections_reused": 7}
    contents["operations"][0] |= {"sent_bytes": 1234567, "received_bytes": 999}
    (folder / LOAD_FILE).write_text(json.dumps(contents))
    return folder


def test_phases_and_bytes_are_in_every_report(phased):
    """Tables round them, and leave out phases that never occurred."""
    screen = StringIO()
    paths = render_and_print(phased, console=Console(file=screen, width=80))
    name = OPERATIONS[0]
    operation = json.loads((phased / LOAD_FILE).read_text())["operations"][0]
    waited = f"{operation['response']['mean_ms'] - operation['service']['mean_ms']:.2f} ms"
    traffic = ["2", "7", "1.23 MB", "999 B"]

    lines = screen.getvalue().splitlines()
    head = next(number for number, line in enumerate(lines) if line.startswith("  medians in ms"))
    assert cells_of(lines[head])[1:4] == ["tls", "first byte", "body"]
    assert cells_of(lines[head + 1]) == [name, *["3.00"] * 3, *traffic]
    assert f"| `{name}` | {' | '.join([*['3.00 ms'] * 3, *traffic])} |" in paths.markdown.read_text()
    page = Tables(paths.html.read_text()).rows
    assert waited in next(row for row in page if row[:2] == ["waited", name])
    assert [row[:3] for row in page if row[0] in ("DNS", "TLS", "first byte", "body")] == [
        [phase, name, "2"] for phase in ("TLS", "first byte", "body")
    ]
    assert [name, *traffic] in page
    table = next(csv.DictReader(paths.table.read_text().splitlines()))
    assert (table["sent_bytes"], table["first_byte_p50_ms"], table["dns_p50_ms"]) == ("1234567", "3.0", "")
    metrics = paths.metrics.read_text()
    assert f'knouds_harness_sent_bytes_total{{operation="{name}"}} 1.234567e+06' in metrics
    assert f'knouds_harness_tls_time_seconds{{operation="{name}",quantile="0.99"}} 0.003' in metrics


def test_run_without_phases_has_no_phase_table(folder):
    assert "first byte" not in render_all(folder).markdown.read_text()
    assert "Phases" not in render_all(folder).html.read_text()


@pytest.mark.parametrize("width", [60, 80, 100, 120])
def test_terminal_drops_columns_and_shortens_nothing(folder, width):
    """Names and figures are complete, each line fits, and the essential columns are kept."""
    head, *rows = shown(folder, width=width)

    assert max(len(line) for line in (head, *rows)) <= width
    assert [cells_of(row)[0] for row in rows] == [*OPERATIONS, ALL_OPERATIONS]
    whole = {name: cells_of(line)[1:] for name, line in zip(OPERATIONS, shown(folder)[1:], strict=False)}
    for name, row in zip(OPERATIONS, rows, strict=False):
        assert set(cells_of(row)[1:]) <= set(whole[name])
    assert {"errors", "p50", "p95", "p99"} <= set(cells_of(head))


def test_lines_are_kept_whole_in_a_terminal_that_is_too_narrow(folder):
    """The terminal wraps them; nothing is folded within a column."""
    head, *rows = shown(folder, width=30)

    assert cells_of(head)[1:] == ["errors", "p50", "p95", "p99"]
    assert [cells_of(row)[0] for row in rows] == [*OPERATIONS, ALL_OPERATIONS]


def test_terminal_of_80_columns_has_five_times(folder):
    assert {"errors", "p50", "p90", "p95", "p99", "max"} <= set(cells_of(shown(folder, width=80)[0]))


def test_pipe_gets_every_column_and_no_wrapping(folder):
    head, *rows = shown(folder)

    assert cells_of(head)[1:] == [name for name in HEADINGS if name not in NEVER_CAME]
    assert {len(line) for line in rows} == {len(head)}
    assert len(head) > 80


@pytest.fixture
def older(folder):
    """A record without newer figures: mean, some percentiles, and times of all operations."""
    path = folder / LOAD_FILE
    contents = json.loads(path.read_text())
    del contents["overall"]
    for operation in contents["operations"]:
        for kind in ("response", "service", "refused_response", "server"):
            del operation[kind]["mean_ms"]
            for percent in ("75", "95"):
                del operation[kind]["percentiles"][percent]
    path.write_text(json.dumps(contents))
    return folder


def test_older_record_is_shown_with_dashes_for_missing_figures(older):
    """Not with zeros."""
    whole = in_terminal(older, OPERATIONS[0])

    assert whole["p95"] == "-"
    assert whole["p99"] == in_record(older, OPERATIONS[0])["p99"] != "-"
    assert in_html(older, OPERATIONS[0])["p95"] == in_markdown(older, OPERATIONS[0])["p95"] == "-"
    assert in_markdown(older, ALL_OPERATIONS)["p99"] == "-"
    assert in_markdown(older, ALL_OPERATIONS)["requests"] == "4,060"
    table = next(csv.DictReader(render_all(older).table.read_text().splitlines()))
    assert table["response_p95_ms"] == table["response_mean_ms"] == ""


def test_older_record_is_compared_by_the_figures_it_has(older):
    operation = OPERATIONS[0]
    compared = load_figures(read_run(older)).figures[operation]

    assert "p95_ms" not in compared
    assert in_record(older, operation)["p99"] == f"{compared['p99_ms'].value:.1f} ms"


def test_comparison_has_the_figures_of_the_reports(folder):
    results = load_file_format().validate_json((folder / LOAD_FILE).read_bytes())

    compared = load_figures(read_run(folder)).figures["all"]

    assert results.overall is not None
    assert compared["p95_ms"].value == results.overall.percentiles["95"]
    assert compared["error_rate"].value == results.total.error_rate
    assert compared["requests_per_s"].value == results.total.per_s


def test_operation_names_are_not_obeyed_by_the_terminal(tmp_path):
    """A user's Locust file may call its requests anything."""
    folder = load_run(tmp_path, {"\x1b[2J\ngone": [[1.0]], "getWhoami": [[1.0]]})

    assert "\x1b" not in "".join(shown(folder))
    assert any("gone" in line for line in shown(folder))


def test_errors_are_the_same_in_every_report(folder):
    """The most frequent first, with an exchange as evidence."""
    contents = json.loads((folder / LOAD_FILE).read_text())
    kinds = [("failed", 502, "BAD_GATEWAY", 3, ["x00001"]), ("throttled", 429, "RATE_LIMIT_EXCEEDED", 40, [])]
    for operation, error in zip(contents["operations"], kinds, strict=True):
        operation["errors"] = [
            dict(zip(("status", "status_code", "code", "count", "exchanges"), error, strict=True))
        ]
    (folder / LOAD_FILE).write_text(json.dumps(contents))
    screen = StringIO()
    paths = render_and_print(folder, console=Console(file=screen, width=80))

    lines = screen.getvalue().splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("  not ok"))
    expected = [
        ["runWorkflow async", "throttled", "429", "RATE_LIMIT_EXCEEDED", "40"],
        ["getPublicWorkflowSchema", "failed", "502", "BAD_GATEWAY", "3", "x00001"],
    ]
    assert [cells_of(line) for line in lines[first + 1 : first + 3]] == expected
    in_markdown = paths.markdown.read_text(encoding="utf-8")
    assert all(f" {row[1]} | {row[2]} | `{row[3]}` | {row[4]} |" in in_markdown for row in expected)
    in_page = [row[:5] for row in Tables(paths.html.read_text(encoding="utf-8")).rows]
    assert all(row[:5] in in_page for row in expected)
