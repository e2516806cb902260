"""Whatever several keys do with workflows in turn: what is read is what was written last."""

from __future__ import annotations

import pytest

from knouds_harness.conformance.authoring import folder_of, known_graph
from knouds_harness.conformance.checks import capabilities, refusals, schemas, workflows
from knouds_harness.conformance.needs import FULL_KEY, MAY_WRITE, OWN_FILED_WORKFLOW
from knouds_harness.conformance.sequences import Scene, SeveralKeys, reader_for
from knouds_harness.conformance.shortest_sequence import shorten_broken

MOST_STEPS = 10


@pytest.mark.sequence
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
    workflows.foreign_write,
    workflows.untouched,
    workflows.public_schema_follows,
    workflows.schema_describes,
    schemas.public_schema,
    refusals.RUN_FOREIGN_WORKFLOW,
    capabilities.denied,
    capabilities.nothing_changed,
)
def test_sequences_of_several_keys(probe, subjects, drive):
    """Each key reads what was written last by whoever may write, and nothing of what was refused."""
    probe.need(MAY_WRITE)
    folder_id = folder_of(probe) if OWN_FILED_WORKFLOW.find(probe.target) is not None else None
    scene = Scene(
        probe=probe,
        subjects=subjects,
        graph=known_graph(probe),
        folder_id=folder_id,
        reader=reader_for(probe, probe.need(FULL_KEY)),
        known=frozenset(probe.recorder.findings),
    )

    try:
        drive(lambda: SeveralKeys(scene), MOST_STEPS)
    finally:
        shorten_broken(scene)
