"""Messages about findings while the run goes on."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from run_records import exchange, finding

from knouds_harness.suite.recorder import CurrentTest, shown_answer
from knouds_harness.suite.test_invocation import FoundByChecks, call_body, user_body
from knouds_harness.suite.untested import Untested


@pytest.fixture
def recorder_of(tmp_path):
    """Return the recorder of a test that is the first to show a finding."""

    def recorder_of(found, answered="") -> Any:
        shown = CurrentTest()
        shown.failing, shown.new = {"f": found}, {"f"}
        return SimpleNamespace(
            duration_s_by_test={},
            answered={"f": answered},
            shown=shown,
            findings={"f": found},
            writer=SimpleNamespace(folder=tmp_path),
            steps=Mock(),
            begin_test=Mock(),
        )

    return recorder_of


def item_of(body=None) -> Any:
    return SimpleNamespace(nodeid="test", obj=body, get_closest_marker=lambda _: None)


@pytest.mark.parametrize(
    ("is_shared", "cause"), [(True, "answers"), (False, "profile")], ids=["what tests share", "nothing"]
)
def test_test_that_judges_nothing_says_why(recorder_of, monkeypatch, is_shared, cause):
    """The profile lacks nothing if runs that were made elsewhere did not show the fact."""
    recorder = recorder_of(None)
    recorder.findings = recorder.shown.failing = {}
    monkeypatch.setattr("knouds_harness.suite.test_invocation.own_facts_of", lambda _: {"execution.edges"})
    item = item_of(lambda: None)
    item.get_closest_marker = lambda name: is_shared and name == "shares"

    with pytest.raises(Untested) as untested:
        call_body(item, {}, recorder)

    assert untested.value.cause == cause


@pytest.fixture
def said_of(recorder_of):
    """Return what a user's test says of a finding that it is the first to show."""

    def said_of(found, answered=""):
        item, recorder = item_of(), recorder_of(found, answered)
        with pytest.raises(FoundByChecks) as said, user_body(item, recorder):
            pass
        return str(said.value)

    return said_of


def test_one_fault_on_many_operations_is_told_at_length_twice(recorder_of):
    """The others take a line each: the verdict comes after all of them."""
    found = finding(exchange(1, "getWhoami"), "whoami.user-object")
    recorder = recorder_of(found)
    recorder.findings = recorder.shown.failing = {f"f{number}": found for number in range(4)}
    recorder.shown.new = set(recorder.findings)

    with pytest.raises(FoundByChecks) as said, user_body(item_of(), recorder):
        pass

    first_words = [line.split(":")[0] for line in str(said.value).splitlines() if line[0] != " "]
    assert first_words == ["breach", "breach", "also", "also"]


def test_long_script_is_named_and_its_requests_are_not_counted(said_of):
    """A shorter script may replace it before the run ends."""
    script = "\n".join(["curl"] * 12)
    found = replace(finding(exchange(1, "getWhoami"), "whoami.user-object"), steps=("a", "b"), script=script)

    said = said_of(found)

    assert "\n  a script: sh " in said
    assert "requests" not in said


@pytest.mark.parametrize(
    ("error", "comes"), [(KeyboardInterrupt(), KeyboardInterrupt), (ValueError(), pytest.fail.Exception)]
)
def test_finding_hides_an_error_but_not_ctrl_c(recorder_of, error, comes):
    """Else the run would go on after it."""
    body = Mock(side_effect=error, __name__="body")
    recorder = recorder_of(finding(exchange(1, "getWhoami"), "whoami.user-object"))

    with pytest.raises(comes):
        call_body(item_of(body), {}, recorder)


def test_finding_shows_its_answer(said_of):
    """Status and type of it, and some of its body."""
    sent = replace(exchange(1, "getWhoami"), body=b'{"cover": "' + b"QUJD" * 99 + b'"}' + b" long" * 99)

    said = said_of(finding(sent, "whoami.user-object"), shown_answer(sent))

    (line,) = [each for each in said.splitlines() if "answered" in each]
    assert line.startswith(f"  answered {sent.status} ")
    assert '"cover": "<396 characters>"' in line
    assert line.endswith("…")
    assert len(line) < 400
