"""Make text from a server, profile or file safe for a terminal, a CI log and a comment in a script."""

import re
from collections.abc import Sequence

_COMMAND = re.compile(r"^(\s*)::", re.MULTILINE)
_COMMAND_OF_AZURE = re.compile(r"##(?=\w*\[)")


def printable(text: str, *, keep: str = "\n") -> str:
    """Replace unprintable characters, and the marks that CI systems read as commands.

    Returns:
        Text of the same length: ``·`` replaces each unprintable character that is not in ``keep``, and one
        character of each mark.
    """
    if not text.isprintable():
        text = "".join(char if char.isprintable() or char in keep else "·" for char in text)
    return _COMMAND_OF_AZURE.sub("#·", _COMMAND.sub(r"\1·:", text))


def counted(number: float, one: str, several: str = "") -> str:
    """Format a count or an amount with its noun: ``1 finding``, ``2.5 credits``."""
    return f"{number:,.10g} {one if number == 1 else several or f'{one}s'}"


def first_few(names: Sequence[str], most: int) -> str:
    """Join the first ``most`` names, and say how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"
