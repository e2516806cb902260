"""The columns of load's tables: declared once, and the same in every report."""

import csv
import json
import re
import shutil

import pytest
from load_records import load_run, lognormal_seconds
from rendering import Page, printed, render_all, samples

from knouds_harness.reporting.comparison.load_figures import load_figures
from knouds_harness.reporting.load.columns import SHOWN_COLUMNS, SHOWN_TIMES
from knouds_harness.runs.load_results import LOAD_FILE
from knouds_harness.runs.operation_load import ALL_OPERATIONS, RECORDED_PERCENTS, STATUSES
from knouds_harness.runs.record import read_run

OPERATIONS = ["getPublicWorkflowSchema", "runWorkflow async"]
ROWS = [*OPERATIONS, ALL_OPERATIONS]
NEVER_CAME = {"throttled", "refused", "wrong"}
IN_TEXT = [
    *(each.heading.lower() for each in SHOWN_COLUMNS if each.key not in NEVER_CAME),
    *(each.heading.lower() for each in SHOWN_TIMES if each.is_in_text),
]
PHASES = ["tls", "first byte", "body", "opened", "reused", "sent", "received"]


def changed(folder, change):
    """Change the figures of a run."""
    contents = json.loads((folder / LOAD_FILE).read_text())
    change(contents)
    (folder / LOAD_FILE).write_text(json.dumps(contents))
    return folder


def give_everything(contents):
    """Let half of each time be waiting, answers lag, and the first operation wait for its first byte."""
    others = ("mean_ms", "min_ms", "max_ms")
    threes = {**dict.fromkeys(others, 3.0), "percentiles": dict.fromkeys(RECORDED_PERCENTS, 3.0)}
    first, second = contents["operations"]
    for operation in (first, second):
        operation["throughput_per_s"] = 0.8 * operation["per_s"]
        service = operation["service"]
        service["percentiles"] = {percent: ms / 2 for percent, ms in service["percentiles"].items()}
        service |= {name: service[name] / 2 for name in others}
    first |= {phase: {"count": 2, **threes} for phase in ("first_byte", "body", "tls")}
    first |= {"connections_opened": 2, "connections_reused": 7, "sent_bytes": 1234567, "received_bytes": 999}
    error = ("status", "status_code", "code", "count", "exchanges")
    first["errors"] = [dict(zip(error, ("failed", 502, "BAD_GATEWAY", 3, ["x00001"]), strict=True))]
    second["errors"] = [dict(zip(error, ("throttled", 429, "RATE_LIMIT_EXCEEDED", 40, []), strict=True))]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two operations, the first of which sometimes failed."""
    seconds = {
        name: lognormal_seconds(number, median_ms=8.0 * 30**number, spread=1.0)
        for number, name in enumerate(OPERATIONS)
    }
    return changed(load_run(tmp_path_factory.mktemp("load"), seconds, failed=3), give_everything)


@pytest.fixture(scope="module")
def paths(folder):
    return render_all(folder)


def results_of(folder):
    return read_run(folder).load


def cells_of(line):
    return re.split(r" {2,}", line.strip())


def terminal_table(folder, heading, **options):
    """Return the heading and the rows of the table whose first column has this heading."""
    lines = printed(folder, **options).splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith(f"  {heading}"))
    return [line.rstrip() for line in lines[first : first + 1 + len(ROWS)]]


def in_terminal(folder, heading, operation):
    head, *rows = map(cells_of, terminal_table(folder, heading))
    return dict(zip(head[1:], next(row for row in rows if row[0] == operation)[1:], strict=True))


def in_markdown(folder, heading, operation):
    lines = [
        [cell.strip().strip("`*") for cell in line.strip("|").split("|")]
        for line in render_all(folder).markdown.read_text().splitlines()
    ]
    first = next(number for number, line in enumerate(lines) if line[0] == heading)
    row = next(line for line in lines[first:] if line[0] == operation)
    return dict(zip(lines[first][1:], row[1:], strict=True))


def in_page(folder, *start):
    """Return the cells of the rows that begin so."""
    rows = Page(render_all(folder).html.read_text()).rows
    return [row[len(start) :] for row in rows if row[: len(start)] == list(start)]


@pytest.mark.parametrize("operation", ROWS)
def test_figures_are_the_same_in_every_report_for_people(folder, operation):
    """Tables of text have five times without their unit, and leave out statuses that never occurred."""
    results = results_of(folder)
    row = next(row for row in (*results.operations, results.total) if row.operation == operation)
    counts = {each.heading.lower(): each.text(row) for each in SHOWN_COLUMNS}
    times = {each.heading.lower(): each.text(row.response) for each in SHOWN_TIMES}
    text = {name: figure.removesuffix(" ms") for name, figure in (counts | times).items() if name in IN_TEXT}

    assert in_terminal(folder, "times in ms", operation) == text
    assert in_markdown(folder, "times in ms", operation) == text
    assert list(counts.values()) in in_page(folder, operation)
    assert in_page(folder, operation, "response") == [[each.removesuffix(" ms") for each in times.values()]]
    assert times["p95"] != times["p99"] != times["mean"] != "-"


@pytest.mark.parametrize("operation", OPERATIONS)
def test_figures_are_the_same_in_files_for_programs(paths, operation):
    rows = csv.DictReader(paths.table.read_text().splitlines())
    table = next(row for row in rows if row["operation"] == operation)
    loads = json.loads(paths.summary.read_text())["load"]["operations"]
    load = next(each for each in loads if each["operation"] == operation)
    metrics = samples(paths.metrics.read_text())

    assert {name: int(table[name]) for name in STATUSES} == load["by_status"]
    assert metrics["requests_total", "failed", operation] == load["by_status"]["failed"]
    assert float(table["per_s"]) == load["per_s"] == metrics["requests_per_second", operation]
    assert metrics["error_rate", operation] == float(table["error_rate"])
    for kind in ("response", "service"):
        times = load[kind]
        assert metrics[f"{kind}_mean_time_seconds", operation] == times["mean_ms"] / 1000
        assert metrics[f"{kind}_time_seconds", "1", operation] == times["max_ms"] / 1000
        assert metrics[f"{kind}_time_seconds", "0.999", operation] == times["percentiles"]["99.9"] / 1000
        assert float(table[f"{kind}_mean_ms"]) == times["mean_ms"]
        percentiles = {percent: float(table[f"{kind}_p{percent}_ms"]) for percent in RECORDED_PERCENTS}
        assert percentiles == times["percentiles"]


def test_single_operation_without_phases_has_neither_their_table_nor_a_row_for_all(tmp_path):
    paths = render_all(load_run(tmp_path, {"getWhoami": [[1.0, 2.0]]}))

    assert ALL_OPERATIONS not in paths.markdown.read_text()
    assert not [row for row in Page(paths.html.read_text()).rows if row[0] == ALL_OPERATIONS]
    assert "Phases" not in paths.html.read_text() + paths.markdown.read_text()


def test_phases_and_bytes_are_in_every_report(folder, paths):
    """Tables round them, and leave out phases that never occurred."""
    name, load = OPERATIONS[0], results_of(folder).operations[0]
    traffic = ["2", "7", "1.23 MB", "999 B"]
    shown = dict(zip(PHASES, ["3.00"] * 3 + traffic, strict=True))

    assert in_terminal(folder, "medians in ms", name) == shown
    assert in_markdown(folder, "medians in ms", name) == shown
    waited_ms = load.response.mean_ms - load.service.mean_ms
    assert f"{waited_ms:.2f} ms" in in_page(folder, "waited", name)[0]
    assert [len(in_page(folder, phase, name, "2")) for phase in ("DNS", "TLS", "body")] == [0, 1, 1]
    assert traffic in in_page(folder, name)
    table = next(csv.DictReader(paths.table.read_text().splitlines()))
    assert (table["sent_bytes"], table["first_byte_p50_ms"], table["dns_p50_ms"]) == ("1234567", "3.0", "")
    metrics = samples(paths.metrics.read_text())
    assert metrics["sent_bytes_total", name] == 1234567
    assert metrics["tls_time_seconds", "0.99", name] == 0.003


@pytest.mark.parametrize(
    ("width", "kept"),
    [
        (30, {"errors", "p50", "p95", "p99"}),
        (60, {"errors", "p50", "p95", "p99"}),
        (80, {"errors", "p50", "p90", "p95", "p99", "max"}),
        (120, set(IN_TEXT)),
    ],
)
def test_terminal_drops_columns_and_shortens_nothing(folder, width, kept):
    """Names and figures are complete; each line fits, but in one that is too narrow for any table."""
    head, *rows = terminal_table(folder, "times in ms", width=width, is_terminal=True)
    _, *whole = terminal_table(folder, "times in ms")

    assert kept <= set(cells_of(head))
    assert width == 30 or max(map(len, (head, *rows))) <= width
    assert [cells_of(row)[0] for row in rows] == ROWS
    assert all(set(cells_of(row)) <= set(cells_of(line)) for row, line in zip(rows, whole, strict=True))


def test_pipe_gets_every_column_and_no_wrapping(folder):
    head, *rows = terminal_table(folder, "times in ms")

    assert cells_of(head)[1:] == IN_TEXT
    assert {len(line) for line in rows} == {len(head)}
    assert len(head) > 80


@pytest.fixture
def older(folder, tmp_path):
    """A record without newer figures: mean, some percentiles, and times of all operations."""

    def lacking(contents):
        del contents["overall"]
        for operation in contents["operations"]:
            del operation["throughput_per_s"]
            for kind in ("response", "service", "refused_response", "server"):
                times = operation[kind]
                del times["mean_ms"], times["percentiles"]["75"], times["percentiles"]["95"]

    return changed(shutil.copytree(folder, tmp_path / folder.name), lacking)


def test_older_record_is_shown_with_dashes_for_missing_figures(older):
    """Not with zeros; and it is compared by the figures that it has."""
    first = in_terminal(older, "times in ms", OPERATIONS[0])
    of_all = in_markdown(older, "times in ms", ALL_OPERATIONS)
    table = next(csv.DictReader(render_all(older).table.read_text().splitlines()))
    compared = load_figures(read_run(older)).figures[OPERATIONS[0]]

    assert (first["p95"], of_all["p99"], of_all["requests"]) == ("-", "-", "4,060")
    keys = [each.key for each in SHOWN_TIMES]
    assert in_page(older, OPERATIONS[0], "response")[0][keys.index("p95_ms")] == "-"
    assert table["response_p95_ms"] == table["response_mean_ms"] == table["throughput_per_s"] == ""
    assert "throughput" not in first
    assert "p95_ms" not in compared
    assert first["p99"] == f"{compared['p99_ms'].value:.1f}"


def test_errors_are_the_same_in_every_report(folder, paths):
    """The most frequent first, with an exchange as evidence."""
    rows = [
        ["runWorkflow async", "throttled", "429", "RATE_LIMIT_EXCEEDED", "40"],
        ["getPublicWorkflowSchema", "failed", "502", "BAD_GATEWAY", "3", "x00001"],
    ]
    markdown = paths.markdown.read_text(encoding="utf-8")

    assert [cells_of(line) for line in terminal_table(folder, "not ok")[1:3]] == rows
    for operation, status, number, code, count, *_ in rows:
        assert f" {status} | {number} | `{code}` | {count} |" in markdown
        assert [status, number, code, count] in [cells[:4] for cells in in_page(folder, operation)]
