"""Files with a user's own checks: what is read, and the messages for what is refused."""

import re

import pytest

from knouds_harness.contract.operations import Source
from knouds_harness.errors import UsageError
from knouds_harness.judging.user_checks import load_checks

HEAD = "from knouds_harness.testing import Claim, check, fact\n"
CHECK = '@check({})\ndef is_so(exchange):\n    """It is so."""\n    yield from ()\n'


def test_facts_and_checks_of_a_file_are_found(tmp_path):
    """Ids begin with ``user.``; imported checks are not the file's own."""
    file = tmp_path / "own.py"
    file.write_text(HEAD + 'A = fact("a-b", "It is so.")\n' + CHECK.format("A"), encoding="utf-8")

    found = load_checks(file)

    assert list(found.facts) == ["user.a-b"]
    assert found.facts["user.a-b"].source is Source.USER
    assert [(each.id, each.facts, each.sentence) for each in found.checks.values()] == [
        ("user.is-so", ("user.a-b",), "It is so.")
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x = 1\n1 / 0\n", "own.py:2: ZeroDivisionError: division by zero"),
        ("def (\n", "own.py:1: invalid syntax"),
        (HEAD, "own.py: defines no check"),
        (HEAD + CHECK.format('fact("a", "A.")'), "own.py: user.a has no name in that file"),
        (HEAD + 'A = fact("A b", "A.")\n', "own.py:2: ValueError: 'A b' is not a valid name of a fact"),
    ],
)
def test_unusable_file_is_refused(tmp_path, text, says):
    (tmp_path / "own.py").write_text(text, encoding="utf-8")

    with pytest.raises(UsageError, match=re.escape(says)):
        load_checks(tmp_path / "own.py")


def test_missing_file_is_refused(tmp_path):
    with pytest.raises(UsageError, match="no such Python file"):
        load_checks(tmp_path / "absent.py")
