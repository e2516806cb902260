"""Judge a finding by the responses to its replayed requests, and carry new ids into later requests."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from typing import Final

from knouds_harness.contract.document import Document
from knouds_harness.contract.operations import Source
from knouds_harness.contract.shapes import as_json
from knouds_harness.exchange.evidence import JSON, Exchange, Request
from knouds_harness.exchange.execution_status import body_of
from knouds_harness.exchange.script import parts_of
from knouds_harness.judging.checks import all_checks
from knouds_harness.judging.claim import Claim, answer
from knouds_harness.judging.context import Context
from knouds_harness.judging.drift import FACT, Gatherer, drift_finding
from knouds_harness.judging.engine import claims_of
from knouds_harness.runs.findings import Finding, Verdict, fingerprint

GIVES_NAMES: Final = ("slug", "executionId", "account")
"""Members of a response that name what was created."""


class ReplayStatus(StrEnum):
    """What the replay of a finding showed."""

    STANDS = "still stands"
    GONE = "gone"
    UNSEEN = "not seen"
    OPEN = "cannot tell"


class CannotTell(Exception):
    """Why a replay cannot tell whether a finding stands; shown to the user in the finding's line."""


def is_shown_by_suite(finding: Finding) -> bool:
    """Return whether a test of the suite shows the finding; user checks are known only to their run."""
    return bool(finding.test) and finding.check in all_checks()


def judge_again(
    finding: Finding, steps: Sequence[Exchange], answers: Sequence[Exchange], context: Context
) -> tuple[ReplayStatus, str]:
    """Return what the new responses show, if all earlier ones are as good as in the run.

    Raises:
        CannotTell: They are not, or the response says nothing about the finding.
    """
    place = next(i for i, step in enumerate(steps) if step.id == finding.exchange_id)
    before, after = steps[place], answers[place]
    at_once = {step.id for part in parts_of(steps) if part.is_at_once for step in part.steps}
    for number, (then, now) in enumerate(zip(steps, answers, strict=True), start=1):
        if then is not before and then.id not in at_once and _is_worse(now, then):
            raise CannotTell(
                f"request {number}, {then.request.operation_id or then.request.path}, was answered "
                f"{answer(now)}, but {answer(then)} in the run"
            )
    if after.status == 429 and finding.status != 429:
        raise CannotTell("the target throttles")
    if after.status is None and finding.status is not None:
        raise CannotTell(f"no response: {after.failure}")
    if finding.verdict is Verdict.ADDITIVE:
        return _drift(finding, after, context.document)
    claims = claims_of(finding.check, after, context)
    verdict = _compared(finding, before, after) if claims is None else _claimed(finding, after, claims)
    if verdict[0] is ReplayStatus.GONE and at_once:
        raise CannotTell(f"{verdict[1]}, but concurrent requests may show it next time")
    return verdict


def _drift(finding: Finding, after: Exchange, document: Document) -> tuple[ReplayStatus, str]:
    gatherer = Gatherer(document)
    gatherer.add(after)
    fact = document.facts[FACT]
    for novelty in gatherer.novelties():
        if drift_finding(novelty, fact).fingerprint == finding.fingerprint:
            return ReplayStatus.STANDS, f"observed {novelty.says}, which the document does not name"
    return ReplayStatus.GONE, f"answered {answer(after)}"


def _is_worse(now: Exchange, then: Exchange) -> bool:
    """Whether an earlier step now has no usable response, or fails although it succeeded in the run."""
    if now.status is None or now.status == 429 or now.status >= 500:
        return now.status != then.status
    return then.is_success and not now.is_success


def _claimed(finding: Finding, after: Exchange, claims: Sequence[Claim]) -> tuple[ReplayStatus, str]:
    """Decide by the check's claims: gone if there are some, and none is broken in another way."""
    about = [claim for claim in claims if claim.fact == finding.fact]
    if not about:
        raise CannotTell(f"answered {answer(after)}, about which its check says nothing")
    broken = [claim for claim in about if not claim.holds]
    for claim in broken:
        if _place(finding, claim) == finding.fingerprint:
            return ReplayStatus.STANDS, claim.difference
    if broken:
        raise CannotTell(f"it is broken in another way: {broken[0].difference}")
    if finding.where and after.status != finding.status:
        raise CannotTell(
            f"answered {answer(after)}, but {finding.status} in the run: {finding.where} is not there"
        )
    return ReplayStatus.GONE, f"answered {answer(after)}"


def _compared(finding: Finding, before: Exchange, after: Exchange) -> tuple[ReplayStatus, str]:
    """Decide by what was expected and observed, as the check itself would have to know more."""
    if finding.where.startswith("/") and after.status == before.status:
        shown = as_json(value_at(after.json_or_none(), finding.where))  # as checks write it in findings
        if shown in (finding.expected, finding.observed):
            is_same = shown == finding.observed
            return (ReplayStatus.STANDS if is_same else ReplayStatus.GONE), f"{finding.where} is {shown}"
    if finding.observed != answer(before):
        if finding.source is Source.USER:
            raise CannotTell("it is a finding of your own check")
        raise CannotTell("its check needs more than one response")
    if (after.status, after.code) == (before.status, before.code):
        return ReplayStatus.STANDS, f"answered {answer(after)}"
    if str(after.status) in re.findall(r"\b\d{3}\b", finding.expected):
        return ReplayStatus.GONE, f"answered {answer(after)}"
    raise CannotTell(f"answered {answer(after)}, which is neither what was observed nor clearly as expected")


def _place(finding: Finding, claim: Claim) -> str:
    """Return the fingerprint that the claim would have with the finding's status and code."""
    return fingerprint(
        check=finding.check,
        fact=claim.fact,
        operation=finding.operation,
        where=claim.where,
        status=finding.status,
        code=finding.code,
    )


def newly_given(before: Exchange, after: Exchange) -> dict[str, str]:
    """Map the names that a response gave in the run to those that it gives now."""
    then, now = body_of(before), body_of(after)
    return {
        then[member]: now[member]
        for member in GIVES_NAMES
        if isinstance(then.get(member), str) and isinstance(now.get(member), str)
    }


def renamed(request: Request, new_by_old: Mapping[str, str]) -> Request:
    """Replace names in the request's path, and strings in its body that equal them."""
    path, body = request.path, request.body
    for old, new in new_by_old.items():
        path = re.sub(rf"/{re.escape(old)}(?=/|$)", lambda _, new=new: f"/{new}", path)  # type: ignore[misc]
        body = body and body.replace(f'"{old}"'.encode(), f'"{new}"'.encode())
    path_values = {name: new_by_old.get(value, value) for name, value in request.path_values.items()}
    return replace(request, path=path, path_values=path_values, body=body)


def with_members_of_now(request: Request, answered: Iterable[tuple[Exchange, Exchange]]) -> Request:
    """Replace members in the request's body that repeat an earlier response by those of the new response.

    So a document that is read and sent back is the one that the target shows now, which may have been fixed.
    """
    try:
        sent = json.loads(request.body or b"")
    except (ValueError, RecursionError):
        return request
    if not isinstance(sent, dict):
        return request
    now = dict(sent)
    for before, after in answered:
        then, here = body_of(before), body_of(after)
        now |= {name: here[name] for name in sent.keys() & here.keys() if sent[name] == then.get(name)}
    return request if now == sent else replace(request, body=json.dumps(now).encode())


def value_at(document: JSON, pointer: str) -> JSON:
    """Return the value at a JSON pointer; None if there is none."""
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(document, list) and name.isdigit() and int(name) < len(document):
            document = document[int(name)]
        else:
            document = document.get(name) if isinstance(document, dict) else None
    return document
