"""The sections that reports of a check and of a load run share: what was run, and the evidence."""

import shlex
from collections.abc import Collection, Sequence

from knouds_harness.exchange.evidence import Exchange
from knouds_harness.printable import counted
from knouds_harness.reporting.check.evidence import evidence_of
from knouds_harness.reporting.report import HTML, TERMINAL, Block, Code, Figure, Pairs, Section, Text, Words
from knouds_harness.runs.record import RunRecord
from knouds_harness.runs.run_file import UsageShown


def run_section(record: RunRecord, more: Sequence[tuple[str, Words]], *, again_on: str) -> Section:
    setup, target = record.setup, record.setup.target
    ended = "" if record.exit_code is None else f", exit code {record.exit_code}"
    limits = target.limits
    rate = f"{limits.requests_per_s} requests per second" if limits.requests_per_s else "any rate"
    pairs: list[tuple[str, Words]] = [
        ("Seed", Code(str(setup.seed))),
        ("Outcome", f"{record.outcome.value}{ended}"),
        (
            "Target",
            (f"{target.name} at ", Code(target.base_url), ", production" if target.production else ""),
        ),
        ("Tiers", ", ".join(sorted({each.tier for each in target.personas.values()}))),
        ("Limits", f"{limits.credits:,.10g} credits; {rate}; allowed: {', '.join(sorted(limits.allow))}"),
        (
            "Document",
            (f"{setup.document.title} {setup.document.version}, ", Code(setup.document.sha256[:12])),
        ),
        *more,
        ("Record", Code(record.folder.resolve().name)),
    ]
    return Section(
        "run",
        "The run",
        [
            *_not_settled(record),
            Text(f"To run it again, on a target with {again_on}:", shown=HTML),
            Figure("command.html.j2", values={"id": "again", "text": command_again(record)}),
            Pairs(pairs),
        ],
    )


def _not_settled(record: RunRecord) -> list[Block]:
    usage, settle_s = record.counts.usage, record.setup.target.limits.settle_s
    if usage is None or usage.is_settled or usage.credits is None:
        return []
    return [
        Text(
            f"Usage is not settled yet: charges may show up to {settle_s:g} s after a run (limits.settle_s). "
            f"knouds-harness cleanup {record.folder} reads usage again, as does the next command.",
            shown=TERMINAL,
        )
    ]


def evidence_section(says: str, exchanges: Sequence[Exchange], *, is_marked: bool) -> Section:
    """Exchanges to unfold; ``is_marked`` marks the first line of each response."""
    values = {"evidence": [evidence_of(each) for each in exchanges], "is_marked": is_marked}
    blocks: list[Block] = [Text(says, shown=HTML), Figure("evidence.html.j2", values)]
    return Section("evidence", "Evidence", blocks if exchanges else [])


def cost_words(cost_credits: float, usage: UsageShown | None) -> str:
    shown = usage.credits if usage else None
    if usage is None or shown is None:
        return f"at most {counted(cost_credits, 'credit')}" if cost_credits else ""
    if not usage.is_settled:
        words = f"usage shows {counted(max(shown, 0), 'credit')} so far"
        return f"at most {counted(cost_credits, 'credit')}, {words}" if cost_credits > shown else words
    unread = max(0.0, cost_credits - shown)
    words = usage.words
    if unread and usage.unread:
        words += f", at most {unread:,.10g} more of {', '.join(usage.unread)}"
    elif unread:
        words = f"charged {counted(shown, 'credit')} by usage, {cost_credits:,.10g} by the answers"
    if usage.given_back_credits:
        words += f"; {usage.given_back_credits:,.10g} more were reserved, and given back"
    return words if cost_credits or shown or usage.given_back_credits else ""


def command_again(record: RunRecord) -> str:
    """Return the command as typed, with the seed that was drawn and without the folder of the tool."""
    words = _typed_words(record.setup.command)
    if not words:
        return ""
    words[0] = words[0].replace("\\", "/").rpartition("/")[2]
    if not any(word == "--seed" or word.startswith("--seed=") for word in words):
        at = words.index("--") if "--" in words else len(words)
        words[at:at] = ["--seed", str(record.setup.seed)]
    return shlex.join(words)


def chosen_options(typed: tuple[str, ...], *, flags: Collection[str], valued: Collection[str]) -> str:
    """Return those of these options that a command has, sorted; ``valued`` ones with their value."""
    chosen = []
    words = iter(_typed_words(typed))
    for word in words:
        option, _, value = word.partition("=")
        if option in flags:
            chosen.append(option)
        elif option in valued:
            chosen.append(f"{option} {value or next(words, '')}")
    return " ".join(sorted(chosen))


def _typed_words(typed: tuple[str, ...]) -> list[str]:
    """Split a recorded command into words: it is kept as words, or as one line for a shell."""
    try:
        return shlex.split(typed[0]) if len(typed) == 1 else list(typed)
    except ValueError:
        return list(typed)
