"""Renders a report in GitHub's Markdown, for a comment on a pull request or the summary page of a job.

Text from a server stands in code spans and blocks only, where it neither formats anything nor mentions users.
"""

import re
from collections.abc import Iterator, Sequence
from textwrap import indent
from typing import Final

from knouds_harness.printable import counted, printable
from knouds_harness.reporting.check.evidence import EvidenceView, Step
from knouds_harness.reporting.report import (
    Block,
    Code,
    Findings,
    Heading,
    Items,
    Piece,
    Report,
    Table,
    Text,
    Toned,
    Words,
    pieces_of,
    plain,
)
from knouds_harness.runs.findings import Finding, script_file

_SIGN_BY_TONE: Final = {"good": "✅", "bad": "❌", "warn": "⚠️", "note": "", "plain": ""}
_LONGEST_VALUE: Final = 300
_MOST_OF_ONE_FACT: Final = 2
_LONGEST_CURL: Final = 1_200
_LONGEST_SCRIPT: Final = 3_000
_LEFT_OF_A_LONG_CURL: Final = 600
_MOST_STEPS: Final = 12
_MOST_OF_FINDINGS: Final = 58_000


def markdown(report: Report) -> str:
    """Render a report, with far fewer than the 65,536 characters that a comment may have."""
    headline = report.headline
    subject = f": {_words(report.subject)}" if report.subject else ""
    blocks = [f"## {_SIGN_BY_TONE[headline.tone]} {headline.title}{subject}", escaped(headline.detail)]
    blocks += ["\n".join(f"> {escaped(line)}" for line in plain(note).splitlines()) for note in report.notes]
    for section in report.on("markdown"):
        if section.title:
            blocks.append(f"### {escaped(section.title)}")
        for block in section.on("markdown"):
            blocks += _block(block, report.file)
    if report.about or report.origin:
        evidence = f" Made by {escaped(report.origin)}." if report.origin else ""
        blocks.append(f"<sub>{_words(report.about)}.{evidence}</sub>")
    return printable("\n\n".join(blocks) + "\n")


def _block(block: Block, file: str) -> Iterator[str]:
    if isinstance(block, Text):
        yield _words(block.words)
    elif isinstance(block, Heading):
        yield f"#### {escaped(block.text)}"
    elif isinstance(block, Items):
        most = block.most.get("markdown", len(block.lines))
        yield "\n".join(
            [*(f"- {_words(line)}" for line in block.lines[:most]), *_more(len(block.lines) - most, file)]
        )
    elif isinstance(block, Table):
        yield _table(block)
        yield from _more(len(block.rows) - block.most.get("markdown", len(block.rows)), file)
    elif isinstance(block, Findings):
        yield from _findings(block, file)


def _more(count: int, file: str) -> list[str]:
    return [f"- … and {count:,} more in `{file}`"] if count > 0 else []


def _table(table: Table) -> str:
    columns = table.columns_on("markdown")
    lines = [
        [column.heading.lower() for column in columns],
        ["---:" if column.is_number else "---" for column in columns],
    ]
    for number, row in enumerate(table.rows_on("markdown")):
        is_strong = number in table.strong
        cells = zip(columns, row, strict=True)
        lines.append([_cell(words, is_strong=is_strong and column.is_name) for column, words in cells])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _cell(words: Words, *, is_strong: bool) -> str:
    text = _words(words, in_cell=True).replace("\n", " ")
    return f"**{text}**" if is_strong and text else text


def _findings(findings: Findings, file: str) -> Iterator[str]:
    """Yield a few findings of each fact rather than many of one."""
    total = sum(len(group.findings) for group in findings.groups)
    left = findings.most.get("markdown", total)
    shown_in_all = size = 0
    for group in findings.groups:
        shown = group.findings[: min(left - shown_in_all, _MOST_OF_ONE_FACT)]
        texts = [_finding(each, findings.evidence.get(each.fingerprint)) for each in shown]
        size += sum(map(len, texts))
        if size > _MOST_OF_FINDINGS:
            break
        if shown:
            title = f" · {escaped(group.title)}" if group.title else ""
            yield f"**{group.label}** · {code_span(group.name)}{title}"
        yield from texts
        shown_in_all += len(shown)
    if total > shown_in_all:
        yield f"… and {counted(total - shown_in_all, 'more finding')} in `{file}`."


def _finding(finding: Finding, view: EvidenceView | None) -> str:
    place = f" at {code_span(finding.where)}" if finding.where else ""
    times = f", {finding.count:,} times" if finding.count > 1 else ""
    waived = f" (waived: {escaped(finding.waived_by)})" if finding.waived_by else ""
    lines = finding.reproduction
    if finding.script and len(lines) > _LONGEST_SCRIPT:
        lines = f"# in the folder of the run\nsh {script_file(finding)}"
    elif not finding.script and len(lines) > _LONGEST_CURL:
        lines = f"# all is in exchanges.har: {finding.exchange_id}\n{lines[:_LEFT_OF_A_LONG_CURL]}…"
    trace = f", trace {code_span(finding.trace_id)}" if finding.trace_id else ""
    key = f"as {code_span(finding.persona)}" if finding.persona else "without a key"
    operation = code_span(finding.operation or "no operation")
    who = escaped(finding.who) if finding.is_about_delivery else f"{operation} {key}"
    excerpts = [view.excerpt, *view.compared] if view and not finding.is_about_delivery else []
    titled = [f"{each.title}\n{each.text}" if len(excerpts) > 1 else each.text for each in excerpts]
    answer = "\n\n".join(titled)
    steps = f"\n  {_steps(view.steps)}\n" if view and view.steps else ""
    return (
        f"- {who}{place}{times}{waived}: "
        f"expected {code_span(finding.expected)}, observed {code_span(finding.observed)}{trace}\n"
        f"{steps}{_fenced(finding.picture)}"
        f"  <details><summary>Reproduce {escaped(finding.fingerprint)}</summary>\n"
        f"{_fenced(lines, 'sh')}{_fenced(answer)}\n  </details>"
    )


def _steps(steps: Sequence[Step]) -> str:
    """Return in a line what was sent and what came, the first and the last ones of many."""
    told = [
        f"{number} {code_span(each.request)} {code_span(each.came)}" for number, each in enumerate(steps, 1)
    ]
    if len(told) > _MOST_STEPS:
        told[_MOST_STEPS // 2 : -_MOST_STEPS // 2] = ["…"]
    return " · ".join(told)


def _fenced(text: str, language: str = "text") -> str:
    """Return a block of code within a list; empty for no text."""
    ticks = fence(text, least=3)
    return f"\n  {ticks}{language}\n{indent(text, '  ')}\n  {ticks}\n" if text else ""


def _words(words: Words, *, in_cell: bool = False) -> str:
    return "".join(_written(piece, in_cell=in_cell) for piece in pieces_of(words))


def _written(piece: Piece, *, in_cell: bool) -> str:
    text = plain(piece)
    if isinstance(piece, Code) and text:
        return code_span(text).replace("|", "\\|") if in_cell else code_span(text)
    sign = _SIGN_BY_TONE[piece.tone] if isinstance(piece, Toned) and piece.is_badge else ""
    return f"{sign} {escaped(text)}" if sign else escaped(text)


def code_span(text: str) -> str:
    """Make a code span of any text: one line, cut, in more backticks than it contains."""
    text = printable(" ".join(text.split()))
    if len(text) > _LONGEST_VALUE:
        text = f"{text[:_LONGEST_VALUE]}…"
    if not text:
        return "(nothing)"
    ticks = fence(text, least=1)
    space = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{ticks}{space}{text}{space}{ticks}"


def fence(text: str, *, least: int) -> str:
    """Return more backticks than any run of them in the text, and no fewer than ``least``."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    return "`" * max(least, longest + 1)


def escaped(text: str) -> str:
    """Escape text of this project or the profile: complete code spans stay, nothing else becomes markup.

    It stays in one line: text of a target or a record in it, such as a name, begins no paragraph or heading.
    """
    parts = printable(" ".join(text.split("\n"))).split("`")
    is_whole = len(parts) % 2
    for index in range(0, len(parts), 2 if is_whole else 1):
        plain = re.sub(r"([\\*_\[\]|]|^\s*#)", r"\\\1", parts[index])
        parts[index] = plain.replace("<", "&lt;").replace("@", "&#64;")
    return ("`" if is_whole else r"\`").join(parts)
