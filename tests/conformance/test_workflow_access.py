"""What becomes of other people's workflows, and what their schemas show."""

from __future__ import annotations

import pytest

from knouds_harness.conformance.authoring import attempts, draft, filed, fresh_name, move, read, write
from knouds_harness.conformance.checks import schemas, workflows
from knouds_harness.conformance.needs import ADMIN_KEY, FOREIGN_TEMPLATE, FULL_KEY, STRANGER_KEY
from knouds_harness.conformance.probe import UNTESTED
from knouds_harness.conformance.statuses import body_of

pytestmark = pytest.mark.sequence


@pytest.mark.proves(workflows.foreign_write, workflows.untouched)
@pytest.mark.parametrize("is_public", [False, True], ids=["private", "public"])
def test_foreign_write_is_refused_without_effect(probe, subjects, is_public):
    """A write to someone else's workflow is refused and changes nothing, be the workflow public or not."""
    owner, intruder = probe.need(FULL_KEY), probe.need(STRANGER_KEY)
    slug, before = filed(probe, subjects, owner, is_public=is_public)

    for attempt in attempts(probe, intruder, slug):
        probe.judge(workflows.foreign_write, attempt)
        probe.judge(workflows.untouched, read(probe, owner, slug), before=before)


@pytest.mark.proves(workflows.template_write)
def test_write_to_foreign_template_is_refused(probe):
    """A write to someone else's template is refused; what is sent would leave it as it is."""
    intruder, slug = probe.need(FULL_KEY), probe.need(FOREIGN_TEMPLATE).slug
    summaries = probe.send("listWorkflows", intruder).json_or_none()  # whether it can be read is open
    listed = [each for each in summaries if isinstance(each, dict)] if isinstance(summaries, list) else []
    template = next((each for each in listed if each.get("slug") == slug and "name" in each), None)
    if template is None:
        pytest.skip(f"{UNTESTED}a template that the list shows")

    probe.judge(workflows.template_write, write(probe, intruder, slug, {"name": template["name"]}))
    probe.judge(workflows.template_write, move(probe, intruder, slug, template.get("folderId")))


@pytest.mark.proves(workflows.admin_write, workflows.untouched_by_admin)
def test_administrator_does_not_own(probe, subjects):
    """An administrator's write to someone else's workflow is refused and changes nothing."""
    owner, admin = probe.need(FULL_KEY), probe.need(ADMIN_KEY)
    slug, before = filed(probe, subjects, owner, is_public=False)

    for attempt in attempts(probe, admin, slug):
        probe.judge(workflows.admin_write, attempt)
        probe.judge(workflows.untouched_by_admin, read(probe, owner, slug), before=before)


# --- schema


@pytest.mark.proves(workflows.public_schema_follows)
def test_public_schema_follows_the_switch(probe, subjects):
    """The public schema comes and goes with publicPlayground, for anybody and each time."""
    owner = probe.need(FULL_KEY)
    slug, _ = draft(probe, subjects, owner, "Playground")

    for is_public in (False, True, False, True):
        switched = write(probe, owner, slug, {"publicPlayground": is_public})
        if workflows.is_success(switched):
            schema = read(probe, None, slug, "getPublicWorkflowSchema")
            probe.judge(workflows.public_schema_follows, schema, is_public=is_public)


@pytest.mark.proves(workflows.schema_describes, schemas.public_fields)
def test_schema_carries_the_words_of_its_workflow(probe, subjects):
    """Both schemas carry the name and description of the workflow, also after an update."""
    owner = probe.need(FULL_KEY)
    slug, before = draft(probe, subjects, owner, "Described")
    words = {"name": fresh_name("Described anew"), "description": "In other words."}

    schema = read(probe, owner, slug, "getWorkflowSchema")
    probe.judge(workflows.schema_describes, schema, expected=before)

    write(probe, owner, slug, {**words, "publicPlayground": True})
    now = workflows.kept_members(read(probe, owner, slug).json_or_none())
    own = read(probe, owner, slug, "getWorkflowSchema")
    public = read(probe, None, slug, "getPublicWorkflowSchema")
    for exchange in (own, public):
        probe.judge(workflows.schema_describes, exchange, expected=now)
    probe.judge(schemas.public_fields, public, fields=body_of(own).get("fields"))
