"""Text of a server, a profile or a file, made safe for a terminal, a log of CI and a comment in a script."""

import re
from collections.abc import Sequence

_COMMAND = re.compile(r"^(\s*)::", re.MULTILINE)
_COMMAND_OF_AZURE = re.compile(r"##(?=\w*\[)")


def printable(text: str, *, keep: str = "\n") -> str:
    """Replace what a terminal would obey, and what CI systems would take for a command.

    Returns:
        Text as long as before, with ``·`` for each unprintable character that is not in ``keep``, and in what
        begins a command.
    """
    if not text.isprintable():
        text = "".join(char if char.isprintable() or char in keep else "·" for char in text)
    return _COMMAND_OF_AZURE.sub("#·", _COMMAND.sub(r"\1·:", text))


def counted(number: int, one: str, several: str = "") -> str:
    """A number of things: ``1 finding``, ``2 findings``."""
    return f"{number:,} {one if number == 1 else several or f'{one}s'}"


def first_few(names: Sequence[str], most: int) -> str:
    """Names in a row; how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"
