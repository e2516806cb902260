"""Sample runs, written and rendered once for all tests that only read them."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import pytest
from rendering import render_all

from knouds_harness.runs.record import RunRecord, read_run

Write = Callable[[Path], Path]


@pytest.fixture(scope="session")
def rendered(tmp_path_factory) -> Callable[[Write], SimpleNamespace]:
    """Return the reports of a sample run; whoever changes a file writes a run of its own."""
    return cache(lambda write: render_all(write(tmp_path_factory.mktemp(write.__name__))))


@pytest.fixture(scope="session")
def record_of(rendered) -> Callable[[Write], RunRecord]:
    """Return the record of a sample run."""
    return cache(lambda write: read_run(rendered(write).html.parent))
