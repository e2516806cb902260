"""Metrics of a running load, sent to an OpenTelemetry collector."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from load_records import LIVE_PROGRESS
from loaded_runs import loaded
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from prometheus_client.core import GaugeMetricFamily, Metric

from knouds_harness.commands.otlp import exporting
from knouds_harness.errors import UsageError
from knouds_harness.reporting.openmetrics import live_metrics
from knouds_harness.runs.load_record import read_results

GAUGE = GaugeMetricFamily("knouds_harness_live_users", "Users.", value=3)


@dataclass
class Collector:
    """What a receiver of OTLP over HTTP got."""

    address: str
    status: int = 200
    paths: list[str] = field(default_factory=list)
    requests: list[ExportMetricsServiceRequest] = field(default_factory=list)


@pytest.fixture
def collector() -> Iterator[Collector]:
    """Accepts everything, unless its status is changed."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            received.paths.append(self.path)
            received.requests.append(ExportMetricsServiceRequest.FromString(body))
            self.send_response(received.status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        received = Collector(f"http://127.0.0.1:{server.server_port}")
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield received
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def sending(endpoint, metrics=(GAUGE,), *, every_s=60.0):
    """Export these metrics to an address; return the warnings."""
    warnings: list[str] = []
    with exporting(
        lambda: metrics, endpoint, scenario="reads", target="staging", warn=warnings.append, every_s=every_s
    ):
        yield warnings


def points_in(request):
    """Return name, labels and value of every data point."""
    return {
        (metric.name, *sorted((each.key, each.value.string_value) for each in point.attributes)): (
            point.as_double if point.HasField("as_double") else point.as_int
        )
        for resource in request.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        for point in (metric.sum if metric.HasField("sum") else metric.gauge).data_points
    }


def points_of(metrics):
    """Return the same of metrics as they are served."""
    return {
        (metric.name, *sorted(sample.labels.items())): sample.value
        for metric in metrics
        for sample in metric.samples
    }


def test_collector_gets_the_served_metrics(collector, tmp_path):
    metrics = live_metrics(LIVE_PROGRESS, read_results(loaded(tmp_path), []))

    with sending(collector.address, metrics) as warnings:
        pass

    assert points_in(collector.requests[-1]) == pytest.approx(points_of(metrics))
    assert collector.paths == ["/v1/metrics"]
    assert not warnings


def test_counters_are_cumulative_sums(collector):
    """Counts since the beginning of the load are sums; the others are gauges."""
    with sending(collector.address, live_metrics(LIVE_PROGRESS, None)):
        pass

    (resource,) = collector.requests[-1].resource_metrics
    kinds = {each.name: each.WhichOneof("data") for each in resource.scope_metrics[0].metrics}
    assert kinds["knouds_harness_live_requests"] == "sum"
    assert kinds["knouds_harness_live_in_flight"] == "gauge"


def test_resource_names_scenario_and_target(collector):
    with sending(collector.address):
        pass

    attributes = collector.requests[-1].resource_metrics[0].resource.attributes
    said = {each.key: each.value.string_value for each in attributes}
    assert said["service.name"] == "knouds-harness"
    assert (said["knouds.scenario"], said["knouds.target"]) == ("reads", "staging")


def test_metrics_are_sent_during_the_load(collector):
    with sending(collector.address, every_s=0.01):
        while len(collector.requests) < 3:
            pass
        sent = len(collector.requests)

    assert len(collector.requests) > sent


def test_proxy_of_the_environment_is_not_used(collector, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:2")

    with sending(collector.address) as warnings:
        pass

    assert collector.requests
    assert not warnings


def test_refusing_collector_is_reported_once(collector):
    collector.status = 400

    with sending(collector.address, every_s=0.01) as warnings:
        while len(collector.requests) < 3:
            pass

    assert len(warnings) == 1
    assert collector.address in warnings[0]


def test_unreachable_collector_is_reported_once():
    with sending("http://127.0.0.1:2") as warnings:
        pass

    assert len(warnings) == 1


def test_unreadable_figures_are_skipped_with_a_warning(collector):
    """A record may be half written; the next figures are sent."""
    broken = iter([Metric("broken", "", "gauge")])

    def figures():
        if next(broken, None):
            raise ValueError
        return [GAUGE]

    warnings: list[str] = []
    with exporting(figures, collector.address, scenario="", target="", warn=warnings.append, every_s=0.01):
        while not collector.requests:
            pass

    assert len(warnings) == 1


@pytest.mark.parametrize(
    ("endpoint", "says"),
    [
        ("127.0.0.1:4318", "is not the address of a collector"),
        ("http://127.0.0.1:port", "is not the address of a collector"),
        ("ftp://127.0.0.1:4318", "is not the address of a collector"),
        ("http://ada:hush-hush@127.0.0.1:4318", "OTEL_EXPORTER_OTLP_HEADERS"),
    ],
)
def test_invalid_endpoint_is_refused(endpoint, says):
    with pytest.raises(UsageError, match=says) as caught, sending(endpoint):
        pass

    assert "hush-hush" not in str(caught.value)


def test_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.metrics", None)

    with (
        pytest.raises(UsageError, match=r"pip install opentelemetry-exporter-otlp-proto-http"),
        sending("http://127.0.0.1:4318"),
    ):
        pass


def test_nothing_is_sent_by_default():
    with sending(None) as warnings:
        pass

    assert not warnings
