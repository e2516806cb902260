"""A mix of one's own: tasks by name, resources by name, or recorded traffic."""

import json

import pytest
from load_workload import persona, target

from knouds_harness.contract.operations import Action
from knouds_harness.errors import UsageError
from knouds_harness.load.mix import parse_mix, read_traffic_inputs, running_only, tasks_of
from knouds_harness.load.tasks import run_workflow, who_am_i
from knouds_harness.targets.resources import Limits, Model, Workflow

KEY = "knouds_live_0123456789abcdefghij"
BEA = persona("bea", user="bea", tier="business", capabilities={"workflow:run", "model:run"})
PORTRAIT = Workflow(slug="portrait", owner="bea", cost_credits=8)
CLIP = Workflow(slug="clip", owner="bea", cost_credits=80, polled=True)
BROKEN = Workflow(slug="broken", owner="bea", cost_credits=8, fails=True)
FOREIGN = Workflow(slug="foreign", owner="ada", cost_credits=8)
MODEL = Model(name="gpt-image-2", cost_credits=20)
SERVER = target(BEA, workflows=[PORTRAIT, CLIP, BROKEN, FOREIGN], models=[MODEL])


def test_mix_says_how_often_each_task_comes():
    assert tasks_of(parse_mix("run=3, whoami=1")) == [run_workflow] * 3 + [who_am_i]


@pytest.mark.parametrize(
    ("mix", "says"),
    [
        ("rum=3", 'Did you mean "run"?'),
        ("run", "how often run comes"),
        ("run=0", "how often run comes"),
        ("run=-1", "how often run comes"),
        ("run=1.5", "how often run comes"),
        ("run=1001", "how often run comes"),
        ("", 'no task ""'),
    ],
)
def test_wrong_mix_is_refused_with_similar_names(mix, says):
    with pytest.raises(UsageError) as refused:
        parse_mix(mix)

    assert says in str(refused.value)


def test_only_the_named_workflow_is_run():
    narrowed = running_only(SERVER, ["portrait"], [])

    assert (list(narrowed.workflows), list(narrowed.models)) == (["portrait"], [])
    assert running_only(SERVER, [], []) is SERVER


@pytest.mark.parametrize(
    ("workflows", "models", "says"),
    [
        (["potrait"], [], 'Did you mean "portrait"?'),
        ([], ["gpt-image-1"], 'Did you mean "gpt-image-2"?'),
        (["broken"], [], "fails = true"),
    ],
)
def test_workflow_that_cannot_be_run_is_refused(workflows, models, says):
    with pytest.raises(UsageError) as refused:
        running_only(SERVER, workflows, models)

    assert says in str(refused.value)


def entry(method, path, body=None):
    request = {"method": method, "url": f"https://api.example.com{path}"}
    request |= {"headers": [{"name": "x-api-key", "value": KEY}]}
    if body is not None:
        request |= {"postData": {"text": json.dumps(body)}}
    answer = {"status": 200, "headers": [], "content": {"text": "{}"}}
    return {"startedDateTime": "2026-11-01T10:00:00Z", "time": 5, "request": request, "response": answer}


def run(slug, prompt="a fox", query="", **inputs):
    return entry("POST", f"/api/workflows/{slug}/run{query}", {"inputs": {"prompt": prompt, **inputs}})


@pytest.fixture
def read(tmp_path):
    def reading(*entries, where=SERVER):
        path = tmp_path / "traffic.har"
        path.write_text(json.dumps({"log": {"entries": list(entries)}}), encoding="utf-8")
        return read_traffic_inputs(path, where)

    return reading


def test_traffic_is_repeated_in_its_proportions(read):
    """Runs keep their inputs; polls are part of ``follow``."""
    whoami, poll = entry("GET", "/api/whoami"), entry("GET", "/api/executions/ex1")

    found = read(whoami, run("portrait"), run("portrait", "a cat"), run("clip", query="?async=true"), poll)

    assert found.mix == {"whoami": 1, "run": 2, "follow": 1}
    assert [(line.name, line.inputs["prompt"]) for line in found.lines] == [
        ("portrait", "a fox"),
        ("portrait", "a cat"),
        ("clip", "a fox"),
    ]


def test_recorded_submit_and_cancel_are_one_cancel_task(read):
    cancel = entry("POST", "/api/executions/ex1/cancel")

    assert read(run("clip", query="?async=true"), cancel).mix == {"cancel": 1}


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (run("broken"), "the profile says fails = true"),
        (run("foreign"), "no key may run"),
        (run("unknown"), "not in"),
        (run("portrait", query="?async=true"), "polled = true"),
        (run("portrait", prompt=KEY), "hold a secret"),
        (run("portrait", count=8), "may cost more"),
        (run("portrait", seconds="60s"), "may cost more"),
        (run("portrait", images=["https://h.example/a.png"]), "may cost more"),
        (entry("GET", "/logo.png"), "not of the API"),
    ],
)
def test_requests_that_cannot_be_sent_are_left_out_and_named(read, asked, says):
    found = read(entry("GET", "/api/whoami"), asked)

    assert found.mix == {"whoami": 1}
    assert found.lines == ()
    (left_out,) = found.left_out
    assert says in left_out
    assert KEY not in left_out


def test_runs_are_sent_only_if_the_profile_allows_them(read):
    """A read-only profile stays read-only, whatever was recorded."""
    reading = target(BEA, workflows=[PORTRAIT], limits=Limits(credits=0, allow=frozenset({Action.READ})))

    found = read(entry("GET", "/api/whoami"), run("portrait"), where=reading)

    assert (found.mix, found.lines) == ({"whoami": 1}, ())


def test_traffic_without_a_usable_request_is_refused(read):
    with pytest.raises(UsageError, match="left out 1 runWorkflow of broken"):
        read(run("broken"))
