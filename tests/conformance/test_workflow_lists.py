"""The list of workflows holds what it should, and agrees with the workflows."""

import pytest

from knouds_harness.exchange.created_workflows import fresh_name
from knouds_harness.exchange.evidence import Call, body_of
from knouds_harness.judging.checks import workflows
from knouds_harness.suite.support.workflow_authoring import draft, read, write
from knouds_harness.targets.needs.keys import ADMIN_KEY, AUTHOR, TWO_AUTHORS
from knouds_harness.targets.needs.workflows import OWN_WORKFLOW

pytestmark = [pytest.mark.sequence, pytest.mark.independent]

FILTERS = tuple((name, value) for name in ("isTemplate", "hidden", "archived") for value in ("true", "false"))
"""Members of a summary by which a server may filter its list, though no page says so."""


@pytest.mark.proves(workflows.listed)
@pytest.mark.needs(TWO_AUTHORS)
@pytest.mark.shows("workflows.list-own-and-templates")
def test_list_holds_own_and_templates(tester, test_data, target):
    """The list, filtered or not, holds one's own and others' templates; nothing else, be it public or not."""
    owner, stranger = tester.need(TWO_AUTHORS)
    slugs = {
        persona.user: {test_data.make_workflow(persona, name=fresh_name(words)) for words in ("One", "Two")}
        for persona in (owner, stranger)
    }
    for persona in (owner, stranger):
        write(tester, persona, min(slugs[persona.user]), {"publicPlayground": True})

    for persona, other in ((owner, stranger), (stranger, owner)):
        known = [each for each in target.workflows.values() if each.owner != persona.user]
        foreign = slugs[other.user] | {each.slug for each in known if not each.template}
        tester.judge(
            workflows.listed,
            tester.send("listWorkflows", persona),
            own=slugs[persona.user]
            | {each.slug for each in target.workflows.values() if each.owner == persona.user},
            templates={each.slug for each in known if each.template},
            foreign=foreign,
        )
        for member in FILTERS:
            answer = tester.send("listWorkflows", persona, Call(query=(member,)))
            tester.judge(workflows.listed, answer, foreign=foreign)


@pytest.mark.proves(workflows.summarised)
@pytest.mark.needs(OWN_WORKFLOW)
def test_list_and_document_agree(tester, test_data):
    """In the list, a workflow is described as reading it shows, before and after an update."""
    owner = tester.need(AUTHOR)
    slug, _ = draft(tester, test_data, owner, "Listed")
    for changes in ({}, {"name": fresh_name("Relisted"), "description": "As it is now.", "tags": ["now"]}):
        if changes:
            write(tester, owner, slug, changes)
        document = body_of(read(tester, owner, slug))
        tester.judge(workflows.summarised, tester.send("listWorkflows", owner), document=document)


@pytest.mark.proves(workflows.listed)
@pytest.mark.needs(AUTHOR, ADMIN_KEY)
@pytest.mark.shows("workflows.list-own-and-templates")
def test_administrators_list_their_own(tester, test_data):
    """An administrator's list holds nobody else's workflow either, unless it is a template."""
    slugs = {test_data.make_workflow(tester.need(AUTHOR), name=fresh_name("Private"))}

    tester.judge(workflows.listed, tester.send("listWorkflows", tester.need(ADMIN_KEY)), foreign=slugs)
