"""The list of workflows holds what it should, and agrees with the workflows."""

from __future__ import annotations

import pytest

from knouds_harness.conformance.authoring import draft, fresh_name, make, read, write
from knouds_harness.conformance.checks import workflows
from knouds_harness.conformance.needs import ADMIN_KEY, FULL_KEY, STRANGER_KEY
from knouds_harness.conformance.statuses import body_of

pytestmark = pytest.mark.sequence


@pytest.mark.proves(workflows.listed)
def test_list_holds_own_and_templates(probe, subjects, target):
    """The list holds what is one's own and other people's templates; nobody else's, be it public or not."""
    owner, stranger = probe.need(FULL_KEY), probe.need(STRANGER_KEY)
    slugs = {
        persona.user: {make(subjects, persona, {"name": fresh_name(words)})[1] for words in ("One", "Two")}
        for persona in (owner, stranger)
    }
    for persona in (owner, stranger):
        write(probe, persona, min(slugs[persona.user]), {"publicPlayground": True})

    for persona, other in ((owner, stranger), (stranger, owner)):
        known = [each for each in target.workflows.values() if each.owner != persona.user]
        probe.judge(
            workflows.listed,
            probe.send("listWorkflows", persona),
            own=slugs[persona.user]
            | {each.slug for each in target.workflows.values() if each.owner == persona.user},
            templates={each.slug for each in known if each.template},
            foreign=slugs[other.user] | {each.slug for each in known if not each.template},
        )


@pytest.mark.proves(workflows.summarised)
def test_list_and_document_agree(probe, subjects):
    """In the list, a workflow is described as reading it shows, before and after an update."""
    owner = probe.need(FULL_KEY)
    slug, _ = draft(probe, subjects, owner, "Listed")
    for changes in ({}, {"name": fresh_name("Relisted"), "description": "As it is now.", "tags": ["now"]}):
        if changes:
            write(probe, owner, slug, changes)
        document = body_of(read(probe, owner, slug))
        probe.judge(workflows.summarised, probe.send("listWorkflows", owner), document=document)


@pytest.mark.proves(workflows.listed)
def test_administrators_list_their_own(probe, subjects):
    """An administrator's list holds nobody else's workflow either, unless it is a template."""
    slugs = {make(subjects, probe.need(FULL_KEY), {"name": fresh_name("Private")})[1]}

    probe.judge(workflows.listed, probe.send("listWorkflows", probe.need(ADMIN_KEY)), foreign=slugs)
