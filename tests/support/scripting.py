"""Running the script of a finding in bash, and whether what it prints shows what the finding says."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from knouds_harness.contract.document import shipped_document
from knouds_harness.contract.shapes import ShapeJudge
from knouds_harness.exchange.evidence import Exchange
from knouds_harness.exchange.reproduction.sequence import parts_of
from knouds_harness.judging.checks.executions import MOST_SUBMIT_MS
from knouds_harness.judging.checks.rate_limits import seconds_left
from knouds_harness.judging.claim import Claim
from knouds_harness.judging.context import Context
from knouds_harness.judging.engine import claims_of
from knouds_harness.runs.findings import Finding
from knouds_harness.runs.record import RunRecord
from knouds_harness.targets.builtin import target_environment

TIMEOUT_S = 300
_STEP = re.compile(r"(?ms)^--- (\d+)( to \d+)?\. [^\n]*\n(.*?)(?=^--- |\Z)")
_SECONDS = re.compile(r"\n\([\d.]+ s\)\n*\Z")
_NEW_EACH_TIME = re.compile(r"id|createdAt|updatedAt|ms|durationMs|date|content-length")
_NAMES = re.compile(r"requestId|executionId|pollUrl|x-ratelimit-reset")
_LONGEST_WINDOW_S = 62


@dataclass(frozen=True, kw_only=True)
class Printed:
    """What a script printed.

    Attributes:
        answers: By the number of the step, from 1 on.
        statuses: Of what went out in a loop.
        trouble: What it said where it did not come to its end.
    """

    answers: dict[int, Exchange]
    statuses: tuple[str, ...]
    trouble: str


def printed_by(finding: Finding, record: RunRecord, *faults: str) -> Printed:
    """Run what a finding says to paste into a shell, against a fresh sandbox with these faults."""
    steps = steps_of(finding, record)
    with target_environment("sandbox", seed=record.setup.seed, faults=faults) as variables:
        process = subprocess.run(
            ["bash", "-c", finding.reproduction],  # noqa: S607 - whichever bash there is
            env={"PATH": os.environ["PATH"], **variables},
            capture_output=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    output = process.stdout.decode("utf-8", "surrogateescape")
    if len(steps) == 1:
        output = f"--- 1. \n{output}"
    answers: dict[int, Exchange] = {}
    statuses: list[str] = []
    for number, to, text in _STEP.findall(output):
        if to:
            statuses += text.split()
        elif text.startswith("HTTP/"):
            answers[int(number)] = _answer(text, steps[int(number) - 1])
    return Printed(
        answers=answers,
        statuses=tuple(statuses),
        trouble=process.stderr.decode("utf-8", "replace") if process.returncode else "",
    )


def steps_of(finding: Finding, record: RunRecord) -> list[Exchange]:
    """What the script of a finding sends."""
    ids = finding.steps if finding.script.startswith("sh ") else (finding.exchange_id or "",)
    steps = [record.exchange_by_id[each] for each in ids]
    return [step for step in steps if step.url.startswith(record.setup.target.base_url)]


def is_shown(finding: Finding, record: RunRecord, *, broken: Printed, healthy: Sequence[Printed]) -> bool:
    """Whether the broken server's answers show what the finding says, and no healthy one's do.

    A check that needs one answer alone judges all of them again. Of other checks, the answer that was judged
    has to have the finding's status and code, and something in the answers has to be as in the run at the
    broken server and otherwise at every healthy one: these differ from it in the fault alone, and from each
    other in what is new each time.
    """
    steps = steps_of(finding, record)
    here, *there = (list(_judged_answers(finding, steps, each)) for each in (broken, *healthy))
    if here and _claims_of(finding, here[0]) is not None:
        is_sound = all(len(each) > 1 or not _claimed(finding, each, anywhere=True) for each in there)
        return is_sound and all(_claimed(finding, here) > _claimed(finding, each) for each in there)
    if here and all((each.status, each.code) != (finding.status, finding.code) for each in here):
        return False
    run = Printed(answers=dict(enumerate(steps, 1)), statuses=(), trouble="")
    in_run, one, *others = (_features(steps, each, finding.exchange_id) for each in (run, broken, *healthy))
    is_added = any(each in in_run for each in one.difference(*others))
    known = {each[2] for each in in_run if len(each) > 2}
    is_missing = any(
        _is_place(each) or (len(each) == 3 and each[2] in known)  # what the run has shown elsewhere
        for each in set.intersection(*others) - one - in_run
    )
    in_loop = {each.statuses for each in healthy}
    return is_added or is_missing or (bool(broken.statuses) and broken.statuses not in in_loop)


def _judged_answers(finding: Finding, steps: Sequence[Exchange], printed: Printed) -> Iterator[Exchange]:
    """The answer that the finding is about; of twins that went out at once, whoever's it became."""
    judged = next((step for step in steps if step.id == finding.exchange_id), None)
    if judged is None:
        return
    for part in parts_of(steps, apart=finding.exchange_id):
        if judged in part.steps:
            for number, step in enumerate(part.steps, part.first):
                is_alike = (step.url, step.request.body) == (judged.url, judged.request.body)
                if (step is judged or (part.is_at_once and is_alike)) and number in printed.answers:
                    yield printed.answers[number]


def _claimed(finding: Finding, answers: Sequence[Exchange], *, anywhere: bool = False) -> int:
    """In how many of the answers a check finds what the finding says."""
    return sum(
        any(
            not claim.holds and claim.fact == finding.fact and (anywhere or claim.where == finding.where)
            for claim in _claims_of(finding, each) or ()
        )
        for each in answers
    )


def _claims_of(finding: Finding, exchange: Exchange) -> list[Claim] | None:
    """What the finding's check claims of an answer; None where it compares answers."""
    document = shipped_document()
    return claims_of(finding.check, exchange, Context(document=document, shapes=ShapeJudge(document)))


def _answer(text: str, asked: Exchange) -> Exchange:
    head, _, body = text.replace("\r\n", "\n").partition("\n\n")
    status_line, *headers = head.split("\n")
    return Exchange(
        id=asked.id,
        request=asked.request,
        url=asked.url,
        sent_headers=asked.sent_headers,
        status=int(status_line.split()[1]),
        headers=tuple((name, value) for name, _, value in (line.partition(": ") for line in headers)),
        body=_SECONDS.sub("", body).encode("utf-8", "surrogateescape"),
        started_at=asked.started_at,
        elapsed_ms=1000 * float((re.findall(r"\n\(([\d.]+) s\)", body) or ["0"])[-1]),
    )


def _features(steps: Sequence[Exchange], printed: Printed, apart: str | None) -> set[tuple[object, ...]]:
    """What is in the answers: of each step, or of all that went out at once together; and how often.

    A name that is new each time is known by when it came first.
    """
    first_by_number = {
        number: part.first
        for part in parts_of(steps, apart=apart)
        for number in range(part.first, part.first + len(part.steps))
        if part.is_at_once
    }
    counts: Counter[tuple[object, ...]] = Counter()
    names: dict[object, str] = {}
    for number, each in printed.answers.items():
        for place, value in _in_answer(each):
            is_name = _NAMES.fullmatch(place.rpartition("/")[2])
            known = names.setdefault(value, f"name {len(names)}") if is_name else value
            counts[first_by_number.get(number, number), place, known] += 1
    counted = {(*feature, count) for feature, count in counts.items()}
    return counted | counts.keys() | {feature[:2] for feature in counts}


def _is_place(feature: tuple[object, ...]) -> bool:
    return len(feature) == 2


def _in_answer(exchange: Exchange) -> Iterator[tuple[str, object]]:
    yield "status", exchange.status
    if dict(exchange.request.query).get("async"):
        yield "is slow", exchange.elapsed_ms > MOST_SUBMIT_MS
    left_s = seconds_left(exchange, advanced_s=0)
    yield "ends late", left_s is not None and left_s > _LONGEST_WINDOW_S
    for name, value in exchange.headers:
        if not _NEW_EACH_TIME.fullmatch(name.lower()):
            yield name.lower(), value
    yield from _values(exchange.json_or_none(), "")


def _values(value: object, place: str) -> Iterator[tuple[str, object]]:
    if isinstance(value, dict):
        for name, each in value.items():
            if not _NEW_EACH_TIME.fullmatch(name):
                yield from _values(each, f"{place}/{name}")
    elif isinstance(value, list):
        yield f"{place}/length", len(value)
        for index, each in enumerate(value):
            yield from _values(each, f"{place}/*")
            yield from _values(each, f"{place}/{index}")
    else:
        yield place, json.dumps(value)
