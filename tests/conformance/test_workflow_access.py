"""What becomes of other people's workflows, and what their schemas show."""

import pytest

from knouds_harness.exchange.created_workflows import fresh_name
from knouds_harness.exchange.evidence import body_of
from knouds_harness.judging.checks import envelopes, schemas, workflows
from knouds_harness.suite.support.workflow_authoring import attempts, draft, filed, move, read, write
from knouds_harness.suite.untested import Untested
from knouds_harness.targets.needs.keys import ADMIN_KEY, AUTHOR, TWO_AUTHORS
from knouds_harness.targets.needs.workflows import FOREIGN_TEMPLATE, OWN_WORKFLOW

pytestmark = [pytest.mark.sequence, pytest.mark.independent]


@pytest.mark.proves(envelopes.write_foreign_workflow, workflows.untouched)
def test_foreign_write_is_refused_without_effect(tester, test_data):
    """A write to someone else's workflow is refused and changes nothing, though the workflow is public."""
    owner, intruder = tester.need(TWO_AUTHORS)
    slug, before = filed(tester, test_data, owner, is_public=True)

    for _ in attempts(tester, intruder, slug):
        tester.judge(workflows.untouched, read(tester, owner, slug), before=before)


@pytest.mark.proves(envelopes.write_foreign_workflow)
@pytest.mark.needs(FOREIGN_TEMPLATE)
@pytest.mark.records("updateWorkflow-template", 403, 404)
@pytest.mark.records("getWorkflow-template", 200, 403, 404, is_named=True)
def test_write_to_foreign_template_is_refused(tester):
    """A write to someone else's template is refused; what is sent would leave it as it is."""
    intruder, foreign = tester.need(FOREIGN_TEMPLATE)
    slug = foreign.slug
    summaries = tester.send("listWorkflows", intruder).json_or_none()  # whether it can be read is open
    listed = [each for each in summaries if isinstance(each, dict)] if isinstance(summaries, list) else []
    template = next((each for each in listed if each.get("slug") == slug and "name" in each), None)
    if template is None:
        raise Untested("a template that the list shows", "profile")

    tester.keep("getWorkflow-template", read(tester, intruder, slug))
    write(tester, intruder, slug, {"name": template["name"]})
    move(tester, intruder, slug, template.get("folderId"))


@pytest.mark.proves(workflows.admin_write, workflows.untouched_by_admin)
@pytest.mark.records("updateWorkflow-by-admin", 403, 404)
def test_administrator_does_not_own(tester, test_data):
    """An administrator's write to someone else's workflow is refused and changes nothing."""
    owner, admin = tester.need(AUTHOR), tester.need(ADMIN_KEY)
    slug, before = filed(tester, test_data, owner, is_public=False)

    for _ in attempts(tester, admin, slug):
        tester.judge(workflows.untouched_by_admin, read(tester, owner, slug), before=before)


# --- schema


@pytest.mark.proves(envelopes.private_public_schema)
@pytest.mark.needs(AUTHOR)
@pytest.mark.needs(OWN_WORKFLOW)
def test_public_schema_follows_the_switch(tester, test_data):
    """The public schema comes and goes with publicPlayground, for anybody and each time."""
    owner = tester.need(AUTHOR)
    slug, _ = draft(tester, test_data, owner, "Playground")

    for is_public in (False, True, False, True):
        switched = write(tester, owner, slug, {"publicPlayground": is_public})
        if switched.is_success:
            read(tester, None, slug, "getPublicWorkflowSchema")


@pytest.mark.proves(workflows.schema_describes, schemas.public_fields)
@pytest.mark.needs(OWN_WORKFLOW)
def test_schema_carries_the_words_of_its_workflow(tester, test_data):
    """Both schemas carry the name and description of the workflow, also after an update."""
    owner = tester.need(AUTHOR)
    slug, before = draft(tester, test_data, owner, "Described")
    words = {"name": fresh_name("Described anew"), "description": "In other words."}

    schema = read(tester, owner, slug, "getWorkflowSchema")
    tester.judge(workflows.schema_describes, schema, expected=before)

    write(tester, owner, slug, {**words, "publicPlayground": True})
    now = workflows.kept_members(read(tester, owner, slug).json_or_none())
    own = read(tester, owner, slug, "getWorkflowSchema")
    public = read(tester, None, slug, "getPublicWorkflowSchema")
    for exchange in (own, public):
        tester.judge(workflows.schema_describes, exchange, expected=now)
    tester.judge(schemas.public_fields, public, fields=body_of(own).get("fields"))
