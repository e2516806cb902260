"""The sandbox that most tests of a module use."""

from collections.abc import Iterator

import pytest

from knouds_sandbox.serving import RunningSandbox, running_sandbox


@pytest.fixture(scope="module")
def sandbox() -> Iterator[RunningSandbox]:
    with running_sandbox() as running:
        yield running
