"""The rule is held by servers that a table makes: legal ones never break it, and others always do.

Nothing here is sent. A server answers from the same table as the rule, by an interpreter of its own: it
decides by chance what the table leaves open, and in which order it looks.
"""

import random
from collections import defaultdict
from dataclasses import fields, replace
from functools import cache
from typing import Any

import pytest
from run_records import DOCUMENT, exchange

from knouds_harness.contract.operations import Source
from knouds_harness.judging.rule.allowed import allowed, why_expected
from knouds_harness.judging.rule.asked import AskedRequest, Known, KnownResource
from knouds_harness.judging.rule.reading import read
from knouds_harness.judging.rule.reasons import CAPABILITY, OF_KEYS, REASONS

SEEDS = range(20)
REQUESTS = 150
HELD = (
    "workflow:read",
    "workflow:*",
    "workflow:portrait:run",
    "model:run",
    "model:portrait:run",
    "execution:read",
    "*",
)
GOOD_BODY = {
    "createWorkflow": b'{"name": "a"}',
    "updateWorkflow": b'{"description": "b"}',
    "moveWorkflow": b'{"folderId": null}',
    "runWorkflow": b'{"inputs": {}}',
    "runModel": b'{"inputs": {}}',
}
OTHER_BODIES = (
    *(None, b"{", b"[]", b"{}", b'{"inputs": []}', b'{"description": "b"}', b'{"nodes": 7}'),
    *(b'{"folderId": "f"}', b'{"name": "\\u0000"}', b'{"inputs": {}, "x": "' + b"x" * 5000 + b'"}'),
)
ALTERED = {
    "key": ("missing", "empty", "malformed", "unknown", "altered", "bearer", "query", ""),
    "name": ("Portrait",),
    "query": ({"async": "true"}, {"limit": "many"}),
    "body": OTHER_BODIES,
    "is_json": (False,),
    "state": ("revoked", "legacy", "unapproved", None),
    "held": (None, frozenset(), *(frozenset({each}) for each in HELD)),
    "user": ("bob", None),
    "tier": ("free", "pro", "business", "custom", None),
    "role": ("admin", None),
    "funds": ("none", "exhausted", 3.0, None),
    "has_workflow": (True, None),
    "exists": (False, None),
    "is_deleted": (True,),
    "owner": ("bob", None),
    "needs_tier": ("enterprise", None),
    "fails": (True,),
    **dict.fromkeys(("is_template", "is_disabled", "has_ended"), (True, None)),
    **dict.fromkeys(("is_public", "is_polled", "is_paid"), (False, None)),
}
"""What a request and what is known of it may have in place of what is usual; None is what is not known."""
USUAL: dict[str, Any] = {
    "key": "known",
    "name": "portrait",
    "query": {},
    "is_json": True,
    "state": "active",
    "user": "ada",
    "role": "user",
    "tier": "enterprise",
    "funds": "enough",
    "has_workflow": False,
    "owner": "ada",
    "exists": True,
    "fails": False,
    "is_deleted": False,
    "needs_tier": "business",
    "is_public": True,
    "is_template": False,
    "is_polled": True,
    "is_disabled": False,
    "is_paid": True,
    "has_ended": False,
    "held": frozenset({"workflow:read", "workflow:write", "workflow:run", "model:run", "execution:read"}),
}


def request_from(chance):
    """A request to any operation, or to a path for sessions only, with some things that are not usual."""
    operation = chance.choice([*DOCUMENT.operations, None])
    has = {**USUAL, "body": GOOD_BODY.get(operation.id if operation else "")}
    has |= {
        name: chance.choice(ALTERED[name])
        for name in chance.sample(list(ALTERED), chance.choice([0, 1, 2, 3, 6]))
    }
    if operation and operation.is_public:
        has |= {"key": "missing"}
    if has["is_deleted"]:
        has |= {"exists": False}
    asked = AskedRequest(
        operation=operation,
        path_values=dict.fromkeys(operation.path_parameters if operation else (), has["name"]),
        is_session_only=operation is None and chance.random() < 0.5,
        **{each: has[each] for each in ("key", "query", "body", "is_json")},
    )
    found = KnownResource(**{each.name: has[each.name] for each in fields(KnownResource)})
    if asked.key != "known":
        return asked, Known(resource=found)
    of_sender: dict[str, Any] = {each.name: has[each.name] for each in fields(Known) if each.name in has}
    return asked, Known(**of_sender, resource=found)


def answered(asked, known, chance, *, without=None):
    """What a server answers that keeps the table, or all of it but one row."""
    applying = []
    for reason in REASONS:
        applies = reason.applies(asked, known) if reason.concerns(asked) and reason is not without else False
        if applies or (applies is None and chance.random() < 0.3):
            applying.append(reason)
    if any(each in OF_KEYS for each in applying):
        applying = [each for each in applying if each in OF_KEYS or each.is_told_to_all]
    chance.shuffle(applying)
    applying.sort(key=lambda each: each.comes_last)  # a provider is asked last
    for reason in applying:
        if not reason.lets_pass or chance.random() < 0.5:
            code = chance.choice(reason.codes) if reason.codes else "SOME_CODE"
            body = {"error": "No.", "code": code}
            if reason is CAPABILITY and asked.operation:
                body["required"] = chance.choice(
                    asked.operation.required_capabilities(asked.path_values) or ("x",)
                )
            return answer(asked, chance.choice(reason.statuses), body)
    return answer(asked, 200, {})


def answer(asked, status, body):
    shown = exchange(1, asked.operation or "getHealth", status=status, body=body)
    return shown if asked.operation else replace(shown, request=replace(shown.request, operation_id=None))


def broken(asked, known, shown):
    """The documented facts that an answer breaks, with the checks that say so."""
    return {
        (check, each.fact)
        for check, each in read(shown, allowed(asked, known))
        if not each.holds and DOCUMENT.facts[each.fact].source is not Source.ASSUMED
    }


@pytest.mark.parametrize("seed", SEEDS)
def test_legal_server_is_never_in_breach(seed):
    """Whatever it decides where the contract is silent, and in whichever order it looks at its reasons."""
    chance = random.Random(seed)
    for _ in range(REQUESTS):
        asked, known = request_from(chance)
        shown = answered(asked, known, chance)

        assert not broken(asked, known, shown), (
            shown.status,
            shown.body,
            why_expected(allowed(asked, known)),
        )


@cache
def requests_by_row():
    """Of many requests, some for which each row's reason is known to apply, with what may be answered."""
    chance, found = random.Random(0), defaultdict(list)
    for asked, known in (request_from(chance) for _ in range(15_000)):
        may = allowed(asked, known)
        for row in may.sure:
            found[row].append((asked, known, may))
    return {row: (of_row * 20)[:200] for row, of_row in found.items()}


@pytest.mark.parametrize("row", [each for each in REASONS if each.id], ids=lambda each: each.id)
def test_server_that_ignores_a_row_breaks_it(row):
    """If the reason may be known to apply; and nothing that it answers shows the row's fact to hold."""
    chance, facts = random.Random(row.id), {row.fact, *row.facts}
    broken, kept = set(), []
    for asked, known, may in requests_by_row().get(row, ()):
        for check, each in read(answered(asked, known, chance, without=row), may):
            if check == row.id and each.fact in facts:
                broken |= set() if each.holds else {each.fact}
                kept += [(each, why_expected(may))] if each.holds else []

    assert bool(broken) is (row in requests_by_row())
    assert kept == []


def test_rows_that_a_request_alone_never_settles():
    """Only the sender can say that these apply."""
    unsettled = {each.id for each in REASONS if each.id and each not in requests_by_row()}

    assert unsettled == {
        "envelopes.over-limit",
        "envelopes.unknown-route",
        "envelopes.wrong-method",
        "envelopes.oversized-body",
    }
