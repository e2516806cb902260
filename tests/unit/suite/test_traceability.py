"""Checks and profile fit together: every need is named."""

from example_targets import make_target

from knouds_harness.suite.discovery.provable_facts import missing_by_need


def test_missing_resources_are_named_with_the_checks_that_need_them():
    missing = missing_by_need(make_target())

    assert "auth.revoked-key-is-401" in missing['a key with state = "revoked"']
    assert "capability.star-is-admitted" in missing['an administrator\'s key that holds "*"']
    assert "run.success-shape" in missing["a key that holds workflow:run, for a workflow of its account"]
