"""The document model of reports: a headline, then sections of text, lists, tables, findings and figures.

``check``, ``load`` and ``comparison`` each build one; ``html``, ``markdown`` and ``terminal``
each show any of them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, ClassVar, Final, Literal, TypeVar

from knouds_harness.reporting.check.evidence import EvidenceView
from knouds_harness.runs.findings import Finding

Tone = Literal["good", "bad", "warn", "note", "plain"]
Medium = Literal["html", "markdown", "terminal"]
EVERYWHERE: Final[frozenset[Medium]] = frozenset(("html", "markdown", "terminal"))
ON_PAGES: Final[frozenset[Medium]] = frozenset(("html", "markdown"))
IN_TEXT: Final[frozenset[Medium]] = frozenset(("markdown", "terminal"))
HTML: Final[frozenset[Medium]] = frozenset(("html",))
MARKDOWN: Final[frozenset[Medium]] = frozenset(("markdown",))
TERMINAL: Final[frozenset[Medium]] = frozenset(("terminal",))


@dataclass(frozen=True, kw_only=True)
class Headline:
    """The verdict; ``good`` only for a run that was completed and failed nothing."""

    tone: Tone
    title: str
    detail: str


@dataclass(frozen=True)
class Code:
    """Text from a server, a profile or a file, shown as it is."""

    text: str


@dataclass(frozen=True)
class Toned:
    """Text with a tone, such as good or bad; with ``is_badge``, a verdict in a coloured field."""

    text: str
    tone: Tone
    is_badge: bool = False


@dataclass(frozen=True)
class Link:
    """A link to a place on the page, or to a file beside it; plain text outside HTML."""

    text: str
    to: str
    tone: Tone | None = None


@dataclass(frozen=True)
class Figure:
    template: str
    values: Mapping[str, object] = field(default_factory=dict)
    shown: ClassVar[frozenset[Medium]] = HTML


def bar(share: float, tone: Tone, bound: float | None = None) -> Figure:
    values = {"share": min(max(share, 0.0), 1.0), "tone": tone, "bound": bound}
    return Figure("bar.html.j2", values=values)


Piece = str | Code | Toned | Link | Figure
Words = Piece | tuple[Piece, ...]
"""One piece or several; in a ``str``, which is text of our own, backticks mark code."""


def badge(text: str, tone: Tone) -> Toned:
    return Toned(text, tone, is_badge=True)


@dataclass(frozen=True)
class Text:
    words: Words
    _: KW_ONLY
    tone: Tone = "plain"
    is_quiet: bool = False
    shown: frozenset[Medium] = EVERYWHERE


@dataclass(frozen=True)
class Items:
    """A list.

    Attributes:
        label: Begins each line in a terminal, where sections have no titles.
        is_whole: A terminal wraps long lines instead of cutting them.
        most: How many are shown, by medium; all if left out.
    """

    lines: Sequence[Words]
    _: KW_ONLY
    label: str = ""
    is_whole: bool = False
    tone: Tone = "plain"
    most: Mapping[Medium, int] = field(default_factory=dict)
    shown: frozenset[Medium] = EVERYWHERE


@dataclass(frozen=True)
class Column:
    """A column of a table; a narrow terminal drops the highest rank first, 0 never."""

    heading: str
    _: KW_ONLY
    is_number: bool = False
    is_name: bool = False
    rank: int = 0
    shown: frozenset[Medium] = EVERYWHERE


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        most: How many rows are shown, by medium; all if left out.
        more: The noun for further rows in the line that counts them.
    """

    label: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Words]]
    _: KW_ONLY
    most: Mapping[Medium, int] = field(default_factory=dict)
    more: str = ""
    strong: Collection[int] = ()
    shown: frozenset[Medium] = EVERYWHERE

    def columns_on(self, medium: Medium) -> list[Column]:
        return [each for each in self.columns if medium in each.shown]

    def rows_on(self, medium: Medium) -> list[list[Words]]:
        """The cells that a medium shows; those that the end of a row lacks are empty."""
        places = [place for place, column in enumerate(self.columns) if medium in column.shown]
        return [
            [row[place] if place < len(row) else "" for place in places]
            for row in self.rows[: self.most.get(medium)]
        ]


T = TypeVar("T")
Columns = Sequence[tuple[Column, Callable[[T], Words]]]
"""Columns of a table, each with what it shows of the subject of a row."""


def table_of(label: str, subjects: Iterable[T], columns: Columns[T], **options: Any) -> Table:  # noqa: ANN401
    """Make a table with a row for each subject; the options are those of ``Table``."""
    rows = [[cell(each) for _, cell in columns] for each in subjects]
    return Table(label, [column for column, _ in columns], rows, **options)


@dataclass(frozen=True, kw_only=True)
class FindingGroup:
    """Findings about one thing, mostly a fact."""

    name: str
    label: str
    tone: Tone
    title: str
    about: Sequence[Words] = ()
    findings: Sequence[Finding]

    @property
    def rows(self) -> Collection[Sequence[Finding]]:
        """The findings grouped by check and verdict, in the order of the first of each group."""
        alike: dict[tuple[str, str], list[Finding]] = {}
        for each in self.findings:
            alike.setdefault((each.check, each.verdict), []).append(each)
        return alike.values()


@dataclass(frozen=True, kw_only=True)
class Findings:
    """Findings in groups, the worst first.

    Attributes:
        evidence: Exchanges by fingerprint, each with the place marked that its finding is about.
        unfolded: How many groups have their first finding shown unfolded.
        most: How many are shown, by medium: groups in a terminal, findings in Markdown.
    """

    groups: Sequence[FindingGroup]
    label: str = ""
    sentences: Mapping[str, str] = field(default_factory=dict)
    evidence: Mapping[str, EvidenceView] = field(default_factory=dict)
    unfolded: int = 0
    most: Mapping[Medium, int] = field(default_factory=dict)
    shown: frozenset[Medium] = EVERYWHERE

    @property
    def anchored(self) -> Collection[str]:
        """Fingerprints of the first finding that shows an exchange: links to the exchange lead there."""
        first_last = reversed(list(self.evidence.items()))
        return {view.id: fingerprint for fingerprint, view in first_last}.values()


@dataclass(frozen=True)
class Heading:
    text: str
    _: KW_ONLY
    shown: frozenset[Medium] = ON_PAGES


@dataclass(frozen=True)
class Folded:
    """Blocks that HTML shows on demand."""

    summary: str
    blocks: Sequence[Block]
    shown: ClassVar[frozenset[Medium]] = HTML


@dataclass(frozen=True)
class Pairs:
    """Names and values; pairs with an empty value are left out."""

    pairs: Sequence[tuple[str, Words]]
    shown: ClassVar[frozenset[Medium]] = HTML


Block = Text | Items | Table | Findings | Figure | Heading | Folded | Pairs


@dataclass(frozen=True)
class Section:
    id: str
    title: str
    blocks: Sequence[Block]
    _: KW_ONLY
    name: str = ""

    def on(self, medium: Medium) -> list[Block]:
        return [block for block in self.blocks if medium in block.shown]


@dataclass(frozen=True, kw_only=True)
class Report:
    """A whole report.

    Attributes:
        file: The page that shows everything, named by media that show less.
        about: When, where and how long, in a line.
        lead: The question that the run answers; HTML only.
        tiles: Figures of the first screen: number, name, status of the facts it leads to (or empty), tone.
    """

    headline: Headline
    file: str
    subject: Words = ""
    about: Words = ""
    notes: Sequence[Words] = ()
    lead: str = ""
    sections: Sequence[Section] = ()
    tiles: Iterable[tuple[int | str, str, str, Tone]] = ()
    origin: str = ""
    charts: object = None
    scripts: Sequence[str] = ()

    def on(self, medium: Medium) -> list[Section]:
        return [section for section in self.sections if section.on(medium)]


def numbers(*headings: str) -> tuple[Column, ...]:
    return tuple(Column(heading, is_number=True) for heading in headings)


def pieces_of(words: Words) -> tuple[Piece, ...]:
    return words if isinstance(words, tuple) else (words,)


def plain(words: Words) -> str:
    return "".join(each if isinstance(each, str) else getattr(each, "text", "") for each in pieces_of(words))
