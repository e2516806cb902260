"""The facts that a run has to verify at least."""

from dataclasses import replace
from datetime import date

import pytest
from example_targets import make_key, make_target

from knouds_harness.contract.document import shipped_document
from knouds_harness.errors import ProfileError, UsageError
from knouds_harness.judging.checks import all_checks
from knouds_harness.runs.run_file import UntestedFact
from knouds_harness.suite.run_outcome import expected_facts, least_verified, mistyped, shortfall
from knouds_harness.targets.profile import Expect
from knouds_harness.targets.resources import Waiver, Workflow

FACTS = frozenset(shipped_document().facts)


@pytest.mark.parametrize(
    ("text", "least"), [("0", 0), ("120", 120), ("65%", 117), ("100%", 180), ("0.5%", 1)]
)
def test_amount_is_a_number_or_a_share(text, least):
    """A share is rounded up."""
    assert least_verified(text, of=180) == least


@pytest.mark.parametrize("text", ["", "many", "-1", "1.5", "101%", "181", "5 %", "65%%"])
def test_other_amounts_are_refused(text):
    with pytest.raises(UsageError, match="--min-verified"):
        least_verified(text, of=180)


def test_family_stands_for_its_documented_facts():
    """An assumption that fails does not fail a run."""
    expected = expected_facts(replace(make_target(), expect=Expect(families=("executions",))))

    claimed = {fact for each in all_checks().values() if each.family == "executions" for fact in each.facts}
    assert expected < claimed
    assert "execution.ends-in-time" in claimed - expected


def test_all_unknown_names_are_named():
    expect = Expect(facts=("auth.revoked-key",), families=("workflow",))

    with pytest.raises(ProfileError) as raised:
        expected_facts(replace(make_target(), expect=expect))

    assert 'no fact "auth.revoked-key"' in str(raised.value)
    assert 'Did you mean "workflows"' in str(raised.value)


def test_name_in_a_waiver_that_is_near_a_known_one_is_mistyped():
    """Other names may be of another version, or of the user's own checks."""
    own, mistyped = ("user.filters", "usage.other"), ("usage.fliters", "usage.ofset")
    waivers = [Waiver(reason="known", expires=date(2030, 1, 1), fact=f, check=c) for f, c in (own, mistyped)]

    expected_facts(replace(make_target(), waivers=tuple(waivers[:1])))
    with pytest.raises(ProfileError) as raised:
        expected_facts(replace(make_target(), waivers=tuple(waivers)))

    assert str(raised.value).splitlines() == [
        '.: waivers[1].fact: no fact "usage.fliters"',
        '  Did you mean "usage.filters"?',
        '.: waivers[1].check: no check "usage.ofset"',
        '  Did you mean "usage.offset"?',
    ]


def test_capabilities_and_owners_near_a_known_one_are_told():
    """Others are of the server, and it may have more than the documentation says."""
    held = frozenset({"workflow:wirte", "workflow:delete", "workflow:runs:run", "webhook:receive", "model:*"})
    key = make_key("pro", capabilities=held)
    workflows = {name: Workflow(slug=name, owner=name) for name in (f"{key.user}x", "somebody")}
    target = replace(make_target(), personas={"pro": key}, workflows=workflows)

    assert list(mistyped(target)) == [
        'keys.pro.capabilities: "workflow:wirte" is not known. Did you mean "workflow:write"?',
        f'workflows.{key.user}x.owner: "{key.user}x" is not known. Did you mean "{key.user}"?',
    ]


def missing_of(*unverified, **more):
    return shortfall(FACTS, FACTS - set(unverified), **more)


def test_run_that_verified_enough_has_no_shortfall():
    assert missing_of("health.shape", least=len(FACTS) - 1, expected=["whoami.user-object"]) == []


def test_shortfall_lists_missing_facts_by_family():
    first, *families = missing_of(
        "usage.page-shape", "usage.row-shape", "whoami.user-object", least=len(FACTS), text="100%"
    )

    assert first.startswith(f"{len(FACTS) - 3} of {len(FACTS)} facts verified; --min-verified 100% asks for")
    assert families == ["  schemas (3): whoami.user-object, usage.page-shape, usage.row-shape"]


def test_expected_fact_is_named_with_what_it_needs():
    """Unless the run was not about it."""
    lacking = UntestedFact(check="c.d", fact="usage.row-shape", operation=None, missing="an active key")
    expected = ["usage.row-shape", "usage.page-shape"]

    assert missing_of(*expected, untested=[lacking], expected=expected)[1:] == [
        "  usage.page-shape: it was not seen to hold",
        "  usage.row-shape: needs an active key",
    ]
    assert shortfall({"whoami.user-object"}, ["whoami.user-object"], least=1, expected=expected) == []
