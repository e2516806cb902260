"""Lines and tables, on terminals of any width and in pipes."""

import io

import pytest
from rich.console import Console

from knouds_harness.command_output import print_line, print_table

ROWS = [
    ("auth-revoked-accepted", "auth.revoked-key-is-401", "A revoked key is accepted as if nothing had been."),
    ("whoami-is-203", "ground.status-is-documented", "A run that is waited for answers 202."),
]


def printed(width, *, is_terminal, rows=ROWS, **more):
    screen = io.StringIO()
    console = Console(file=screen, width=width, force_terminal=is_terminal, color_system=None)
    print_table(rows, console=console, **more)
    return screen.getvalue().splitlines()


@pytest.mark.parametrize(
    ("is_terminal", "lines"), [(True, ["  one two", "    three"]), (False, ["  one two three"])]
)
def test_line_is_wrapped_under_its_beginning_in_a_terminal(is_terminal, lines):
    screen = io.StringIO()
    console = Console(file=screen, width=12, force_terminal=is_terminal, color_system=None)

    print_line("  one two three", console=console)

    assert screen.getvalue().splitlines() == lines


@pytest.mark.parametrize("width", [1, 80, 200])
def test_row_is_one_line_in_a_pipe(width):
    lines = printed(width, is_terminal=False, headings=("fault", "fact", "says"))

    assert len(lines) == 3
    assert lines[0].split() == ["fault", "fact", "says"]
    assert lines[1].endswith(f"  {ROWS[0][1]}      {ROWS[0][2]}")
    assert lines[0].index("fact") == lines[2].index(ROWS[1][1])


@pytest.mark.parametrize("width", [40, 60, 80, 100, 200])
def test_id_is_never_broken(width):
    """The last column is wrapped, or the cells of a row are put below each other; no line is too wide."""
    lines = printed(width, is_terminal=True)

    assert max(map(len, lines)) <= width
    assert all(any(cell in line for line in lines) for row in ROWS for cell in row[:2])
    assert " ".join(" ".join(lines).split()).count("had been.") == 1


def test_numbers_are_aligned_to_the_right():
    lines = printed(80, is_terminal=True, rows=[("a", "5 ms", "x"), ("b", "1,200 ms", "y")], right={1})

    assert lines == ["a      5 ms  x", "b  1,200 ms  y"]


def test_table_without_rows_prints_nothing():
    assert printed(80, is_terminal=True, rows=[]) == []


def test_text_is_neither_markup_nor_a_command():
    screen = io.StringIO()
    console = Console(file=screen, width=80)

    print_line("[webhook] listen\x1b[2J", console=console)
    print_table([("[keys.full]", "::error::no")], console=console)

    assert screen.getvalue() == "[webhook] listen·[2J\n[keys.full]  ·:error::no\n"
