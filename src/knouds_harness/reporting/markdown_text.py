"""Words of others in Markdown, so that they are read as words: no tags, no mentions, no broken tables."""

from __future__ import annotations

import re

from knouds_harness.printable import printable

_LONGEST_VALUE = 300


def code_span(text: str) -> str:
    """A code span that holds any text: one line, cut, in more backticks than it contains."""
    text = printable(" ".join(text.split()))
    if len(text) > _LONGEST_VALUE:
        text = f"{text[:_LONGEST_VALUE]}…"
    if not text:
        return "(nothing)"
    ticks = fence(text, least=1)
    space = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{ticks}{space}{text}{space}{ticks}"


def fence(text: str, *, least: int) -> str:
    """So many backticks, at least, as no run of them in the text has."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    return "`" * max(least, longest + 1)


def escaped(text: str) -> str:
    """Words of this project or of the profile: whole code spans stay, nothing else becomes markup."""
    parts = printable(text).split("`")
    is_whole = len(parts) % 2 and not any("\n" in code for code in parts[1::2])
    for index in range(0, len(parts), 2 if is_whole else 1):
        plain = re.sub(r"([\\*_\[\]|])", r"\\\1", parts[index])
        parts[index] = plain.replace("<", "&lt;").replace("@", "&#64;")
    return ("`" if is_whole else r"\`").join(parts)
