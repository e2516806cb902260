"""``report.md``, for the comment of a pull request."""

import re
from dataclasses import replace
from textwrap import indent

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from run_records import broken

from knouds_harness.reporting.check.evidence import Excerpt
from knouds_harness.reporting.check.report import check_report
from knouds_harness.reporting.markdown import markdown
from knouds_harness.runs.findings import Compared

MOST_IN_A_COMMENT = 65_536
KINDS = ("verdict", "source", "curl", "script", "picture")
"""Members of a finding that are words of ours, or stand in blocks of code."""


def markdown_of(record):
    return markdown(check_report(record))


@pytest.fixture(scope="module")
def broken_record(record_of):
    return record_of(broken)


def test_findings_have_their_curl_line(broken_record):
    text = markdown_of(broken_record)

    assert (
        '`runWorkflow` as `full` at `/cost`, 41 times: expected `a number of at least 0`, observed `"12"`'
        in text
    )
    line = "curl -sS -i --noproxy '*' -X POST https://staging.example.com/api/workflows/portrait/run"
    assert f"  ```sh\n  {line}" in text


def test_picture_and_script_are_kept_as_they_are(broken_record):
    """In their own code blocks, so that bars are aligned and the script can be run."""
    picture = "   0.0 ms |==  | updateWorkflow\n   1.0 ms |  ==| getWorkflow"
    script = "sh -eu <<'END'\ncurl one\ncurl two\nEND"
    steps = tuple(broken_record.exchange_by_id)[:2]
    one = replace(broken_record.findings[0], steps=steps, script=script, picture=picture)

    text = markdown_of(replace(broken_record, findings=(one,)))

    assert f"  ```text\n{indent(picture, '  ')}\n  ```\n" in text
    assert f"\n  ```sh\n{indent(script, '  ')}\n  ```\n" in text
    assert re.search("\n  1 `GET /api/whoami.*` `404 NOT_FOUND` · 2 `GET /api/whoami.*`\n", text)


def test_long_script_is_named_and_a_long_request_cut(broken_record):
    one = replace(broken_record.findings[0], curl=f"curl {'d' * 5_000}")
    script = replace(one, steps=("x00001", "x00002"), script="c" * 5_000)

    of_request, of_script = (markdown_of(replace(broken_record, findings=(each,))) for each in (one, script))

    assert f"\n  sh reproduce-{one.fingerprint}.sh\n" in of_script
    assert "c" * 100 not in of_script
    assert f"# all is in exchanges.har: {one.exchange_id}\n  curl dddd" in of_request
    assert "d" * 601 not in of_request


def test_finding_shows_what_it_was_compared_with(broken_record):
    """Both values, each at its place."""
    other, *_ = broken_record.exchange_by_id
    part = Compared(exchange_id=other, where="/user")
    one = next(each for each in broken_record.findings if each.where == "/cost")
    one = replace(one, compared=(part,))

    text = markdown_of(replace(broken_record, findings=(one,)))

    assert f"\n  Response to {one.exchange_id}, /cost:\n" in text
    assert f"\n  Compared with {other}, /user:\n" in text


def test_finding_shows_its_answer(broken_record):
    """The status, the header at fault, and the body around the place at fault."""
    text = markdown_of(broken_record)

    assert "  ```text\n  404 NOT_FOUND\n  {\n" in text
    of_cost, of_header = (
        each.partition("```text\n")[2] for each in text.split("Reproduce ")[1:] if "/run" in each
    )
    assert of_cost.startswith('  200\n  {\n    "success": true,')
    assert '    "cost": "12",\n' in of_cost
    assert of_header.startswith("  200\n  x-ratelimit-limit: many\n  {\n")


def test_long_findings_of_many_facts_fit_into_a_comment(broken_record, monkeypatch):
    """Each with the longest script that is shown whole, and the longest excerpt of an answer."""
    monkeypatch.setattr(Excerpt, "text", "a" * 500)
    one, long = broken_record.findings[0], "x" * 5000
    one = replace(one, observed=long, expected=long, where=long, curl="c" * 1_200)
    findings = tuple(
        replace(one, fact=fact, fingerprint=f"{fact}{number}")
        for fact in list(broken_record.setup.facts)[:10]
        for number in range(10)
    )

    text = markdown_of(replace(broken_record, findings=findings))

    assert all(f"`{each.fact}`" in text for each in findings)
    assert "… and 80 more findings in `report.html`." in text
    assert text.count("c" * 1_200) == 20
    assert text.count("a" * 500) == 20
    assert len(text) < MOST_IN_A_COMMENT


@given(words=st.text(alphabet=st.sampled_from("`@<>*_[]|\\ \nab#"), min_size=1))
@example(words="`")
@example(words="@everyone")
@example(words="``` </details><img src=x>")
def test_text_of_a_server_stays_in_code(broken_record, words):
    one = replace(broken_record.findings[0], observed=words, expected=words, where=words, persona=words)

    text = markdown_of(replace(broken_record, findings=(one,)))

    line = next(line for line in text.splitlines() if line.startswith("- `"))
    outside = re.sub(r"(?<!`)(`+)(?!`).+?(?<!`)\1(?!`)", "", line)
    assert not set(outside) & set("`@<>*_[]|\\#")


@pytest.mark.parametrize(
    "words", ["a ` b\n\n# Contract kept\n\n<img src=x>", "# Contract kept\n", "`\n# Contract kept\n`"]
)
def test_text_of_a_record_begins_no_heading_and_no_tag(broken_record, words):
    """A run folder may come from anywhere, so none of its words can be trusted."""
    one = broken_record.findings[0]
    texts = {name: words for name, value in vars(one).items() if isinstance(value, str) and name not in KINDS}
    record = replace(broken_record, findings=(replace(one, **texts),), note=words, gaps=(words,))

    text = markdown_of(record)

    assert not re.search(r"^\s*>?\s*#+ Contract kept", text, re.MULTILINE)
    assert "<img" not in re.sub(r"(`{3,}).*?\1|(?<!`)(`+)(?!`).+?(?<!`)\2(?!`)", "", text, flags=re.DOTALL)
