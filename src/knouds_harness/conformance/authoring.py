"""Writing and reading workflows in tests: what is made is deleted when the run ends."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Final

import pytest

from knouds_harness.conformance.checks import workflows
from knouds_harness.conformance.claims import answer
from knouds_harness.conformance.needs import FULL_KEY, OWN_FILED_WORKFLOW, OWN_WORKFLOW
from knouds_harness.conformance.probe import UNTESTED, Call, Probe
from knouds_harness.conformance.subjects import Subjects
from knouds_harness.exchange.evidence import JSON, Exchange
from knouds_harness.target.personas import Persona

GRAPH_MEMBERS: Final = ("nodes", "edges", "viewport")


def fresh_name(words: str) -> str:
    """A workflow's name whose slug nobody holds; letters, digits and single spaces only."""
    return f"Harness {uuid.uuid4().hex[:12]} {words}"


def make(subjects: Subjects, owner: Persona, document: JSON) -> tuple[Exchange, str]:
    """Create a workflow that is deleted in the end; the test counts as untested where that is refused."""
    created, slug = subjects.create(owner, document)
    if slug is None:
        pytest.skip(f"{UNTESTED}a workflow to write to: creating one was answered {answer(created)}")
    return created, slug


def draft(probe: Probe, subjects: Subjects, owner: Persona, words: str = "Draft") -> tuple[str, JSON]:
    """A workflow with every member written; its slug and what it holds."""
    document = {
        "name": fresh_name(words),
        "description": "As it was.",
        "tags": ["harness", "before"],
        "publicPlayground": True,
        **known_graph(probe),
    }
    _, slug = make(subjects, owner, document)
    return slug, workflows.kept_members(read(probe, owner, slug).json_or_none())


def filed(probe: Probe, subjects: Subjects, owner: Persona, *, is_public: bool) -> tuple[str, JSON]:
    """A workflow in a folder, where the profile knows one of this account; its slug and what it holds."""
    _, slug = make(subjects, owner, {"name": fresh_name("Mine"), "description": "Mine."})
    write(probe, owner, slug, {"publicPlayground": is_public})
    known = OWN_FILED_WORKFLOW.find(probe.target)
    if known is not None and known.owner == owner.user:
        move(probe, owner, slug, folder_of(probe))
    return slug, workflows.kept_members(read(probe, owner, slug).json_or_none())


def read(probe: Probe, reader: Persona | None, slug: str, operation_id: str = "getWorkflow") -> Exchange:
    """Read one workflow, or what an operation says of it."""
    return probe.send(operation_id, reader, Call(path_values={"slug": slug}))


def write(probe: Probe, writer: Persona, slug: str, changes: JSON) -> Exchange:
    """Update a workflow."""
    return probe.send("updateWorkflow", writer, Call(path_values={"slug": slug}, json=changes))


def move(probe: Probe, writer: Persona, slug: str, folder_id: JSON) -> Exchange:
    """Move a workflow."""
    return probe.send("moveWorkflow", writer, Call(path_values={"slug": slug}, json={"folderId": folder_id}))


def run_free(probe: Probe, runner: Persona, slug: str) -> Exchange:
    """Run a workflow without nodes, which costs nothing."""
    return probe.send("runWorkflow", runner, Call(path_values={"slug": slug}, json={"inputs": {}}))


def attempts(probe: Probe, intruder: Persona, slug: str) -> Iterator[Exchange]:
    """What an intruder tries on a workflow; deleting it comes last."""
    yield write(probe, intruder, slug, {"description": "written by somebody else", "tags": ["theirs"]})
    yield write(probe, intruder, slug, {"publicPlayground": True})
    yield move(probe, intruder, slug, None)
    yield probe.send("deleteWorkflow", intruder, Call(path_values={"slug": slug}))


def known_graph(probe: Probe) -> dict[str, JSON]:
    """Nodes, edges and viewport that the target knows: those of a workflow of the profile."""
    document = read(probe, probe.need(FULL_KEY), probe.need(OWN_WORKFLOW).slug).json_or_none()
    members = document if isinstance(document, dict) else {}
    if not all(member in members for member in GRAPH_MEMBERS):
        pytest.skip(f"{UNTESTED}a workflow whose nodes can be read")
    return {member: members[member] for member in GRAPH_MEMBERS}


def doubled(graph: JSON) -> dict[str, JSON]:
    """Nodes and edges of a graph, and each again under another id; what the twins refer to are twins, too."""
    return {
        "nodes": _and_twins(members_of(graph).get("nodes"), "id"),
        "edges": _and_twins(members_of(graph).get("edges"), "id", "source", "target"),
    }


def _and_twins(parts: JSON, *references: str) -> list[dict[str, JSON]]:
    known = objects_in(parts)
    return known + [{**each, **{name: f"{each.get(name)}-twin" for name in references}} for each in known]


def moved_by(step: float, nodes: JSON) -> list[dict[str, JSON]]:
    """The same nodes, in a row."""
    return [
        {**node, "position": {"y": 0, **members_of(node.get("position")), "x": step * number}}
        for number, node in enumerate(objects_in(nodes), start=1)
    ]


def objects_in(value: JSON) -> list[dict[str, JSON]]:
    """The objects in a list; a target may show anything else in their place."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def members_of(value: JSON) -> dict[str, JSON]:
    """The members of an object; none of anything else."""
    return value if isinstance(value, dict) else {}


def folder_of(probe: Probe) -> str:
    """A folder that exists."""
    filed_document = read(probe, probe.need(FULL_KEY), probe.need(OWN_FILED_WORKFLOW).slug).json_or_none()
    folder_id = filed_document.get("folderId") if isinstance(filed_document, dict) else None
    if not isinstance(folder_id, str):
        pytest.skip(f"{UNTESTED}a folder: the workflow with in_folder = true is in none")
    return folder_id
