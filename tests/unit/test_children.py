"""Processes that the harness starts run its own modules, whatever lies in the current folder."""

import ast
from pathlib import Path

SOURCES = sorted(Path(__file__).parents[2].joinpath("src").rglob("*.py"))


def _python_commands():
    """Yield the constants that follow ``sys.executable`` in lists and tuples of the source."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            first, *others = getattr(node, "elts", None) or [None]
            if isinstance(first, ast.Attribute) and ast.unparse(first) == "sys.executable":
                yield path.name, [each.value for each in others if isinstance(each, ast.Constant)]


def test_python_is_started_without_the_modules_of_the_current_folder():
    """``python -m`` imports from there before all else; ``-P`` leaves it out."""
    started = list(_python_commands())

    assert {name for name, _ in started} == {"launching.py", "builtin.py"}
    assert [name for name, command in started if command[:2] != ["-P", "-m"]] == []
