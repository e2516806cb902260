"""``report.html``: self-contained, safe whatever the server sent, and accessible."""

import re
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from rendering import Page
from run_records import broken, empty, exchange, finding, healthy, interrupted, start

import knouds_harness.reporting.html as module
from knouds_harness.reporting.check.report import check_report
from knouds_harness.reporting.html import html
from knouds_harness.runs.record import read_run

STYLE = (Path(module.__file__).parent / "templates" / "report.css").read_text(encoding="utf-8")


def html_of(record):
    return html(check_report(record))


@pytest.fixture(
    params=[healthy, broken, interrupted, empty], ids=lambda write: write.__name__, scope="module"
)
def page(request, rendered):
    return Page(rendered(request.param).html.read_text(encoding="utf-8"))


def test_page_loads_nothing(page):
    assert [tag for tag, _ in page.elements if tag in {"link", "img", "iframe", "object", "embed"}] == []
    assert [attributes for _, attributes in page.elements if "src" in attributes] == []
    assert not re.search(r"url\(|@import", STYLE)
    assert all(attributes["href"].startswith("#") for attributes in page.all("a"))


def test_every_link_leads_somewhere(page):
    ids = Counter(attributes["id"] for _, attributes in page.elements if "id" in attributes)

    assert {id_ for id_, count in ids.items() if count > 1} == set()
    assert {attributes["href"].removeprefix("#") for attributes in page.all("a")} <= set(ids)


def test_page_is_accessible(page):
    """Landmarks and one title, headings that skip no level, scopes of headers, and labels of controls."""
    tags = Counter(tag for tag, _ in page.elements)
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    labelled = {attributes["for"] for attributes in page.all("label")}

    assert (tags["header"], tags["nav"], tags["main"], tags["footer"], tags["h1"]) == (1, 1, 1, 1, 1)
    assert page.all("html") == [{"lang": "en"}]
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert all("scope" in attributes for attributes in page.all("th"))
    assert {attributes["id"] for attributes in page.all("input", "select")} == labelled


def test_controls_that_need_a_script_are_hidden_without_one(page):
    assert all("hidden" in attributes for _, attributes in page.elements if "data-needs-script" in attributes)
    assert all("data-needs-script" in attributes for attributes in page.all("button"))


def test_content_policy_allows_only_the_own_script(page):
    """Even an error in the escaping could not run or load anything."""
    (policy,) = [attributes["content"] for attributes in page.all("meta") if "http-equiv" in attributes]

    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-")
    assert len(page.all("script")) == 1


def test_page_with_many_findings_and_large_bodies_is_small(tmp_path):
    with start(tmp_path) as writer:
        for number in range(1000):
            shown = exchange(number, "getWhoami", body=["x" * 1000] * 1000 if number < 50 else {})
            if number < 50:
                writer.add_exchange(shown)
            writer.add_finding(finding(shown, "whoami.user-object", where=f"/{number}"))
        writer.finish("broken", 1)

    assert len(html_of(read_run(writer.folder))) < 6_000_000


def test_findings_of_one_check_and_verdict_are_one_row(record_of):
    """With their count; the first is shown, the others are folded up and keep their anchors."""
    record = record_of(broken)
    alike = [replace(record.findings[0], where=f"/{each}", fingerprint=f"{each:012}") for each in range(84)]

    page = html_of(replace(record, findings=tuple(alike)))

    before, _, folded = page.partition('<details class="more">')
    assert 'id="f-000000000000"' in before
    assert f"83 more findings of <code>{alike[0].check}</code>" in folded
    assert 'id="f-000000000083"' in folded.partition("</article>")[0]


def test_script_is_in_the_page_unchanged(record_of):
    script = "sh -eu <<'END'\ncurl one\ncurl two\nEND"
    record = record_of(broken)
    steps = tuple(record.exchange_by_id)[:2]
    one = replace(record.findings[0], steps=steps, script=script)

    page = Page(html_of(replace(record, findings=(one,))))

    assert script in page.text
    told = [row for row in page.rows if row[-1] in steps]
    assert [(number, request[:15], step) for number, request, _, step in told] == [
        ("1", "GET /api/whoami", steps[0]),
        ("2", "GET /api/whoami", steps[1]),
    ]


def variables(css):
    return dict(re.findall(r"--([\w-]+): (#\w+)", css))


LIGHT = variables(STYLE.partition("@media")[0])
DARK = variables(STYLE.partition("@media screen and (prefers-color-scheme: dark)")[2].partition("@media")[0])
PAIRS = [
    *((text, ground) for text in ("text", "quiet", "link") for ground in ("page", "panel")),
    *(
        (tone, ground)
        for tone in ("good", "bad", "warn", "note")
        for ground in ("page", "panel", f"{tone}-fill")
    ),
    *(("quiet", f"{tone}-fill") for tone in ("good", "bad", "warn", "note")),
    *(("text", f"{tone}-fill") for tone in ("good", "bad", "warn", "note", "plain")),
    ("on-wrong", "wrong"),
    ("bad", "mark"),
]


def luminance(colour):
    digits = colour[1:] if len(colour) == 7 else "".join(digit * 2 for digit in colour[1:])
    parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize(("text", "ground"), PAIRS, ids="-on-".join)
def test_contrast_is_enough(scheme, text, ground):
    """Text has a contrast of at least 4.5 to 1 (WCAG 2.2, AA)."""
    dark, light = sorted((luminance(scheme[text]), luminance(scheme[ground])))

    assert (light + 0.05) / (dark + 0.05) >= 4.5
