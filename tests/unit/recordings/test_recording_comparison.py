"""What it does to clients that a target answers otherwise than it was recorded."""

from __future__ import annotations

from dataclasses import replace

import pytest
from mutants.mutant import answering, encoded, with_header
from recorded import document, recording

from knouds_harness.conformance.cookbook import all_recipes
from knouds_harness.conformance.recording_comparison import Standing, compare, without_recipe
from knouds_harness.conformance.recording_session import Followed

WHOAMI = recording("getWhoami-200-user")
DENIED = recording("getExecution-403-lacks-capability")
UNKNOWN = recording("getExecution-404-unknown")
SUBMITTED = recording("runModel-202-accepted")
RECIPES = {recipe.name: recipe for recipe in all_recipes(document())}


def compared(old, new, *, problem="", is_untested=False):
    """What became of the outcome; ``new`` is what came of its recipe now."""
    name = (new or old).operation, (new or old).outcome
    followed = Followed(recipe=RECIPES[name], recording=new, problem=problem, is_untested=is_untested)
    kept = {} if old is None else {name: old}
    (found,) = compare(kept, [followed], document())
    return found


def body_with(recording, **members):
    """The recording with other members; one that is ... is left out."""
    body = {**recording.exchange.json(), **members}
    return answering(
        recording, body=encoded({name: value for name, value in body.items() if value is not ...})
    )


@pytest.mark.parametrize(
    "now",
    [
        SUBMITTED,
        body_with(SUBMITTED, requestId="req_another", executionId="0f8c2c5e-7a52-4d6b-9d0e-3b1f5a9e6c21"),
        answering(SUBMITTED, headers=with_header(SUBMITTED.exchange.headers, "date", "tomorrow")),
    ],
    ids=["itself", "other ids", "another day"],
)
def test_same(now):
    """Ids and instants differ each time."""
    assert compared(SUBMITTED, now).standing is Standing.SAME


@pytest.mark.parametrize(
    ("now", "says"),
    [
        (body_with(SUBMITTED, queue=7), "/queue: the member is new (number)"),
        (
            answering(SUBMITTED, headers=with_header(SUBMITTED.exchange.headers, "x-queue", "7")),
            "/headers/x-queue: the header is new",
        ),
    ],
    ids=["member", "header"],
)
def test_additive(now, says):
    """What is new breaks nobody, and is told."""
    found = compared(SUBMITTED, now)

    assert (found.standing, found.says, found.fails) == (Standing.ADDITIVE, (says,), False)


def test_code_that_was_assumed_only_may_change():
    """No source says which code an unknown execution has."""
    found = compared(UNKNOWN, body_with(UNKNOWN, code="NO_SUCH_EXECUTION"))

    assert found.standing is Standing.ADDITIVE
    assert found.says == ("the code was NOT_FOUND and is now NO_SUCH_EXECUTION",)


@pytest.mark.parametrize(
    ("old", "now", "says"),
    [
        (
            SUBMITTED,
            body_with(SUBMITTED, requestId=...),
            "/requestId: the member is gone: it was always there",
        ),
        (SUBMITTED, body_with(SUBMITTED, requestId=7), "/requestId: the type was string and is now number"),
        (SUBMITTED, answering(SUBMITTED, status=200), "answered 202 then and 200 now"),
        (
            SUBMITTED,
            answering(
                SUBMITTED, headers=with_header(SUBMITTED.exchange.headers, "content-type", "text/html")
            ),
            "the content type was application/json and is now text/html",
        ),
        (
            DENIED,
            body_with(DENIED, code="FORBIDDEN"),
            "the code was CAPABILITY_DENIED and is now FORBIDDEN",
        ),
        (
            UNKNOWN,
            answering(UNKNOWN, status=400),
            "answered 404 NOT_FOUND then and 400 NOT_FOUND now",
        ),
    ],
    ids=["member gone", "type", "status", "content type", "documented code", "status of a refusal"],
)
def test_breaking(old, now, says):
    """What a client could rely on is otherwise."""
    found = compared(old, now)

    assert (found.standing, found.says, found.fails) == (Standing.BREAKING, (says,), True)


def test_broken_promise_is_breaking_even_where_nothing_else_shows():
    """Such as a value out of a closed set."""
    problem = "it breaks a promise: whoami.role-closed"

    found = compared(WHOAMI, WHOAMI, problem=problem)

    assert (found.standing, found.says) == (Standing.BREAKING, (problem,))


def test_outcome_that_nobody_recorded_is_new():
    """It is told, and fails nothing."""
    found = compared(None, WHOAMI)

    assert (found.standing, found.fails) == (Standing.NEW, False)


def test_outcome_that_is_not_answered_any_more_is_gone():
    """That breaks clients."""
    found = compared(WHOAMI, None, problem="no answer: closed")

    assert (found.standing, found.says, found.fails) == (Standing.GONE, ("no answer: closed",), True)


def test_outcome_that_the_profile_makes_impossible_is_untested():
    """Nothing is said of the target."""
    found = compared(WHOAMI, None, problem="it would take a key", is_untested=True)

    assert (found.standing, found.fails) == (Standing.UNTESTED, False)


def test_recordings_that_no_recipe_provokes_are_named():
    """Captured ones, for example."""
    captured = replace(WHOAMI, outcome="captured")
    kept = {(each.operation, each.outcome): each for each in (WHOAMI, captured)}

    assert without_recipe(kept, RECIPES) == ["getWhoami-200-captured"]
