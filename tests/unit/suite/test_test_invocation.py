"""Messages about findings while the run goes on."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from run_records import exchange, finding

from knouds_harness.suite.recorder import CurrentTest
from knouds_harness.suite.test_invocation import FoundByChecks, user_body


def test_long_script_is_named_and_its_requests_are_not_counted(tmp_path):
    """A shorter script may replace it before the run ends."""
    script = "\n".join(["curl"] * 12)
    found = replace(finding(exchange(1, "getWhoami"), "whoami.user-object"), steps=("a", "b"), script=script)
    shown = CurrentTest()
    shown.failing, shown.new = {"f": found}, {"f"}
    item: Any = SimpleNamespace(nodeid="test", get_closest_marker=lambda _: None)
    recorder: Any = SimpleNamespace(
        duration_s_by_test={}, shown=shown, findings={"f": found}, writer=SimpleNamespace(folder=tmp_path)
    )

    with pytest.raises(FoundByChecks) as said, user_body(item, recorder):
        pass

    assert "\n  a script: sh " in str(said.value)
    assert "requests" not in str(said.value)
