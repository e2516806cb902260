"""Both packages are written in plain English, without phrases that readers have to read twice."""

import re
from pathlib import Path

SOURCES = Path(__file__).parents[2] / "src"
STUMBLING = re.compile(
    r"(?<!here )\b(?:is|are) no (?!longer|such|need|more)|for want of|\bwhoever\b|\bnobody\b|otherwise than",
    re.IGNORECASE,
)
ALLOWED = ("``~nobody``", "The body is no JSON.")  # a user of Unix; what recordings hold


def test_source_speaks_plain_english():
    found = [
        f"{path.relative_to(SOURCES)}:{number}: {phrase[0]!r} in {line.strip()}"
        for path in sorted(SOURCES.rglob("*.py"))
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if (phrase := STUMBLING.search(line)) and not any(each in line for each in ALLOWED)
    ]

    assert found == []
