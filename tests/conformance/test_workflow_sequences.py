"""Whatever several keys do with workflows in turn: what is read is what was written last."""

import pytest

from knouds_harness.judging.checks import capabilities, envelopes, schemas, workflows
from knouds_harness.suite.generation.driving import drive_machine, shorten_broken
from knouds_harness.suite.generation.workflow_sequences import SequenceSetup, SeveralKeys, reader_for
from knouds_harness.suite.support.workflow_authoring import folder_of, known_graph
from knouds_harness.targets.needs.keys import AUTHOR, AUTHOR_AND_LESSER, TWO_AUTHORS, TWO_AUTHORS_WHO_RUN
from knouds_harness.targets.needs.workflows import FILED_WORKFLOW, OWN_WORKFLOW

MOST_STEPS = 10


@pytest.mark.independent
@pytest.mark.in_a_row(250)
@pytest.mark.sequence
@pytest.mark.needs(OWN_WORKFLOW)
@pytest.mark.shows("workflows.foreign-write-is-refused", TWO_AUTHORS)
@pytest.mark.shows("run.foreign-workflow-is-404", TWO_AUTHORS_WHO_RUN)
@pytest.mark.shows("capability.orthogonal", "capability.denial-has-no-effect", AUTHOR_AND_LESSER)
@pytest.mark.runs
@pytest.mark.proves(
    workflows.updated,
    workflows.made_slug,
    workflows.suffixed_slug,
    workflows.creator,
    workflows.creator_may,
    workflows.creator_may_run,
    workflows.stored,
    workflows.update_accepted,
    workflows.slug_stays,
    workflows.moved,
    workflows.move_accepted,
    workflows.gone,
    workflows.listed,
    envelopes.write_foreign_workflow,
    workflows.untouched,
    envelopes.private_public_schema,
    workflows.schema_describes,
    schemas.public_schema,
    envelopes.run_foreign_workflow,
    capabilities.denied,
    capabilities.nothing_changed,
)
def test_each_key_reads_what_was_written_last(run, tester, test_data):
    """Each key reads what was written last by whoever may write, and nothing of what was refused."""
    users = TWO_AUTHORS.met_by(tester.target) or (tester.need(AUTHOR),)
    filed = FILED_WORKFLOW.find(tester.target)
    is_filed = filed is not None and filed.key.user == users[0].user
    setup = SequenceSetup(
        tester=tester,
        test_data=test_data,
        users=users,
        graph=known_graph(tester),
        folder_id=folder_of(tester) if is_filed else None,
        reader=reader_for(tester, users[0]),
        known=frozenset(tester.recorder.findings),
    )

    try:
        drive_machine(
            lambda: SeveralKeys(setup),
            seed=run.options.seed,
            examples=run.options.examples_per_property // 2,
            most_steps=MOST_STEPS,
        )
    finally:
        shorten_broken(setup)
