"""The output of ``doctor`` fits on one screen, whatever a profile lacks, and says how long a check takes."""

from io import StringIO

import pytest
from example_targets import make_target
from rich.console import Console

from knouds_harness.suite.discovery.doctor import (
    Diagnosis,
    KeyFound,
    check_time_s,
    check_time_words,
    print_diagnosis,
)
from knouds_harness.suite.discovery.run_plan import missing_by_need


def printed(untested, *, width: int, is_terminal: bool, **others) -> list[str]:
    output = StringIO()
    console = Console(file=output, width=width, force_terminal=is_terminal, color_system=None)
    members = {"base_url": "https://staging.example.com", "are_hosts_listed": True, **others}
    found = Diagnosis(
        target="staging",
        profile="targets/staging.toml",
        has_working_key=True,
        keys=(KeyFound(name="full", verdict="as the profile says"),),
        mistyped=(),
        contradictions=(),
        testable={"authentication": 15},
        expected={"authentication": 18},
        facts=187,
        untested=untested,
        deliveries=None,
        can_receive=True,
        most_credits=0,
        values="A check can try 700 of 720 values of requests.",
        time="At 20 ms for an answer, a full check takes about 70 s.",
        unpaid=0,
        beyond={"run.model-ms": 55},
        unread=(),
        limit_credits=0,
        **members,
    )
    print_diagnosis(found, console=console)
    return output.getvalue().splitlines()


def test_missing_needs_fit_on_one_screen():
    untested = missing_by_need(make_target())

    lines = printed(untested, width=80, is_terminal=True)

    assert "  needs 55 credits in one night: run.model-ms" in lines
    assert len(untested) > 10
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("more", [[], ["usage.own-rows-only"]])
def test_missing_needs_are_counted_by_family(more: list[str]):
    facts = ["auth.revoked-key-is-401", *more]

    lines = printed({"a revoked key": facts}, width=80, is_terminal=False)

    (line,) = [line for line in lines if "a revoked key" in line]
    assert line.startswith(f"  {len(facts)}  a revoked key (authentication")
    assert not any(fact in line for fact in facts)


@pytest.mark.parametrize(
    ("url", "is_listed", "is_told"),
    [
        ("https://staging.example.com", False, True),
        ("https://staging.example.com", True, False),
        ("http://127.0.0.1:1", False, False),
    ],
)
def test_profile_that_may_send_keys_to_any_host_is_told(url, is_listed, is_told):
    lines = printed({}, width=80, is_terminal=False, base_url=url, are_hosts_listed=is_listed)

    assert ("set KNOUDS_HARNESS_HOSTS=staging.example.com where" in lines[1]) == is_told


@pytest.mark.parametrize(
    ("latency_ms", "at_once", "fills_window", "seconds"),
    [
        (1, 4, False, 22),
        (1, 4, True, 80),
        (50, 4, False, 106.6),
        (50, 8, False, 67.7),
        (120, 8, False, 131.7),
    ],
)
def test_time_is_within_a_tenth_of_what_was_measured(latency_ms, at_once, fills_window, seconds):
    assert check_time_s(latency_ms, at_once, fills_window=fills_window) == pytest.approx(seconds, rel=0.1)


def test_few_possible_tests_take_less():
    assert check_time_s(50, 4, share=0.5) == check_time_s(50, 4) / 2


def test_least_concurrency_that_halves_the_time_is_named():
    words = check_time_words(50, 1, share=1, fills_window=False)

    halving = int(words.split("limits.concurrency = ")[1].split(",")[0])
    assert check_time_s(50, halving) <= check_time_s(50, 1) / 2 < check_time_s(50, halving - 1)


def test_no_concurrency_shortens_the_filling_of_a_window():
    assert check_time_words(1, 4, share=1, fills_window=True).endswith(
        "takes about 80 s, longer if it has to wait for more than one rate-limit window."
    )
