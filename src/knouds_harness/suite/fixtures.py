"""The fixtures of conformance tests; all belong to the session's run."""

import pytest

from knouds_harness.contract.document import Document
from knouds_harness.suite.plugin import opened_run
from knouds_harness.suite.session import ConformanceRun
from knouds_harness.suite.support.execution_traces import Executions
from knouds_harness.suite.support.test_data import TestData
from knouds_harness.suite.support.webhook_executions import DeliveredExecutions
from knouds_harness.suite.test_invocation import RUN_FIXTURE
from knouds_harness.suite.tester import Tester
from knouds_harness.targets.profile import Target
from knouds_harness.targets.resources import Persona


@pytest.fixture(scope="session", name=RUN_FIXTURE)
def knouds_run(request: pytest.FixtureRequest) -> ConformanceRun:
    """The conformance run, under a name that no other plugin uses."""
    return opened_run(request.config)


@pytest.fixture(scope="session")
def run(knouds_run: ConformanceRun) -> ConformanceRun:
    """The conformance run."""
    return knouds_run


@pytest.fixture(scope="session")
def tester(knouds_run: ConformanceRun) -> Tester:
    """Sends requests and has the responses judged."""
    return knouds_run.tester


@pytest.fixture(scope="session")
def test_data(knouds_run: ConformanceRun) -> TestData:
    """Resources to act on."""
    return knouds_run.test_data


@pytest.fixture(scope="session")
def executions(knouds_run: ConformanceRun) -> Executions:
    """Executions that tests share; their cost is planned once for all of them."""
    return knouds_run.executions


@pytest.fixture(scope="session")
def deliveries(knouds_run: ConformanceRun) -> DeliveredExecutions:
    """Webhook deliveries of executions that tests share, planned likewise."""
    return knouds_run.deliveries


@pytest.fixture(scope="session")
def target(knouds_run: ConformanceRun) -> Target:
    """The target's profile."""
    return knouds_run.target


@pytest.fixture(scope="session")
def personas(knouds_run: ConformanceRun) -> list[Persona]:
    """The active keys of accounts that may use keys."""
    return knouds_run.personas


@pytest.fixture(scope="session")
def document(knouds_run: ConformanceRun) -> Document:
    """The OpenAPI document."""
    return knouds_run.document
