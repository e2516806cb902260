"""Live metrics of a load, as Prometheus reads them and Grafana draws them."""

import json
import re
from pathlib import Path

import pytest
from load_records import LIVE_PROGRESS, load_results, times
from loaded_runs import loaded
from rendering import samples

from knouds_harness.reporting.openmetrics import live_openmetrics, openmetrics
from knouds_harness.runs.operation_load import CustomMetric

DASHBOARD = Path(__file__).parents[3] / "docs" / "grafana" / "load.json"
_METRIC = re.compile(r"\bknouds_harness_\w+")


def test_progress_is_served_in_base_units():
    found = samples(live_openmetrics(LIVE_PROGRESS, None))

    assert found["live_requests_per_second",] == 198.2
    assert found["live_asked_per_second",] == 200
    assert found["live_in_flight",] == 7
    assert found["live_response_time_seconds", "0.99"] == pytest.approx(0.1203)
    assert found["live_response_time_seconds", "1"] == 0.4
    assert found["live_requests_total", "throttled"] == 100
    assert found["live_errors", "429", "RATE_LIMIT_EXCEEDED", "throttled"] == 100
    assert found["live_errors", "ConnectionLost", "failed", "none"] == 11
    assert found["live_spent_credits",] == 230
    assert found["live_lateness_seconds",] == pytest.approx(0.0004)
    assert found["live_generator_valid",] == 1


def test_figures_by_operation_are_those_of_metrics_txt(record_of):
    """The same families, as far as the record is written."""
    record = record_of(loaded)

    found = samples(live_openmetrics(None, record.load))

    assert found
    assert found.items() <= samples(openmetrics(record)).items()
    assert any(name == "response_time_seconds" for name, *_ in found)


def test_metrics_of_ones_own_are_served():
    render = CustomMetric(name="render", count=100, per_s=10.0, times=times(2.0, 9.0))
    hits = CustomMetric(name="cache hits", count=7, per_s=0.7)

    found = samples(live_openmetrics(None, load_results(custom_metrics=(hits, render))))

    assert (found["custom_total", "cache hits"], found["custom_total", "render"]) == (7, 100)
    assert found["custom_time_seconds", "0.99", "render"] == pytest.approx(0.009)
    assert ("custom_time_seconds", "0.99", "cache hits") not in found


def test_dashboard_uses_only_served_metrics(record_of):
    results = record_of(loaded).load
    served = {f"knouds_harness_{name}" for name, *_ in samples(live_openmetrics(LIVE_PROGRESS, results))}
    panels = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    expressions = [target["expr"] for panel in panels for target in panel["targets"]]

    named = [_METRIC.findall(each) for each in expressions]

    assert all(named)
    assert {name for each in named for name in each} <= served
