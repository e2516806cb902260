"""The API's exchanges are found in captured traffic."""

from dataclasses import replace

from recorded import recording

from knouds_harness.exchange.har import HarWriter
from knouds_harness.suite.recorded.captured_traffic import read_captured


def test_deliveries_in_our_own_traffic_are_told_apart(tmp_path):
    path = tmp_path / "exchanges.har"
    with HarWriter(path) as har:
        har.add(replace(recording("getHealth-200-up").exchange, url="http://127.0.0.1:8000/api/health"))
        delivery = recording("receiveExecutionCompleted-204-taken").exchange
        har.add(replace(delivery, url="http://127.0.0.1:9000/webhook"))

    captured = read_captured(path, base_url=None)

    assert [each.request.operation_id for each in captured.exchanges] == ["getHealth"]
    assert captured.base_url == "http://127.0.0.1:8000"
    assert [each.url for each in captured.deliveries] == ["http://127.0.0.1:9000/webhook"]
