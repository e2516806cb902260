"""Tolerances: from the file of objectives and from the command line."""

import pytest

from knouds_harness.errors import UsageError
from knouds_harness.reporting.comparison.tolerances import read_tolerances


@pytest.fixture
def objectives(tmp_path):
    path = tmp_path / "objectives.toml"
    path.write_text(
        '[reads."*"]\np99_ms = 250\n[reads."*".tolerance]\np99_ms = "10%"\n'
        '[reads.whoami.tolerance]\np99_ms = 0.2\nerror_rate = "0.5%"\n',
        encoding="utf-8",
    )
    return path


def test_operation_goes_before_every_operation(objectives):
    tolerances = read_tolerances(objectives, "reads", [])

    assert tolerances.of("whoami", "p99_ms") == 0.2
    assert tolerances.of("listUsage", "p99_ms") == 0.1
    assert tolerances.of("whoami", "error_rate") == pytest.approx(0.005)


def test_longest_name_that_fits_counts(tmp_path):
    path = tmp_path / "objectives.toml"
    path.write_text(
        '[mixed."*".tolerance]\np99_ms = "10%"\n[mixed."* async".tolerance]\np99_ms = "20%"\n',
        encoding="utf-8",
    )
    tolerances = read_tolerances(path, "mixed", [])

    assert tolerances.of("runModel async", "p99_ms") == 0.2
    assert tolerances.of("runModel", "p99_ms") == 0.1


def test_command_line_is_for_every_operation(objectives):
    tolerances = read_tolerances(objectives, "reads", ["p99.9=30%"])

    assert tolerances.of("whoami", "p99.9_ms") == pytest.approx(0.3)
    assert tolerances.is_gate("whoami", "p99.9_ms", is_open_model=True)
    assert not tolerances.is_gate("whoami", "p90_ms", is_open_model=True)


def test_rate_is_a_gate_where_users_wait():
    """Arrivals on a schedule come as the schedule says, so only the closed model's rate is the server's."""
    tolerances = read_tolerances(None, "reads", [])

    assert tolerances.is_gate("whoami", "requests_per_s", is_open_model=False)
    assert not tolerances.is_gate("whoami", "requests_per_s", is_open_model=True)


def test_all_mistakes_are_named_at_once():
    with pytest.raises(UsageError) as caught:
        read_tolerances(None, "reads", ["p98=1%", "p99=much", "p50=-3%"])

    message = str(caught.value)
    assert "--tolerance p98=1%: is not a measure" in message
    assert "'much' is not a share" in message
    assert "'-3%' is not a share" in message


def test_shipped_objectives_can_be_read():
    from knouds_harness.locations import scenarios_path  # noqa: PLC0415 - only here

    for scenario in ("reads", "sync_runs", "async_cycles"):
        read_tolerances(scenarios_path() / "objectives.toml", scenario, [])
