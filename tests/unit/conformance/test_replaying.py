"""Findings are sent again as they were, or it is said why that cannot be."""

from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime
from io import StringIO

import httpx
import pytest
from rich.console import Console

from knouds_harness.conformance import replaying
from knouds_harness.conformance.checks import all_checks, authentication
from knouds_harness.conformance.claims import Claim
from knouds_harness.conformance.common_checks import judge_by_common_checks
from knouds_harness.conformance.recorder import Recorder
from knouds_harness.conformance.replaying import Replayer, Standing
from knouds_harness.contract.document import shipped_document
from knouds_harness.contract.operations import Action
from knouds_harness.contract.shapes import ShapeJudge
from knouds_harness.errors import ExitCode
from knouds_harness.exchange.client import Client
from knouds_harness.exchange.evidence import Request
from knouds_harness.runs.header import RunHeader
from knouds_harness.runs.record import read_run
from knouds_harness.runs.verdicts import Verdict
from knouds_harness.runs.writer import RunWriter
from knouds_harness.target.limits import Limits
from knouds_harness.target.personas import Persona, Secret
from knouds_harness.target.profile import Target

DOCUMENT = shipped_document()
KEY = "knouds_live_TheKeyOfFull"
TARGET = Target(
    name="mine",
    base_url="http://127.0.0.1:9",
    limits=Limits(allow=frozenset({Action.READ, Action.WRITE})),
    personas={
        "full": Persona(
            name="full", secret=Secret(KEY, "key:full"), capabilities=frozenset(), user="ada", tier="pro"
        )
    },
)
WHOAMI = Request(
    method="GET", path="/api/whoami", operation_id="getWhoami", persona="full", action=Action.READ
)
BROKEN = httpx.Response(404, text="<html>", headers={"content-type": "text/html"})
SOUND = httpx.Response(404, json={"error": "No such thing", "code": "NOT_FOUND"})


def answering(answer):
    """A transport that answers health as it should be and everything else with this."""
    sent = []

    def handle(request):
        sent.append(request)
        return httpx.Response(200, json={}) if request.url.path == "/api/health" else answer

    return httpx.MockTransport(handle), sent


def finding_of(tmp_path, request=WHOAMI, *, answer=BROKEN, key=None, check=None, claim=None, first=None):
    """A record with one request and the first finding about its answer."""
    header = RunHeader(
        tool_version="0",
        python_version="3",
        command=(),
        seed=0,
        target=TARGET,
        document=DOCUMENT,
        checks=all_checks(),
    )
    every_action = replace(TARGET, limits=Limits(allow=frozenset(Action)))
    with RunWriter.start(tmp_path, kind="check", target_name="mine", header=header) as writer:
        recorder = Recorder(document=DOCUMENT, writer=writer, waivers=(), today=date(2026, 11, 25))
        if first is not None:
            made = Client(target=every_action, transport=answering(first[1])[0]).send(first[0])
            writer.add_exchange(replace(made, id="x00000"))
        client = Client(target=every_action, transport=answering(answer)[0])
        client.add_persona(
            replace(TARGET.personas["full"], name="minted", secret=Secret("m" * 20, "key:minted"))
        )
        exchange = client.send(request, key=key)
        writer.add_exchange(exchange)
        if check is None:
            judge_by_common_checks(
                exchange, recorder=recorder, document=DOCUMENT, shapes=ShapeJudge(DOCUMENT)
            )
        else:
            recorder.record(check, exchange, [claim] if claim else check.judge(exchange))
        recorder.record_drift()
        writer.finish("broken", 1)
    record = read_run(writer.folder)
    assert record.started_at <= datetime.now(UTC)
    return record, record.findings[0]


@pytest.fixture
def replayed(monkeypatch):
    """Replays one finding against a server that answers everything alike; what it got, what was sent."""

    def run(record, finding, answer=SOUND, target=TARGET):
        transport, sent = answering(answer)

        @contextmanager
        def opened(name, **_):
            yield target

        monkeypatch.setattr(replaying, "open_target", opened)
        monkeypatch.setattr(replaying, "Client", lambda **given: Client(**given, transport=transport))
        replayer = Replayer(record=record, document=DOCUMENT, target_name="mine")
        with replayer.resources:
            return replayer.replay(finding), sent[1:]

    return run


@pytest.mark.parametrize(("answer", "standing"), [(BROKEN, Standing.STANDS), (SOUND, Standing.GONE)])
def test_common_check_judges_again(answer, standing, replayed, tmp_path):
    """The same request with the same key, judged by the check that found it."""
    result, sent = replayed(*finding_of(tmp_path), answer=answer)

    assert result.standing is standing
    assert [request.headers["x-api-key"] for request in sent] == [KEY]


TALKATIVE = httpx.Response(401, json={"error": "No", "code": "UNAUTHORIZED", "docs": "https://docs.example"})


@pytest.mark.parametrize(
    ("answer", "standing"), [(TALKATIVE, Standing.STANDS), (SOUND, Standing.GONE)], ids=["there", "gone"]
)
def test_drift_that_is_named_is_looked_for_again(answer, standing, replayed, tmp_path):
    """What is new and breaks nothing can be looked for as well."""
    record, finding = finding_of(tmp_path, answer=TALKATIVE)

    result, _ = replayed(record, finding, answer=answer)

    assert finding.check == "drift.member"
    assert result.standing is standing


def test_drift_is_not_replayed_unless_it_is_named(tmp_path):
    """There is nothing to mend."""
    record, finding = finding_of(tmp_path, answer=TALKATIVE)

    console = Console(file=StringIO())
    code = replaying.replay(
        record.folder, None, target_name="mine", faults=(), yes_production=False, console=console
    )

    assert finding.verdict is Verdict.ADDITIVE
    assert code == ExitCode.KEPT


@pytest.mark.parametrize(("status", "standing"), [(200, Standing.STANDS), (401, Standing.GONE)])
def test_check_of_one_exchange_judges_again(status, standing, replayed, tmp_path):
    """A check that needs nothing but the answer."""
    check = authentication.legacy_key
    record, finding = finding_of(tmp_path, answer=httpx.Response(200, json={}), check=check)

    body = {"error": "Retired", "code": "LEGACY_KEY_RETIRED"}
    result, _ = replayed(record, finding, answer=httpx.Response(status, json=body if status == 401 else {}))

    assert result.standing is standing


@pytest.mark.parametrize(
    ("request_", "given", "reason"),
    [
        (replace(WHOAMI, persona="minted"), {}, 'key "minted" is not in the profile'),
        (WHOAMI, {"key": KEY[:-2]}, "tampered with"),
        (
            replace(WHOAMI, operation_id="runModel", method="POST", action=Action.RUN),
            {},
            'a guard forbids it: POST /api/whoami: the profile does not allow "run"',
        ),
        (
            replace(WHOAMI, path="/api/workflows/made", path_values={"slug": "made"}),
            {
                "first": (
                    replace(WHOAMI, method="POST", operation_id="createWorkflow", action=Action.WRITE),
                    httpx.Response(201, json={"slug": "made"}),
                )
            },
            "made for the run",
        ),
        (
            WHOAMI,
            {
                "check": next(each for each in all_checks().values() if each.family == "rate_limits"),
                "claim": Claim(fact="rate.refusal-fields", holds=False, expected="429", observed="404"),
            },
            "several exchanges",
        ),
    ],
    ids=["minted key", "tampered key", "guard", "resource of the run", "several exchanges"],
)
def test_what_cannot_be_sent_again_says_why(request_, given, reason, replayed, tmp_path):
    """And is not sent."""
    result, sent = replayed(*finding_of(tmp_path, request_, **given))

    assert result.standing is Standing.OPEN
    assert reason in result.reason
    assert sent == []


def test_throttled_request_tells_nothing(replayed, tmp_path):
    """A 429 says nothing of what else would have been answered."""
    result, _ = replayed(*finding_of(tmp_path), answer=httpx.Response(429, json={}))

    assert (result.standing, result.reason) == (Standing.OPEN, "the target throttles")


def test_made_up_key_is_sent_as_it_was(replayed, tmp_path):
    """One that never was a secret stands in the record as it is."""
    _, sent = replayed(*finding_of(tmp_path, key="null"))

    assert [request.headers["x-api-key"] for request in sent] == ["null"]


def test_what_was_made_again_is_deleted(replayed, tmp_path):
    """On a target of somebody nothing stays behind."""
    create = replace(WHOAMI, method="POST", path="/api/workflows", operation_id="createWorkflow")
    create = replace(create, action=Action.WRITE)

    _, sent = replayed(*finding_of(tmp_path, create), answer=httpx.Response(201, json={"slug": "new"}))

    assert [(each.method, each.url.path) for each in sent] == [
        ("POST", "/api/workflows"),
        ("DELETE", "/api/workflows/new"),
    ]
