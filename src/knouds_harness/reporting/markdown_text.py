"""Words of others in Markdown, so that they are read as words: no tags, no mentions, no broken tables."""

from __future__ import annotations

import re

_LONGEST_VALUE = 300


def code_span(text: str) -> str:
    """A code span that holds any text: one line, cut, in more backticks than it contains."""
    text = " ".join(text.split())
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
    """Words of this project or of the profile: code spans stay, tags and mentions do not become such."""
    parts = text.split("`")
    for index in range(0, len(parts), 2):
        plain = re.sub(r"([\\*_\[\]|])", r"\\\1", parts[index])
        parts[index] = plain.replace("<", "&lt;").replace("@", "&#64;")
    return "`".join(parts)
