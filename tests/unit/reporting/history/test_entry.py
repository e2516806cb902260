"""The history's entry of a run, its measures, and which runs form a series."""

from dataclasses import replace

import pytest
from load_records import load_run, lognormal_seconds
from run_records import healthy

from knouds_harness.errors import UnknownName
from knouds_harness.reporting.history.entry import (
    entry_of,
    figures_of,
    find_measure,
    measure_of,
    measure_text,
)
from knouds_harness.runs.load_results import Capacity
from knouds_harness.runs.record import read_run


def check(tmp_path, *command):
    record = read_run(healthy(tmp_path))
    return entry_of(replace(record, setup=replace(record.setup, command=("knouds-harness", *command))))


def test_seed_and_target_do_not_split_a_series(tmp_path):
    first = check(tmp_path, "check", "--target", "staging", "--seed", "1")

    assert first.series == check(tmp_path, "check").series == "check of staging"


@pytest.mark.parametrize(
    ("command", "setting"),
    [
        (["--quick"], "--quick"),
        (["--family", "usage", "--quick"], "--family usage --quick"),
        (["--fault=auth-revoked-accepted"], "--fault auth-revoked-accepted"),
    ],
)
def test_other_checks_are_another_series(tmp_path, command, setting):
    assert check(tmp_path, "check", *command).setting == setting


def test_command_stored_as_one_line_is_read(tmp_path):
    record = read_run(healthy(tmp_path))
    setup = replace(record.setup, command=("knouds-harness load reads --fault async-slow-submit",))

    assert entry_of(replace(record, setup=setup)).setting == "--fault async-slow-submit"


@pytest.mark.parametrize(
    ("plan", "setting"),
    [
        ({}, "open, 10/s"),
        ({"model": "closed"}, "closed, 10 users"),
        ({"client": "fast", "workers": 4}, "open, 10/s, fast client, 4 workers"),
        ({"verified_share": 0.1}, "open, 10/s, 10% verified"),
    ],
)
def test_other_load_is_another_series(tmp_path, plan, setting):
    folder = load_run(tmp_path, {"whoami": lognormal_seconds(1, seconds=2)}, plan=plan)

    assert entry_of(read_run(folder)).series == f"reads on staging, {setting}"


def test_check_has_facts_and_no_times(tmp_path):
    figures = figures_of(read_run(healthy(tmp_path)))

    assert set(figures) == {"facts_in_breach", "facts_verified", "exchanges", "duration_s", "cost_credits"}
    assert figures["facts_in_breach"] == 0


def test_each_figure_of_load_has_a_measure(tmp_path):
    folder = load_run(
        tmp_path,
        {"whoami": lognormal_seconds(1, seconds=2), "getUsage": lognormal_seconds(2, seconds=2)},
        failed=5,
    )

    figures = figures_of(read_run(folder))

    assert all(measure_of(name).says for name in figures)
    assert figures["requests_per_s:all"] == pytest.approx(205)
    assert figures["error_rate:all"] == pytest.approx(10 / 410)
    assert figures["error_rate:whoami"] == pytest.approx(5 / 105)
    assert figures["p50_ms:whoami"] < figures["p99.9_ms:whoami"] <= figures["max_ms:whoami"]


def test_capacity_search_has_only_its_rate(tmp_path):
    capacity = Capacity(highest_per_s=120.0, lowest_failing_per_s=None, knee_per_s=None, points=())
    folder = load_run(tmp_path, {"whoami": lognormal_seconds(1, seconds=2)}, capacity=capacity)

    figures = figures_of(read_run(folder))

    assert figures["capacity_per_s"] == 120.0
    assert not any(":" in name for name in figures)


def test_unknown_measure_names_the_nearest():
    with pytest.raises(UnknownName, match=r'Did you mean "p99_ms:whoami"\?'):
        find_measure("p99:whoami", {"p99_ms:whoami": 3, "exchanges": 3})


@pytest.mark.parametrize(
    ("name", "number", "says"),
    [
        ("p99_ms:whoami", 123.4, "123 ms"),
        ("error_rate:all", 0.0123, "1.23%"),
        ("requests_per_s:all", 1234.5, "1,234.5/s"),
        ("duration_s", 12.34, "12.3 s"),
        ("facts_in_breach", 3.0, "3"),
    ],
)
def test_values_have_their_unit(name, number, says):
    assert measure_text(name, number) == says
