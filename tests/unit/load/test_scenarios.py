"""Each scenario describes itself."""

import ast
import re

import pytest

from knouds_harness.load.generator.launching import scenario_file
from knouds_harness.locations import scenario_names, scenarios_path

TEXT_BY_SCENARIO = {
    name: ast.get_docstring(ast.parse(scenario_file(name).read_text(encoding="utf-8"))) or ""
    for name in scenario_names()
}


def test_every_scenario_file_is_tested():
    assert TEXT_BY_SCENARIO.keys() >= {
        "async_cycles",
        "cancels",
        "mixed",
        "rate_limit",
        "reads",
        "sync_runs",
        "workflow_crud",
    }
    assert len(TEXT_BY_SCENARIO) == len(list(scenarios_path().glob("*.py")))


@pytest.mark.parametrize("name", TEXT_BY_SCENARIO)
def test_docstring_begins_with_the_question(name):
    """Reports show its first line as the question that the run answers."""
    assert TEXT_BY_SCENARIO[name].partition("\n")[0].endswith("?")


@pytest.mark.parametrize("name", TEXT_BY_SCENARIO)
@pytest.mark.parametrize(
    "what",
    [
        pytest.param(r"Workload: .*\b(task|request|runs)", id="mix"),
        pytest.param(r"\bopen\b.*\bclosed\b", id="model"),
        pytest.param(r"\bCosts (no credits|at most the price)\b", id="cost"),
        pytest.param(r"\bNeeds (a |no )?keys?\b", id="keys"),
    ],
)
def test_docstring_says_model_mix_cost_and_keys(name, what):
    assert re.search(what, " ".join(TEXT_BY_SCENARIO[name].split()))


@pytest.mark.parametrize("name", TEXT_BY_SCENARIO)
def test_scenario_is_listed_in_the_guide(name):
    page = scenarios_path().parent / "docs" / "load.md"

    assert f"\n| `{name}` |" in page.read_text(encoding="utf-8")
