"""Checks are pure: an exchange goes in, claims come out. They fail without a target."""

import inspect
from dataclasses import replace
from importlib import import_module

import pytest
from exchanges import broken, exchange, refusal

from knouds_harness.contract.document import shipped_document
from knouds_harness.judging import checks
from knouds_harness.judging.checks import all_checks, authentication, capabilities, envelopes, schemas
from knouds_harness.judging.claim import Check
from knouds_harness.judging.context import Case, Context


def test_every_check_cites_facts_of_the_document():
    facts = shipped_document().facts

    unknown = {fact for check in all_checks().values() for fact in check.facts if fact not in facts}

    assert unknown == set()


def test_every_check_has_a_sentence():
    assert [check.id for check in all_checks().values() if not check.sentence.endswith(".")] == []


@pytest.mark.parametrize(
    ("unknown", "is_broken"),
    [
        (refusal(401, "UNAUTHORIZED"), False),
        (exchange(401, {"error": "In other words", "code": "UNAUTHORIZED", "trace": 2}), False),
        (refusal(401, "UNKNOWN_WORKFLOW"), True),
        (refusal(401, "UNAUTHORIZED", required="workflow:read"), True),
        (refusal(404, "UNAUTHORIZED"), True),
        (refusal(429, "RATE_LIMIT_EXCEEDED"), False),
        (exchange(None), False),
    ],
)
def test_refusal_does_not_reveal_what_exists(unknown, is_broken):
    """Status, code and documented members must be the same; the text may differ."""
    known = refusal(401, "UNAUTHORIZED")

    assert bool(broken(authentication.tells_nothing, unknown, of_existing=known)) == is_broken


@pytest.mark.parametrize(("named", "is_broken"), [("unknown", False), ("portrait", True)])
def test_denial_names_the_requested_resource(named, is_broken):
    """`required` may differ only in the requested name in a bound form."""
    known, unknown = (
        asked_for(slug, refusal(403, "CAPABILITY_DENIED", required=["workflow:run", f"workflow:{shown}:run"]))
        for slug, shown in (("portrait", "portrait"), ("unknown", named))
    )

    assert bool(broken(capabilities.denied_alike, unknown, of_existing=known)) == is_broken


def asked_for(slug, answer):
    return replace(answer, request=replace(answer.request, path_values={"slug": slug}))


@pytest.mark.parametrize(
    ("method", "answer", "is_broken"),
    [
        ("DELETE", exchange(204, raw=b""), True),
        ("PUT", exchange(200, raw=b""), True),
        ("DELETE", exchange(200, {}), False),
        ("HEAD", exchange(200, raw=b""), False),
    ],
)
def test_success_has_a_body_except_for_head(method, answer, is_broken):
    answer = replace(answer, request=replace(answer.request, method=method))

    assert bool(broken(envelopes.json_object, answer)) == is_broken


@pytest.mark.parametrize(("method", "is_broken"), [("GET", True), ("HEAD", False)])
def test_refusal_has_a_body_except_for_head(method, is_broken):
    answer = exchange(404, raw=b"")
    answer = replace(answer, request=replace(answer.request, method=method))

    assert bool(broken(envelopes.envelope, answer)) == is_broken


def test_balancer_says_nothing_about_an_operation():
    busy = exchange(503, raw=b"no healthy upstream", operation_id="getHealth")

    assert not schemas.public_health.applies_to(Case(exchange=busy, context=Context()))


@pytest.mark.parametrize(
    ("text", "is_clean"),
    [
        ("No such workflow", True),
        ("Use /api/workflows instead", True),
        ("<!DOCTYPE html><html>", False),
        ('Traceback (most recent call last):\n  File "/srv/app.py"', False),
        ("ENOENT: /usr/src/app/index.js", False),
        ("Error\n    at Object.run (index.js:1)", False),
    ],
)
def test_refusal_shows_no_internals(text, is_clean):
    """Markup, stack traces and server paths are found; plain text and API paths are not."""
    answer = exchange(400, raw=text.encode())

    assert (broken(envelopes.no_internals, answer) == set()) == is_clean


@pytest.mark.parametrize("family", checks._FAMILIES)  # noqa: SLF001 - the modules of checks
def test_id_of_a_check_names_its_file(family):
    module = import_module(f"{checks.__name__}.{family}")

    named = {each.family for each in vars(module).values() if isinstance(each, Check)}
    assert named == {family.partition(".")[0]}


@pytest.mark.parametrize("check", all_checks().values(), ids=lambda check: check.id)
def test_check_declares_its_arguments(check):
    assert check.given == tuple(inspect.signature(check.judge).parameters)[1:]
