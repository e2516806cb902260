"""Send the metrics of a running load, which ``--metrics-port`` serves, to an OpenTelemetry collector."""

import logging
import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from threading import Event, Thread
from typing import Any, Final

from prometheus_client.core import Metric

from knouds_harness.errors import UsageError

_EVERY_S: Final = 5.0
_TAKEN_WITHIN_S: Final = 3.0
_NAME: Final = "knouds-harness"
_ADDRESS: Final = re.compile(r"https?://([\w.-]+|\[[0-9a-f:]+\])(:\d{1,5})?(/[^?#]*)?")


@contextmanager
def exporting(
    metrics: Callable[[], Iterable[Metric]],
    endpoint: str | None,
    *,
    scenario: str,
    target: str,
    warn: Callable[[str], object],
    every_s: float = _EVERY_S,
) -> Iterator[None]:
    """Send metrics every few seconds, from a thread, until the context ends, and once more at its end.

    If the collector does not accept them, ``warn`` is called once. ``endpoint`` is the collector's address
    without ``/v1/metrics``; if it is None, nothing is sent.
    """
    if endpoint is None:
        yield
        return
    _require_usable(endpoint)
    send = _sender(endpoint, {"knouds.scenario": scenario, "knouds.target": target})
    is_over = Event()

    def go_on() -> None:
        is_warned = False
        while True:
            is_last = is_over.wait(every_s)
            try:
                is_taken = send(metrics())
            except Exception:  # noqa: BLE001 - the load must not fail by it
                is_taken = False
            if not (is_taken or is_warned):
                is_warned = True
                warn(
                    f"warning: no collector accepts metrics at {endpoint}; the load goes on without it\n"
                    "  Check that it receives OTLP over HTTP there."
                )
            if is_last:
                return

    thread = Thread(target=go_on, daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join(3 * _TAKEN_WITHIN_S)


def _require_usable(endpoint: str) -> None:
    if "@" in endpoint:
        raise UsageError(
            "--otlp-endpoint: holds a user name or a password, which would be kept with the run\n"
            "  Put it into OTEL_EXPORTER_OTLP_HEADERS, such as Authorization=Basic%20…"
        )
    if not _ADDRESS.fullmatch(endpoint):
        raise UsageError(
            f"--otlp-endpoint {endpoint}: is not the address of a collector\n"
            "  Write scheme http or https, host and port, such as http://127.0.0.1:4318."
        )


def _sender(endpoint: str, attributes: dict[str, str]) -> Callable[[Iterable[Metric]], bool]:
    """Return a function that sends metrics and returns whether they were accepted."""
    try:
        import requests
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.sdk.metrics import export as sdk
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope
    except ImportError as error:
        says = "--otlp-endpoint: the OpenTelemetry exporter is not installed"
        raise UsageError(f"{says}\n  pip install opentelemetry-exporter-otlp-proto-http") from error
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # we warn ourselves
    session = requests.Session()
    session.trust_env = False  # as for the target: no proxy of the environment, no .netrc
    exporter = OTLPMetricExporter(
        f"{endpoint.rstrip('/')}/v1/metrics", timeout=_TAKEN_WITHIN_S, session=session
    )
    resource = Resource.create({"service.name": _NAME, "service.version": version(_NAME), **attributes})
    scope, begun_ns = InstrumentationScope(_NAME, version(_NAME)), time.time_ns()

    def converted(metric: Metric, now_ns: int) -> Any:  # noqa: ANN401 - of a library that may be absent
        points = [
            sdk.NumberDataPoint(dict(sample.labels), begun_ns, now_ns, sample.value)
            for sample in metric.samples
        ]
        is_sum = metric.type == "counter"
        of_sums = (sdk.AggregationTemporality.CUMULATIVE, True)
        data = sdk.Sum(points, *of_sums) if is_sum else sdk.Gauge(points)
        return sdk.Metric(metric.name, metric.documentation, "", data)

    def send(found: Iterable[Metric]) -> bool:
        now_ns = time.time_ns()
        metrics = [converted(each, now_ns) for each in found if each.samples]
        scoped = sdk.ScopeMetrics(scope, metrics, "")
        data = sdk.MetricsData([sdk.ResourceMetrics(resource, [scoped], "")])
        return not metrics or exporter.export(data) is sdk.MetricExportResult.SUCCESS

    return send
