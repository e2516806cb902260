"""A mix of one's own: tasks and resources by name."""

import pytest
from load_workload import persona, target

from knouds_harness.errors import UsageError
from knouds_harness.load.tasks import run_workflow, tasks_of, who_am_i
from knouds_harness.load.workload.preflight import running_only
from knouds_harness.targets.resources import Model, Workflow

BEA = persona("bea", user="bea", tier="business", capabilities={"workflow:run", "model:run"})
PORTRAIT = Workflow(slug="portrait", owner="bea", cost_credits=8)
CLIP = Workflow(slug="clip", owner="bea", cost_credits=80, polled=True)
BROKEN = Workflow(slug="broken", owner="bea", cost_credits=8, fails=True)
FOREIGN = Workflow(slug="foreign", owner="ada", cost_credits=8)
MODEL = Model(name="gpt-image-2", cost_credits=20)
SERVER = target(BEA, workflows=[PORTRAIT, CLIP, BROKEN, FOREIGN], models=[MODEL])


def test_mix_says_how_often_each_task_comes():
    assert tasks_of("run=3, whoami=1") == [run_workflow] * 3 + [who_am_i]


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
        tasks_of(mix)

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
