"""The fixtures of conformance tests; all belong to the session's run."""

import pytest

from knouds_harness.suite.plugin import opened_run
from knouds_harness.suite.session import ConformanceRun
from knouds_harness.suite.test_invocation import RUN_FIXTURE


@pytest.fixture(scope="session", name=RUN_FIXTURE)
def knouds_run(request: pytest.FixtureRequest) -> ConformanceRun:
    """The conformance run, under a name that no other plugin uses."""
    return opened_run(request.config)


@pytest.fixture(scope="session")
def run(knouds_run: ConformanceRun) -> ConformanceRun:
    """The conformance run."""
    return knouds_run


def _of_run(name: str, says: str) -> object:
    """Return the fixture of one attribute of the run."""

    def attribute(knouds_run: ConformanceRun) -> object:
        return getattr(knouds_run, name)

    attribute.__doc__ = says
    return pytest.fixture(scope="session", name=name)(attribute)


tester = _of_run("tester", "Sends requests and has the responses judged.")
test_data = _of_run("test_data", "Resources to act on.")
executions = _of_run("executions", "Executions that tests share; their cost is planned once for all of them.")
deliveries = _of_run("deliveries", "Webhook deliveries of executions that tests share, planned likewise.")
target = _of_run("target", "The target's profile.")
personas = _of_run("personas", "The active keys of accounts that may use keys.")
document = _of_run("document", "The OpenAPI document.")
