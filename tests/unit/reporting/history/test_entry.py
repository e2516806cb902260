"""Which runs are of one thing: a change of what was asked for is none of the target."""

from dataclasses import replace

import pytest
from load_records import load_run, lognormal_seconds
from run_records import healthy

from knouds_harness.reporting.history.entry import entry_of
from knouds_harness.runs.record import read_run


def check(tmp_path, *command):
    record = read_run(healthy(tmp_path))
    return entry_of(replace(record, setup=replace(record.setup, command=("knouds-harness", *command))))


def test_seed_and_target_do_not_part_runs(tmp_path):
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
def test_other_checks_part_runs(tmp_path, command, setting):
    assert check(tmp_path, "check", *command).setting == setting


def test_a_command_kept_as_one_line_is_read_too(tmp_path):
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
def test_other_load_parts_runs(tmp_path, plan, setting):
    folder = load_run(tmp_path, {"whoami": lognormal_seconds(1, seconds=2)}, plan=plan)

    assert entry_of(read_run(folder)).series == f"reads on staging, {setting}"
