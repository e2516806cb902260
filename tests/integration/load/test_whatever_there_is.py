"""Scenarios with the means of an ordinary customer: one key, a workflow or a model."""

import pytest
from example_targets import CLIP, IMAGE, PRO
from loading import PATIENT, load

from knouds_harness.errors import ExitCode

SHORT = ("--rate", "4", "--duration", "3s", "--quiet", "--seed", "1", *PATIENT)
ASKED = {"sync_runs": set(), "async_cycles": {"getExecution"}, "cancels": {"getExecution", "cancelExecution"}}
RUNS_MODELS = ("model:run", "execution:read", "execution:cancel")


@pytest.mark.nightly
@pytest.mark.parametrize("run", ["runWorkflow", "runModel"])
@pytest.mark.parametrize("scenario", ASKED)
def test_one_key_and_one_workflow_or_model_are_enough(tmp_path, small, run, scenario):
    if run == "runWorkflow":
        profile = small.key("full", PRO, user="ada", tier="enterprise").resource(CLIP)
    else:
        profile = small.key("business", RUNS_MODELS, user="bea", tier="business").resource(IMAGE)

    loaded = load(tmp_path / "runs", scenario, "--target", profile.written(), "--verify", *SHORT)

    asked, sent = ASKED[scenario], {each.operation for each in loaded.results.operations}
    assert loaded.exit_code in {ExitCode.KEPT, ExitCode.INVALID_MEASUREMENT}, loaded.out + loaded.err
    assert all(each.by_status["ok"] == each.requests for each in loaded.results.operations)
    assert sent == {f"{run} async" if asked else run} | asked
