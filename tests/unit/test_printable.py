"""Text of a server cannot act as a command to a terminal or a CI log."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knouds_harness.printable import counted, printable

ESCAPES = ["\x1b[31mred", "\x1b]0;title\x07", "a\rb", "\x9b2J", "\u202eabc", "\x00", "\x7f"]


@pytest.mark.parametrize("text", ESCAPES)
def test_escape_sequence_is_shown_as_dots(text):
    assert printable(text).isprintable()


@pytest.mark.parametrize(
    "line",
    [
        "::add-mask::it",
        "  ::error::x",
        "ok\n::stop-commands::x",
        "##[group]x",
        "x ##vso[task.setvariable]y",
        "##teamcity[x]",
        "##[error]x",
    ],
)
def test_line_is_not_a_command_to_a_pipeline(line):
    """GitHub finds commands at the beginning of a line, Azure and TeamCity find them anywhere."""
    shown = printable(line)

    assert not any(each.strip().startswith("::") for each in shown.splitlines())
    assert "##" not in shown


@given(st.text())
def test_length_and_printable_text_are_kept(text):
    """Positions in the text still fit, and a second pass changes nothing."""
    shown = printable(text)

    assert len(shown) == len(text)
    assert printable(shown) == shown


@pytest.mark.parametrize(("number", "said"), [(0, "0 findings"), (1, "1 finding"), (1200, "1,200 findings")])
def test_counted_noun_agrees_with_its_number(number, said):
    assert counted(number, "finding") == said
    assert counted(1, "try", "tries") == "1 try"
