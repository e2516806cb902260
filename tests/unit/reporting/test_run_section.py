"""The command line that repeats a run."""

from dataclasses import replace

import pytest
from run_records import healthy

from knouds_harness.reporting.run_section import command_again


@pytest.mark.parametrize(
    ("typed", "again"),
    [
        (("knouds-harness", "check", "--quick"), "knouds-harness check --quick --seed 4711"),
        (("/opt/venv/bin/knouds-harness", "check"), "knouds-harness check --seed 4711"),
        (("knouds-harness", "check", "--seed", "5"), "knouds-harness check --seed 5"),
        (("knouds-harness", "check", "--seed=5"), "knouds-harness check --seed=5"),
        (
            ("knouds-harness load 'my mix.py' --rate 5",),
            "knouds-harness load 'my mix.py' --rate 5 --seed 4711",
        ),
        (
            ("knouds-harness", "load", "reads", "--", "--tags", "a"),
            "knouds-harness load reads --seed 4711 -- --tags a",
        ),
        ((), ""),
        (("it's",), "'it'\"'\"'s' --seed 4711"),
    ],
)
def test_command_to_repeat_a_run_has_its_seed(record_of, typed, again):
    record = record_of(healthy)

    assert command_again(replace(record, setup=replace(record.setup, command=typed))) == again
