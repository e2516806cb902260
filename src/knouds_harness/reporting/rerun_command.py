"""The command line that runs a run again."""

from __future__ import annotations

import shlex

from knouds_harness.runs.record import RunRecord


def command_again(record: RunRecord) -> str:
    """What was typed, with the seed that was drawn and without the folder of this machine's tool.

    Returns:
        A line for a shell; empty where the record does not say what was typed.
    """
    words = typed_words(record.setup.command)
    if not words:
        return ""
    words[0] = words[0].replace("\\", "/").rpartition("/")[2]
    if not any(word == "--seed" or word.startswith("--seed=") for word in words):
        at = words.index("--") if "--" in words else len(words)
        words[at:at] = ["--seed", str(record.setup.seed)]
    return shlex.join(words)


def typed_words(typed: tuple[str, ...]) -> list[str]:
    """A command is kept as its words, or as one line for a shell."""
    try:
        return shlex.split(typed[0]) if len(typed) == 1 else list(typed)
    except ValueError:
        return list(typed)
