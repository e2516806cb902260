"""Checks are pure: an exchange goes in, claims come out. They fail without a target."""

import inspect
from dataclasses import replace
from importlib import import_module

import pytest
from exchanges import assert_breaks, broken, exchange, named, refusal, rows

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


def test_balancer_says_nothing_about_an_operation():
    busy = exchange(503, raw=b"no healthy upstream", operation_id="getHealth")

    assert not schemas.public_health.applies_to(Case(exchange=busy, context=Context()))


def asked_by(method, answer):
    return replace(answer, request=replace(answer.request, method=method))


CASES = {
    "a refusal does not reveal what exists: status, code and documented members are the same": rows(
        authentication.tells_nothing,
        (refusal(401, "UNAUTHORIZED"), False),
        (exchange(401, {"error": "In other words", "code": "UNAUTHORIZED", "trace": 2}), False),
        (refusal(401, "UNKNOWN_WORKFLOW"), True),
        (refusal(401, "UNAUTHORIZED", required="workflow:read"), True),
        (refusal(404, "UNAUTHORIZED"), True),
        (refusal(429, "RATE_LIMIT_EXCEEDED"), False),
        (exchange(None), False),
        of_existing=refusal(401, "UNAUTHORIZED"),
    ),
    "a success has a body, except for HEAD": rows(
        envelopes.json_object,
        (asked_by("DELETE", exchange(204, raw=b"")), {"ground.responses-are-json-objects"}),
        (asked_by("PUT", exchange(200, raw=b"")), {"ground.responses-are-json-objects"}),
        (asked_by("DELETE", exchange(200, {})), set()),
        (asked_by("HEAD", exchange(200, raw=b"")), set()),
    ),
    "a refusal has a body, except for HEAD": rows(
        envelopes.envelope,
        (asked_by("GET", exchange(404, raw=b"")), {"envelope.error-is-object"}),
        (asked_by("HEAD", exchange(404, raw=b"")), set()),
    ),
    "a refusal shows no markup, stack trace or path of the server": rows(
        envelopes.no_internals,
        (exchange(400, raw=b"No such workflow"), False),
        (exchange(400, raw=b"Use /api/workflows instead"), False),
        (exchange(400, raw=b"<!DOCTYPE html><html>"), True),
        (exchange(400, raw=b'Traceback (most recent call last):\n  File "/srv/app.py"'), True),
        (exchange(400, raw=b"ENOENT: /usr/src/app/index.js"), True),
        (exchange(400, raw=b"Error\n    at Object.run (index.js:1)"), True),
    ),
}


@pytest.mark.parametrize(("check", "answer", "known", "facts"), named(CASES))
def test_check_finds_what_is_broken(check, answer, known, facts):
    assert_breaks(check, answer, known, facts)


@pytest.mark.parametrize("family", checks._FAMILIES)  # noqa: SLF001 - the modules of checks
def test_id_of_a_check_names_its_file(family):
    module = import_module(f"{checks.__name__}.{family}")

    named = {each.family for each in vars(module).values() if isinstance(each, Check)}
    assert named == {family.partition(".")[0]}


@pytest.mark.parametrize("check", all_checks().values(), ids=lambda check: check.id)
def test_check_declares_its_arguments(check):
    assert check.given == tuple(inspect.signature(check.judge).parameters)[1:]
