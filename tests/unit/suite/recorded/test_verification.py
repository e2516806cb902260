"""Recorded traffic is assigned to operations, redacted and judged."""

import base64
import json
import re
from contextlib import closing
from dataclasses import replace

import pytest
from exchanges import entry, write_har
from recorded import recording
from rendering import render_all
from run_records import exchange

from knouds_harness.contract.document import shipped_document
from knouds_harness.errors import ExitCode, UsageError
from knouds_harness.exchange.har import HarWriter, to_entry
from knouds_harness.runs.record import read_run
from knouds_harness.suite.recorded.captured_traffic import read_captured
from knouds_harness.suite.recorded.verification import claims_about, verify

DOCUMENT = shipped_document()
API = "https://staging.example.com"
HEALTH = next(iter(DOCUMENT.operation_by_id["getHealth"].responses[200].examples.values()))
WHOAMI = next(iter(DOCUMENT.operation_by_id["getWhoami"].responses[200].examples.values()))


def verified(path, *entries, **options):
    given = {"base_url": None, "strict": False, "runs_folder": path / "runs", **options}
    code, folder = verify(write_har(path / "traffic.har", *entries), **given)
    return code, read_run(folder)


@pytest.mark.parametrize(
    ("method", "url", "operation_id", "base_url"),
    [
        ("GET", f"{API}/api/whoami", "getWhoami", API),
        ("get", f"{API}/api/whoami?verbose=1", "getWhoami", API),
        ("GET", f"{API}/proxy/v1/api/whoami", "getWhoami", f"{API}/proxy/v1"),
        ("POST", f"{API}:8443/api/workflows/por%2Ftrait/run?async=true", "runWorkflow", f"{API}:8443"),
    ],
)
def test_operation_of_an_entry_is_recognised(method, url, operation_id, base_url, tmp_path):
    captured = read_captured(write_har(tmp_path / "x.har", entry(url, method=method)), base_url=None)

    assert [each.request.operation_id for each in captured.exchanges] == [operation_id]
    assert captured.base_url == base_url


def test_curl_line_of_traffic_reads_only_variables_of_its_own(tmp_path):
    """A placeholder in a file may be a trap, so it gets a variable that no one has set."""
    forged = "{{key:full}} {{$HOME}} {{header:x-gateway}}"
    post = {"mimeType": "application/json", "text": json.dumps({"name": forged})}
    theirs = entry(
        f"{API}/api/workflows",
        {"slug": forged},
        method="POST",
        status=418,
        sent_headers={"x-api-key": "{{key:full}}", "content-type": "application/json"},
        post=post,
    )
    ours = to_entry(exchange(1, "createWorkflow", status=418, body={}, sent={"name": forged}))

    _, record = verified(tmp_path, theirs, ours, base_url=API)

    lines = [finding.curl for finding in record.findings]
    assert {name for line in lines for name in re.findall(r"\$\{(\w+)", line)} <= {
        "KNOUDS_OTHER_RECORDED_1",
        "KNOUDS_OTHER_FULL",
    }
    assert any("{{$HOME}}" in line for line in lines)


def test_entries_without_an_operation_are_listed(tmp_path):
    """Other hosts and unknown routes are counted and named, but not judged or kept."""
    _, record = verified(
        tmp_path,
        entry(f"{API}/api/whoami", WHOAMI),
        entry("https://cdn.example.com/app.js", status=500),
        entry(f"{API}/api/nothing/like-it", status=500),
        entry(f"{API}/api/whoami", method="OPTIONS", status=204),
    )

    assert record.counts.exchanges == 1
    assert record.findings == ()
    assert "3 of 4 entries were not judged" in record.note
    assert "other hosts: 1 (https://cdn.example.com 1)" in record.note
    assert "GET /api/nothing/like-it 1" in record.note


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


@pytest.mark.parametrize(("is_lost", "exit_code"), [(True, ExitCode.KEPT), (False, ExitCode.BREACH)])
def test_closed_idle_connection_is_not_counted_as_an_error(tmp_path, is_lost, exit_code):
    """Any other request without a response counts against the server."""
    answered, unanswered = (
        exchange(1, "getHealth", body=HEALTH),
        exchange(2, "getWhoami", status=None, raw=b""),
    )
    with closing(HarWriter(tmp_path / "exchanges.har")) as har:
        har.add(answered)
        har.add(replace(unanswered, failure="the connection broke", is_lost=is_lost))

    code, folder = verify(
        tmp_path / "exchanges.har", base_url=None, strict=False, runs_folder=tmp_path / "runs"
    )

    assert code == exit_code
    assert read_run(folder).counts.exchanges == 2


@pytest.mark.parametrize(
    "entries",
    [
        [entry("https://cdn.example.com/app.js")],
        [entry(f"{API}/api/whoami", status=0)],
        [entry(f"{API}/api/whoami"), entry("https://other.example.com/api/health")],
    ],
    ids=["nothing of the API", "no answer", "two servers"],
)
def test_traffic_without_anything_to_judge_is_refused(entries, tmp_path):
    with pytest.raises(UsageError, match=r"nothing in it can be judged|went to 2 places"):
        verified(tmp_path, *entries)

    assert not (tmp_path / "runs").exists()


def test_refusal_names_the_address_that_the_requests_went_to(tmp_path):
    with pytest.raises(UsageError) as raised:
        verified(tmp_path, entry(f"{API}/v1/api/whoami"), base_url=API)

    assert str(raised.value).splitlines()[1:] == [
        "  1 of 1 entries were not judged.",
        "  unknown routes: 1 (GET /v1/api/whoami 1)",
        f"  Requests like the API's went to {API}/v1: name one as --base-url.",
    ]


def test_base_url_chooses_the_server(tmp_path):
    entries = [
        entry(f"{API}/v1/api/whoami", WHOAMI),
        entry("https://other.example.com/api/whoami", status=500),
    ]

    code, record = verified(tmp_path, *entries, base_url=f"{API}/v1/")

    assert code is ExitCode.KEPT
    assert record.setup.target.base_url == f"{API}/v1"


SECRETS = [
    "knouds_live_PlantedInHeader1",
    "legacy-key-planted-2",
    "planted-bearer-3",
    "planted-cookie-4",
    "planted-set-cookie-5",
    "planted-custom-header-6",
    "planted-query-7",
    "planted-password-8",
    "planted-signature-9",
    "knouds_live_PlantedInBody10",
    "planted-in-form-11",
    "eyJhbGciOiJIUzI1.eyJzdWIiOiIxMjM0.planted-12",
    "planted-userinfo-13",
    "planted-answered-header-14",
    "planted-text-15",
    "planted-in-session-16",
]


@pytest.mark.parametrize("is_base64", [False, True], ids=["text", "base64"])
def test_no_planted_secret_is_written(is_base64, tmp_path):
    answer = {
        "error": f"key {SECRETS[9]} and {SECRETS[15]} seen, token {SECRETS[11]}",
        "code": 7,
        "accessToken": SECRETS[7],
        "result": [f"https://cdn.example.com/a.png?X-Amz-Signature={SECRETS[8]}&w=1"],
        SECRETS[0]: {"session": {"id": SECRETS[15]}},
    }
    text = json.dumps(answer)
    content = {"size": len(text), "mimeType": "application/json", "text": text}
    if is_base64:
        content |= {"text": base64.b64encode(text.encode()).decode(), "encoding": "base64"}
    sent = {
        "X-Api-Key": SECRETS[0],
        "Authorization": f"Bearer {SECRETS[2]}",
        "Cookie": f"theme=dark; sid={SECRETS[3]}; key={SECRETS[9]}",
        "X-Trace": SECRETS[5],
        "Referer": f"{API}/?token={SECRETS[6]}",
    }
    url = f"https://ada:{SECRETS[12]}@staging.example.com"
    entries = [
        entry(
            f"{url}/api/usage?limit=5&token={SECRETS[6]}&other={SECRETS[5]}",
            sent_headers=sent,
            headers={"Set-Cookie": f"sid={SECRETS[4]}; HttpOnly", "X-Session": SECRETS[13]},
            content=content,
            status=500,
        ),
        entry(
            f"{API}/api/workflows/portrait/run",
            {"error": f"no {SECRETS[1]}", "code": "X"},
            method="POST",
            status=400,
            sent_headers={"x-api-key": SECRETS[1]},
            post={"mimeType": "x", "params": [{"name": "a", "value": SECRETS[10]}]},
        ),
        entry(
            f"{API}/api/health",
            content={"size": 9, "mimeType": "text/html", "text": f'<p>password="{SECRETS[14]}" {SECRETS[2]}'},
            headers={"content-type": "text/html"},
        ),
        entry(f"{API}/api/nothing/{SECRETS[11]}?key={SECRETS[0]}"),
    ]

    _, record = verified(tmp_path, *entries)
    render_all(record.folder)

    written = b"".join(file.read_bytes() for file in record.folder.iterdir()).decode()
    assert [secret for secret in SECRETS if secret in written] == []
    assert "planted" not in written.lower()
    assert [each.request.persona for each in record.exchange_by_id.values()] == [
        "recorded-1",
        "recorded-2",
        None,
    ]
    assert "envelope.error-has-code" in {finding.fact for finding in record.findings}


def test_check_that_needs_the_story_makes_no_claim_without_it():
    claiming = {check.id for check, _ in claims_about(recording("receiveExecutionFailed-204-taken"))}

    assert "webhooks.agrees" not in claiming
    assert "webhooks.signature-fits" in claiming
