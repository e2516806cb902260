"""Texts and values of every kind are read back as they were written, wherever they stand."""

import pytest

from knouds_harness.exchange.created_workflows import fresh_name
from knouds_harness.exchange.evidence import members_of, objects_in
from knouds_harness.judging.checks import workflows
from knouds_harness.suite.support.workflow_authoring import known_graph, read, write
from knouds_harness.targets.needs.keys import AUTHOR
from knouds_harness.targets.needs.workflows import OWN_WORKFLOW

pytestmark = [pytest.mark.independent, pytest.mark.needs(OWN_WORKFLOW)]

TEXTS = {
    "scripts": "Größe ŁÓDŹ ελ ру עברית عربية हिन्दी 漢字 かな 한글",  # noqa: RUF001
    "beyond the first plane": "😀 𝒳 𠀀 \U0010fffd",  # noqa: RUF001
    "combining": "e\u0301 o\u0308 ﬁ ² Ⅳ and é ö",
    "direction marks": "a\u200fb\u202ec\u202cd",
    "joiners": "👩\u200d👩\u200d👧 soft\u00adhyphen zero\u200bwidth no\u00a0break",
    "white space": "two  spaces, a tab\there, a line\nand more\r\nend",
    "markup": "<b>bold</b> &amp; &lt; <!-- c --> [link](x) *star* `code`",
    "quotes": "it's \"said\" \\ back\\n '' -- ; /* c */",
    "templates": "{x} %s %(x)s $1 ${x} #{x} <%= x %> a%20b a+b ?q=1&r=2",
    "a number": "00123",
    "a number with an exponent": "1e5",
    "null": "null",
    "true": "true",
    "a date": "2026-01-01",
    "long": "long text" * 400,
}
NUMBERS = {
    "harnessMost": 9007199254740991,
    "harnessLeast": -9007199254740991,
    "harnessThird": 0.1,
    "harnessSum": 0.30000000000000004,
    "harnessSmall": 1e-7,
    "harnessLarge": 1.7976931348623157e308,
    "harnessMinus": -1,
}
NAMES = {
    name: {name: [[], {}, [None]]}
    for name in (
        "harness.dot",
        "harness/slash",
        "harness key",
        "$harness",
        "harness[0]",
        "harness-größe",
        "HARNESS",
    )
}
LITTLE = {"harnessNull": None, "harnessFalse": False, "harnessZero": 0, "harnessEmpty": ""}
LITTLE["harnessSigns"] = '<b>Tom & Ann\'s "é"</b>'
MARK = "harnessMark"


def with_data(node, values):
    return {**node, "data": {**members_of(node.get("data")), **values}}


def with_text(tester, text):
    """A workflow that holds a text in every place that takes one; its name holds no line breaks."""
    graph = known_graph(tester)
    return {
        **graph,
        "name": f"{fresh_name('Text')} {' '.join(text.split())[:40]}",
        "description": text,
        "tags": ["first", text],
        "nodes": [with_data(node, {"harnessText": text, MARK: True}) for node in objects_in(graph["nodes"])],
        "publicPlayground": True,
    }


def as_kept(document, shown):
    """What has to be read back: nodes only where they keep what nodes of their type do not have."""
    nodes = objects_in(members_of(shown.json_or_none()).get("nodes"))
    is_kept = bool(nodes) and all(members_of(node.get("data")).get(MARK) is True for node in nodes)
    return document if is_kept else {name: value for name, value in document.items() if name != "nodes"}


def judge_reads(tester, owner, slug, document, as_written):
    """Judge a workflow by a check, and what that calls the document; other reads show what is read."""
    (check, name), exchange = as_written, read(tester, owner, slug)
    tester.judge(check, exchange, **{name: as_kept(document, exchange)})
    shown = members_of(exchange.json_or_none())
    tester.judge(workflows.summarised, tester.send("listWorkflows", owner), document=shown)
    for reader, operation_id in ((owner, "getWorkflowSchema"), (None, "getPublicWorkflowSchema")):
        tester.judge(workflows.schema_describes, read(tester, reader, slug, operation_id), expected=shown)


@pytest.mark.proves(workflows.stored, workflows.summarised, workflows.schema_describes)
@pytest.mark.parametrize("kind", TEXTS)
def test_created_text_is_read_back(tester, test_data, kind):
    """A text in a name, description, tag or node is shown by every read as it was sent to create."""
    owner = tester.need(AUTHOR)
    document = with_text(tester, TEXTS[kind])
    _, slug = test_data.create(owner, document)

    if slug is not None:  # whether a text is taken is open
        judge_reads(tester, owner, slug, document, (workflows.stored, "sent"))


@pytest.mark.in_a_row(90)
@pytest.mark.proves(workflows.updated, workflows.summarised, workflows.schema_describes)
def test_updated_text_is_read_back(tester, test_data):
    """A text is shown by every read as it was sent to update, and nothing is left of the one before."""
    owner = tester.need(AUTHOR)
    slug = test_data.make_workflow(owner)

    for text in TEXTS.values():
        document = with_text(tester, text)
        if write(tester, owner, slug, document).is_success:
            judge_reads(tester, owner, slug, document, (workflows.updated, "expected"))


@pytest.mark.proves(workflows.stored)
@pytest.mark.parametrize("values", [NUMBERS, NAMES, LITTLE], ids=["numbers", "names", "little"])
def test_values_of_nodes_are_read_back(tester, test_data, values):
    """In what nodes hold, numbers keep their digits, members their names, and nothing is too little."""
    owner, graph = tester.need(AUTHOR), known_graph(tester)
    nodes = [with_data(node, {**values, MARK: True}) for node in objects_in(graph["nodes"])]
    document = {
        **graph,
        "name": fresh_name("Values"),
        "nodes": nodes,
        "viewport": {"x": 0.1, "y": -1e-7, "zoom": 1},
    }
    _, slug = test_data.create(owner, document)

    if slug is not None:
        shown = read(tester, owner, slug)
        tester.judge(workflows.stored, shown, sent=as_kept(document, shown))
