"""Findings are sent again as they were, or the result says why they cannot be."""

import re
from contextlib import closing, nullcontext
from dataclasses import replace
from datetime import date
from functools import partial
from io import StringIO
from types import SimpleNamespace
from unittest.mock import Mock

import httpx
import pytest
from run_records import start

from knouds_harness.command_output import CommandConsole
from knouds_harness.commands.replay import replay_findings
from knouds_harness.contract.document import shipped_document
from knouds_harness.contract.operations import Action
from knouds_harness.errors import ExitCode, GuardStop, UsageError
from knouds_harness.exchange.client import Client
from knouds_harness.exchange.creation_record import LEDGER_FILE, Ledger, append
from knouds_harness.exchange.evidence import NO_SUCH_EXECUTION, Request
from knouds_harness.judging.checks import all_checks, authentication, capabilities
from knouds_harness.judging.claim import Claim, RuleCheck
from knouds_harness.judging.context import Context
from knouds_harness.judging.engine import claims_of
from knouds_harness.runs.findings import Verdict
from knouds_harness.runs.record import read_run
from knouds_harness.runs.run_file import run_setup
from knouds_harness.suite import replayer as replayer_module
from knouds_harness.suite.options import ReplayOptions
from knouds_harness.suite.recorder import FindingRecorder
from knouds_harness.suite.replay_judgement import RepeatedTests, ReplayStatus
from knouds_harness.suite.replayer import Replayer
from knouds_harness.targets.profile import Target
from knouds_harness.targets.resources import Limits, Persona, Workflow
from knouds_harness.targets.secrets import Secret

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
SETUP = run_setup(TARGET, seed=0, checks=[each.recorded for each in all_checks().values()])
WHOAMI = Request(method="GET", path="/api/whoami", operation_id="getWhoami", persona="full")
CREATE = replace(WHOAMI, method="POST", path="/api/workflows", operation_id="createWorkflow")
BROKEN = httpx.Response(404, text="<html>", headers={"content-type": "text/html"})
THROTTLED = httpx.Response(429, json={})
SOUND = httpx.Response(404, json={"error": "No such thing", "code": "NOT_FOUND"})


def answering(answer):
    """Make a transport that answers health correctly, and everything else with this."""
    sent = []

    def handle(request):
        sent.append(request)
        return httpx.Response(200, json={}) if request.url.path == "/api/health" else answer

    return httpx.MockTransport(handle), sent


def recorder_of(writer):
    return FindingRecorder(document=DOCUMENT, writer=writer, waivers=(), today=date(2026, 11, 25))


def first_finding(writer):
    record = read_run(writer.folder)
    return record, record.findings[0]


def finding_of(
    tmp_path,
    request=WHOAMI,
    *,
    answer=BROKEN,
    key=None,
    check=None,
    claim=None,
    first=None,
    setup=SETUP,
    edit=None,
):
    """Make a record with one request, and the first finding about its response."""
    every_action = replace(TARGET, limits=Limits(allow=frozenset(Action)))
    with start(tmp_path, target=TARGET, setup=setup) as writer:
        recorder = recorder_of(writer)
        if first is not None:
            made = Client(target=every_action, transport=answering(first[1])[0]).send(first[0])
            writer.add_exchange(replace(made, id="x00000"))
        client = Client(target=every_action, transport=answering(answer)[0])
        client.add_persona(
            replace(TARGET.personas["full"], name="minted", secret=Secret("m" * 20, "key:minted"))
        )
        exchange = client.send(request, key=None if key is None else Secret(key, "key:sent"))
        exchange = edit(exchange) if edit else exchange
        writer.add_exchange(exchange)
        if check is None:
            recorder.judge(exchange, Context())
        elif isinstance(check, RuleCheck) and claim is None:
            context = Context()
            recorder.record(check, exchange, claims_of(check.id, exchange, context) or ())
        else:
            recorder.record(check, exchange, [claim] if claim else check.judge(exchange))
        recorder.record_drift()
        writer.finish("broken", 1)
    return first_finding(writer)


@pytest.fixture
def serve(monkeypatch):
    """Answer every replayed request alike; return the requests, the first of them to health."""

    def serve(answer, target=TARGET):
        transport, sent = answering(answer)
        monkeypatch.setattr(replayer_module, "open_target", lambda *_, **__: nullcontext(target))
        monkeypatch.setattr(replayer_module, "Client", lambda **given: Client(**given, transport=transport))
        return sent

    return serve


@pytest.fixture
def replayed(serve):
    """Replay one finding on a server that answers every request alike; return result and requests."""

    def run(record, finding, answer=SOUND, target=TARGET):
        sent = serve(answer, target)
        replayer = Replayer(record=record, target_name="mine")
        with replayer.resources:
            return replayer.replay(finding), sent[1:]

    return run


TALKATIVE = httpx.Response(401, json={"error": "No", "code": "UNAUTHORIZED", "docs": "https://docs.example"})


@pytest.mark.parametrize(
    ("answer", "expected"),
    [(TALKATIVE, ReplayStatus.STANDS), (SOUND, ReplayStatus.GONE)],
    ids=["there", "gone"],
)
def test_drift_named_by_its_fingerprint_is_replayed(answer, expected, replayed, tmp_path):
    record, finding = finding_of(tmp_path, answer=TALKATIVE)

    result, _ = replayed(record, finding, answer=answer)

    assert finding.check == "drift.member"
    assert result.status is expected


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("planted.toml", "targets/ has no profile of that name"),
        ("../planted", "targets/ has no profile of that name"),
        ("mine", f"the run was on {TARGET.base_url}, and "),
    ],
)
def test_profile_of_a_record_is_one_of_targets_for_the_same_server(name, says, serve, tmp_path, monkeypatch):
    """A record comes from elsewhere: it names no file, and its address is only compared; nothing is sent."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "targets").mkdir()
    for file in ("planted.toml", "targets/mine.toml"):
        (tmp_path / file).write_text('base_url = "http://127.0.0.1:10"\n')
    record, _ = finding_of(tmp_path, setup=run_setup(replace(TARGET, name=name), seed=0))
    sent = serve(SOUND)

    with pytest.raises(UsageError, match=re.escape(says)):
        replay_findings(record.folder, None, ReplayOptions(), console=CommandConsole(quiet=True))
    assert sent == []


def test_ctrl_c_in_a_repeated_test_ends_the_replay(serve, tmp_path, monkeypatch):
    """What the tests cut short have left is told, and they are not tried again."""
    record, finding = finding_of(tmp_path)
    writer = SimpleNamespace(folder=tmp_path / "again", cost_credits=0.0)
    run = SimpleNamespace(is_begun=True, recorder=SimpleNamespace(writer=writer), left=("mine: interrupted",))
    cut = SimpleNamespace(was_interrupted=True, run=run)
    monkeypatch.setattr(RepeatedTests, "repeat", Mock(side_effect=[cut]))
    monkeypatch.setattr(replayer_module, "is_shown_by_suite", lambda _: True)
    serve(THROTTLED)
    output = StringIO()

    with pytest.raises(KeyboardInterrupt):
        replay_findings(
            record.folder,
            finding.fingerprint,
            ReplayOptions(target="mine"),
            console=CommandConsole(file=output),
        )
    assert "mine: interrupted" in output.getvalue()


def test_ledger_of_a_run_lets_replay_change_nothing(replayed, tmp_path):
    """What the run created may belong to its user by now, and the ledger may come from elsewhere."""
    request = replace(WHOAMI, method="DELETE", path="/api/workflows/pipeline", operation_id="deleteWorkflow")
    record, finding = finding_of(tmp_path, edit=lambda exchange: replace(exchange, request=request))
    ledger = Ledger(write=partial(append, record.folder / LEDGER_FILE))
    ledger.add({"event": "run", "ledger": ledger.id, "base_url": TARGET.base_url})
    ledger.add({"event": "created", "number": 1, "slug": "pipeline", "user": "ada"})

    result, sent = replayed(record, finding)

    assert result.status is ReplayStatus.OPEN
    assert "cannot prove that it created" in result.reason
    assert sent == []


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (200, {}, ReplayStatus.STANDS),
        (401, {"error": "Retired", "code": "LEGACY_KEY_RETIRED"}, ReplayStatus.GONE),
        (500, {"error": "x", "code": "X"}, ReplayStatus.OPEN),
    ],
)
def test_check_of_one_exchange_judges_again(status, body, expected, replayed, tmp_path):
    """A legacy key that is neither accepted any more, nor refused as documented, is not gone."""
    check = authentication.legacy_key
    record, finding = finding_of(tmp_path, answer=httpx.Response(200, json={}), check=check)

    result, _ = replayed(record, finding, answer=httpx.Response(status, json=body))

    assert result.status is expected


@pytest.mark.parametrize(("status", "expected"), [(400, ReplayStatus.GONE), (503, ReplayStatus.OPEN)])
def test_refusal_that_is_explained_now_is_gone(status, expected, replayed, tmp_path):
    """What is refused for a documented reason is not refused without one, whatever it shows of the key."""
    claim = Claim(
        fact="capability.exact-is-admitted",
        holds=False,
        expected="no documented reason to refuse",
        observed="403 CAPABILITY_DENIED",
    )
    denied = httpx.Response(403, json={"error": "No", "code": "CAPABILITY_DENIED"})
    nameless = replace(CREATE, body=b"{}", headers=(("content-type", "application/json"),))
    record, finding = finding_of(tmp_path, nameless, answer=denied, check=capabilities.admitted, claim=claim)

    writer = replace(TARGET.personas["full"], capabilities=frozenset({"workflow:write"}))
    answer = httpx.Response(status, json={"error": "No name", "code": "INVALID_WORKFLOW"})
    result, _ = replayed(record, finding, answer, replace(TARGET, personas={"full": writer}))

    assert result.status is expected


@pytest.mark.parametrize(
    ("request_", "given", "reason"),
    [
        (replace(WHOAMI, persona="minted"), {}, 'key "minted" is not in the profile'),
        (WHOAMI, {"key": f"qrstuv{KEY[-9:]}"}, 'key "altered" is not in the profile'),
        (
            replace(WHOAMI, method="POST", path=f"/api/executions/{NO_SUCH_EXECUTION}/cancel"),
            {},
            'the profile does not allow "cancel"',
        ),
        (
            replace(WHOAMI, path="/api/workflows/made", path_values={"slug": "made"}),
            {"first": (CREATE, httpx.Response(201, json={"slug": "made"}))},
            "made for the run",
        ),
        (replace(CREATE, body=b'{"text": "{{key:full}}"}'), {}, "text of the target that looks like one"),
        (replace(WHOAMI, path="/api/executions/{{key:full}}"), {}, "text of the target that looks like one"),
        (
            WHOAMI,
            {
                "check": next(each for each in all_checks().values() if each.family == "rate_limits"),
                "claim": Claim(fact="rate.refusal-fields", holds=False, expected="429", observed="404"),
            },
            "several exchanges",
        ),
    ],
    ids=[
        "minted key",
        "key made of another",
        "guard",
        "resource of the run",
        "placeholder in the body",
        "placeholder in the path",
        "several exchanges",
    ],
)
def test_finding_that_cannot_be_sent_again_says_why(request_, given, reason, replayed, tmp_path):
    result, sent = replayed(*finding_of(tmp_path, request_, **given))

    assert result.status is ReplayStatus.OPEN
    assert reason in result.reason
    assert sent == []


def test_finding_of_several_requests_is_left_to_its_test(replayed, tmp_path):
    record, finding = finding_of(tmp_path)

    result, sent = replayed(record, replace(finding, steps=("x00001", "x00002")))

    assert (result.status, result.reason) == (ReplayStatus.OPEN, "it rests on 2 requests")
    assert sent == []


def test_key_in_the_query_is_sent_and_a_placeholder_stays_text(replayed, tmp_path):
    """A placeholder that came from the target is not a key."""
    query = (("api_key", KEY), ("offset", "{{key:full}}"))

    _, sent = replayed(*finding_of(tmp_path, replace(WHOAMI, query=query)))

    assert [tuple(each.url.params.items()) for each in sent] == [query]


@pytest.mark.parametrize("key", ["null", KEY[:-2]], ids=["made up", "altered"])
def test_key_that_is_none_of_the_profile_is_sent_again(key, replayed, tmp_path):
    _, sent = replayed(*finding_of(tmp_path, key=key))

    assert [request.headers["x-api-key"] for request in sent] == [key]


@pytest.mark.parametrize(
    ("slug", "is_deleted"),
    [("harness-0123456789ab-a", True), ("portrait", False)],
    ids=["made", "not proven"],
)
def test_workflow_created_by_a_replay_is_deleted(slug, is_deleted, replayed, tmp_path):
    """Unless the slug in the answer was not made from the name."""
    create = replace(CREATE, body=b'{"name": "Harness 0123456789ab a"}')
    writer = replace(TARGET.personas["full"], capabilities=frozenset({"workflow:write"}))
    target = replace(TARGET, personas={"full": writer})

    answer = httpx.Response(201, json={"slug": slug})
    _, sent = replayed(*finding_of(tmp_path, create), answer=answer, target=target)

    deleted = [each.url.path for each in sent if each.method == "DELETE"]
    assert deleted == ([f"/api/workflows/{slug}"] if is_deleted else [])


@pytest.mark.parametrize(
    ("options", "started_with"),
    [
        (ReplayOptions(), {"faults": ("whoami-is-203",), "legal": "3", "between": None}),
        (ReplayOptions(healthy=True), {"faults": (), "legal": "3", "between": None}),
        (
            ReplayOptions(faults=("whoami-is-203",), legal="4", between="5"),
            {"faults": ("whoami-is-203",), "legal": "4", "between": "5"},
        ),
    ],
    ids=["of the run", "healthy", "others"],
)
def test_sandbox_is_started_as_in_the_run(options, started_with, tmp_path):
    record, _ = finding_of(tmp_path)
    setup = replace(record.setup, seed=7, faults=("whoami-is-203",), legal="3")

    assert options.of_sandbox(setup) == {"seed": 7, **started_with}


@pytest.fixture
def replayed_all(serve):
    """Replay chosen findings of a run on a server that answers all alike; return code and output."""

    def run(record, mark, answer, **asked):
        serve(answer)
        output = StringIO()
        options = ReplayOptions(target="mine", **asked)
        code = replay_findings(record.folder, mark, options, console=CommandConsole(file=output))
        return code, output.getvalue()

    return run


@pytest.mark.parametrize(
    ("answer", "code"), [(BROKEN, ExitCode.BREACH), (SOUND, ExitCode.KEPT), (THROTTLED, ExitCode.USAGE)]
)
def test_exit_code_shows_whether_a_finding_is_gone_or_open(answer, code, tmp_path, replayed_all, capsys):
    record, finding = finding_of(tmp_path)

    assert replayed_all(record, finding.fingerprint, answer)[0] == code
    assert capsys.readouterr().err == f"replaying finding 1 of 1: {finding.fact}\n"


def test_findings_that_cannot_be_read_are_not_gone(tmp_path, replayed_all):
    """Otherwise a damaged file would turn a gate green."""
    record, _ = finding_of(tmp_path)
    (record.folder / "findings.jsonl").write_text("{\n")

    code, output = replayed_all(record, None, SOUND)

    assert code == ExitCode.USAGE
    assert "findings.jsonl, line 1 is cut short or damaged" in output


def paid_run(cost_credits):
    """Return a target with a workflow at a price, and a run of it."""
    portrait = Workflow(slug="portrait", owner="ada", cost_credits=cost_credits)
    limits = Limits(credits=50, allow=frozenset(Action))
    path, body = "/api/workflows/portrait/run", b'{"inputs": {}}'
    run = replace(WHOAMI, method="POST", path=path, operation_id="runWorkflow", body=body)
    return replace(TARGET, limits=limits, workflows={"portrait": portrait}), run


def allowing(record, allowed_credits):
    """Return the record of a run that was allowed to spend so much."""
    limits = replace(record.setup.target.limits, credits=allowed_credits)
    return replace(record, setup=replace(record.setup, target=replace(record.setup.target, limits=limits)))


def test_replay_that_is_charged_more_than_the_limit_ends_with_that(tmp_path, serve):
    """Also if it is the last finding, and gone."""
    target, run = paid_run(8)
    record, finding = finding_of(tmp_path, edit=lambda shown: replace(shown, request=run))
    serve(httpx.Response(200, json={"success": True, "cost": 64, "ms": 1, "result": {"text": "a"}}), target)
    replayer = Replayer(record=allowing(record, 50), target_name="mine")

    with replayer.resources, pytest.raises(GuardStop, match="64"):
        list(replayer.replay_all([finding]))


@pytest.mark.parametrize(("allowed_credits", "charged"), [(8, 8), (7, 0)])
def test_replay_spends_no_more_than_the_run_was_allowed(tmp_path, serve, allowed_credits, charged):
    target, run = paid_run(8)
    record, finding = finding_of(tmp_path, edit=lambda shown: replace(shown, request=run))
    sent = serve(httpx.Response(200, json={"success": True, "cost": 8, "ms": 1, "result": {}}), target)
    replayer = Replayer(record=allowing(record, allowed_credits), target_name="mine")

    with closing(replayer):
        list(replayer.replay_all([finding]))

    assert replayer.charged_credits == charged
    assert len(sent) == (2 if charged else 1)


def test_findings_that_fail_no_run_are_replayed_on_request(tmp_path, replayed_all):
    """They decide about the exit code only if they are named."""
    answer = httpx.Response(401, json={"error": "No", "code": "NO_KEY"})
    record, finding = finding_of(
        tmp_path, replace(WHOAMI, persona=None), answer=answer, check=authentication.missing_key
    )
    assert finding.verdict is Verdict.ASSUMPTION

    code, printed = replayed_all(record, None, answer)
    assert code == ExitCode.KEPT
    assert printed.splitlines() == [
        "0 findings: 0 still stand, 0 gone, 0 cannot be told.",
        "Not sent again: 1 that do not fail the run (--all sends them too).",
    ]
    code, printed = replayed_all(record, None, answer, every_finding=True)
    assert code == ExitCode.KEPT
    assert printed.startswith("still stands")
    assert replayed_all(record, finding.fingerprint, answer)[0] == ExitCode.BREACH
