"""Conformance under load in one process: a share of the shapes, all of the observations."""

from __future__ import annotations

from itertools import count

import pytest
from load_answers import Said, persona, ran, throttled
from load_options import options

from knouds_harness.load.invariants.audit import Audit
from knouds_harness.load.invariants.invariants import HAS_A_ROW
from knouds_harness.load.invariants.verification import LoadVerification
from knouds_harness.targets.profile import Target

ADA = persona("full", user="ada", tier="enterprise")
PIA = persona("pro", user="pia", tier="pro")
TARGET = Target(name="here", base_url="http://127.0.0.1:1", personas={"full": ADA})


class Auditor(Audit):
    """Finds every row, at once."""

    def __init__(self):
        super().__init__(TARGET, [ADA], yes_production=False)
        self.looked_for = 0

    def after(self, aggregation):
        """Only counts."""
        self.looked_for = aggregation.runs.total()
        aggregation.tallies.see(*HAS_A_ROW, self.looked_for)
        yield from ()


class Caught(Said):
    """A response in its with-block."""

    failed = None

    def failure(self, reason):
        """As Locust is told."""
        self.failed = reason


def verification(*, share=1.0, audit=None, every_s=0.001):
    """Of one process, where so much time passes between answers."""
    clock = ((number + 0.5) * every_s for number in count())
    return LoadVerification(
        options("--seed", "1"),
        TARGET,
        share=share,
        process=0,
        is_alone=False,
        audit=audit,
        clock=lambda: next(clock),
    )


@pytest.mark.parametrize(("share", "least", "most"), [(0.1, 50, 150), (1.0, 1000, 1000)])
def test_share_thins_out_shapes_and_not_observations(share, least, most):
    """By chance, so that no pattern of the load is left out."""
    auditor = Auditor()
    one = verification(share=share, audit=auditor)
    for _ in range(1000):
        one.look("runWorkflow", ran(), ADA, ran().body)

    assert list(one.conclude(at_once=False)) == []
    seen = {each.fact: each.seen for each in one.invariants()}
    assert least <= seen["run.success-shape"] <= most
    assert auditor.looked_for == seen["usage.run-has-a-row"] == 1000


def test_answers_of_one_millisecond_are_drawn_together():
    """All of them or none, as judging some in a row costs least; and the share is kept all the same."""
    one = verification(share=0.1, every_s=0.0001)
    for _ in range(20_000):
        one.look("runWorkflow", ran(), ADA, ran().body)

    seen = {each.fact: each.seen for each in one.invariants()}["run.success-shape"]
    assert 1500 <= seen <= 2500
    assert seen % 10 == 0


def test_windows_of_limits_are_kept_without_verifying_and_nothing_is_judged():
    """Of accounts that have a limit; whoever did not ask for a verdict gets none."""
    one = verification(share=0.0)
    for sender in (ADA, PIA):
        one.look("runWorkflow", ran(99), sender, None)
        one.look("runWorkflow", throttled(3600), sender, None)

    assert one.invariants() == ()
    (window,) = one.windows()
    assert (window.user, window.admitted, window.throttled, window.longest_wait_s) == ("pia", 1, 1, 3600)


def test_success_that_breaks_the_contract_is_a_failure():
    """Locust is told, with the fact as the code."""
    answer = Caught({"success": "yes", "result": {"text": "x"}, "cost": 1, "ms": 1})

    verification().look("runWorkflow", answer, ADA, None)

    assert getattr(answer.failed, "code", None) == "run.success-is-true"


def test_run_that_is_cut_short_waits_for_nothing():
    """And what was not looked at is untested, not kept."""
    auditor = Auditor()
    one = verification(audit=auditor)
    one.look("runWorkflow", ran(), ADA, ran().body)

    (note,) = one.conclude(at_once=True)

    assert "cut short" in note
    assert auditor.looked_for == 0
    assert {each.fact: each.state for each in one.invariants()}["usage.run-has-a-row"] == "untested"


def test_what_a_worker_saw_counts_where_the_run_is_led():
    """As it comes with Locust's reports."""
    worker, controller = verification(), verification(audit=Auditor())
    worker.look("runWorkflow", ran(), ADA, ran().body)

    controller.receive(worker.take().packed())

    assert {each.fact: each.seen for each in controller.invariants()}["run.success-shape"] == 1


def test_create_with_the_slug_of_another_workflow_is_broken_without_verifying():
    """Whoever asked for no verdict is told of it all the same, and of nothing else."""
    one = verification(share=0.0)
    one.look_at_create("harness-0123456789ab-draft", is_own=True)
    assert one.invariants() == ()

    one.look_at_create("portrait", is_own=False)

    (found,) = one.invariants()
    assert (found.fact, found.seen, found.broken) == ("workflows.create-makes-slug-from-name", 2, 1)
    assert "'portrait'" in found.example
