"""Messages about findings while the run goes on."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from run_records import exchange, finding

from knouds_harness.suite.recorder import CurrentTest, shown_answer
from knouds_harness.suite.test_invocation import FoundByChecks, user_body


@pytest.fixture
def said_of(tmp_path):
    """Return what a user's test says of a finding that it is the first to show."""

    def said_of(found, answered=""):
        shown = CurrentTest()
        shown.failing, shown.new = {"f": found}, {"f"}
        item: Any = SimpleNamespace(nodeid="test", get_closest_marker=lambda _: None)
        recorder: Any = SimpleNamespace(
            duration_s_by_test={},
            answered={"f": answered},
            shown=shown,
            findings={"f": found},
            writer=SimpleNamespace(folder=tmp_path),
        )
        with pytest.raises(FoundByChecks) as said, user_body(item, recorder):
            pass
        return str(said.value)

    return said_of


def test_long_script_is_named_and_its_requests_are_not_counted(said_of):
    """A shorter script may replace it before the run ends."""
    script = "\n".join(["curl"] * 12)
    found = replace(finding(exchange(1, "getWhoami"), "whoami.user-object"), steps=("a", "b"), script=script)

    said = said_of(found)

    assert "\n  a script: sh " in said
    assert "requests" not in said


def test_finding_shows_its_answer(said_of):
    """Status and type of it, and some of its body."""
    sent = replace(exchange(1, "getWhoami"), body=b'{"cover": "' + b"QUJD" * 99 + b'"}' + b" long" * 99)

    said = said_of(finding(sent, "whoami.user-object"), shown_answer(sent))

    (line,) = [each for each in said.splitlines() if "answered" in each]
    assert line.startswith(f"  answered {sent.status} ")
    assert '"cover": "<396 characters>"' in line
    assert line.endswith("…")
    assert len(line) < 400
