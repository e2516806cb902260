"""A report, built once and rendered in three forms."""

import pytest
from rendering import printed

from knouds_harness.reporting.html import html
from knouds_harness.reporting.markdown import markdown
from knouds_harness.reporting.report import (
    HTML,
    Code,
    Column,
    Folded,
    Heading,
    Headline,
    Items,
    Pairs,
    Report,
    Section,
    Table,
    Text,
    Toned,
    badge,
    numbers,
)


def report(*blocks):
    return Report(
        headline=Headline(tone="bad", title="Broken", detail="One of two."),
        file="report.html",
        sections=[Section("part", "A part", blocks)],
    )


TABLE = Table(
    "Fruit",
    (Column("Fruit", is_name=True), *numbers("Count"), Column("State", rank=1)),
    [(Code("fig"), "2", badge("ripe", "good")), ("all", "12", Toned("late", "bad"))],
    strong=[1],
)


@pytest.mark.parametrize(
    "block", [Text("fig", shown=HTML), Pairs([("Fruit", "fig"), ("Nut", "")]), Folded("more", [Text("fig")])]
)
def test_block_for_the_page_is_only_on_the_page(block):
    it = report(block)

    assert "fig" in html(it)
    assert "fig" not in markdown(it) + printed(it)
    assert "A part" not in markdown(it)
    assert "Nut" not in html(it)


def test_table_has_the_same_cells_in_every_form():
    it = report(Heading("Fruit"), TABLE)

    assert "| fruit | count | state |\n| --- | ---: | --- |\n| `fig` | 2 | ✅ ripe |" in markdown(it)
    assert "| **all** | 12 | late |" in markdown(it)
    assert "  fruit  count  state\n  fig        2  ripe\n  all       12  late" in printed(it)
    assert '<tr class="strong"><th scope="row">all</th><td class="number" data-label="Count">12</td>' in html(
        it
    )


def test_narrow_terminal_drops_columns_by_their_rank():
    assert "  fruit  count\n" in printed(report(TABLE), width=16, is_terminal=True)


def test_items_left_out_are_counted():
    it = report(Items(["a", "b", "c"], most={"terminal": 1, "markdown": 2}))

    assert "… and 2 more in report.html" in printed(it)
    assert "- … and 1 more in `report.html`" in markdown(it)
    assert "<li>c</li>" in html(it)
