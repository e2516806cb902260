"""TestData are created once, by the first test that needs one; after a failure, the next test tries."""

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
from exchanges import exchange

from knouds_harness.suite.support.test_data import TestData
from knouds_harness.suite.untested import Untested


def test_failed_create_is_tried_again():
    """Otherwise later tests would have no workflow."""
    bodies = iter([{}, [], {"slug": "harness-scratch"}])
    ledger = SimpleNamespace(may_write=lambda slug: slug.startswith("harness"), found=lambda *_: None)
    tester: Any = SimpleNamespace(
        send=lambda *_: exchange(201, next(bodies), operation_id="createWorkflow"),
        need=lambda _: "full",
        idle=nullcontext,
        client=SimpleNamespace(created=ledger),
    )
    test_data = TestData(tester)

    with pytest.raises(Untested, match="a workflow to write to"):
        _ = test_data.scratch_slug

    assert test_data.scratch_slug == "harness-scratch"
