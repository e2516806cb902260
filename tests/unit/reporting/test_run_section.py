"""The command line that repeats a run, and what the run cost."""

from dataclasses import replace

import pytest
from run_records import healthy

from knouds_harness.reporting.run_section import command_again, cost_words
from knouds_harness.runs.run_file import UsageShown


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


@pytest.mark.parametrize(
    ("cost_credits", "usage", "words"),
    [
        (1.0, None, "at most 1 credit"),
        (
            0.0,
            UsageShown(credits=1.0, given_back_credits=9.0),
            "charged 1 credit (usage); 9 more were reserved, and given back",
        ),
        (
            776.0,
            UsageShown(credits=761.0, is_settled=False),
            "at most 776 credits, usage shows 761 credits so far",
        ),
    ],
)
def test_cost_says_what_usage_shows_of_it(cost_credits, usage, words):
    assert cost_words(cost_credits, usage) == words
