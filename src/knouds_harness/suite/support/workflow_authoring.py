"""Write and read workflows in tests; created ones are deleted when the run ends."""

from collections.abc import Iterator
from typing import Final

from knouds_harness.exchange.created_workflows import fresh_name
from knouds_harness.exchange.evidence import JSON, NO_BODY, Call, Exchange, members_of, objects_in
from knouds_harness.judging.checks import workflows
from knouds_harness.suite.support.test_data import TestData
from knouds_harness.suite.tester import Sending, Tester
from knouds_harness.suite.untested import Untested
from knouds_harness.targets.needs.workflows import FILED_WORKFLOW, OWN_WORKFLOW
from knouds_harness.targets.resources import Persona, Workflow

GRAPH_MEMBERS: Final = ("nodes", "edges", "viewport")
DOCUMENTED_TYPES: Final = ("requestInput", "imageGenerator", "responseOutput")
_NODES = 5


def draft(tester: Tester, test_data: TestData, owner: Persona, words: str = "Draft") -> tuple[str, JSON]:
    """Create a workflow with every member written; return its slug and members."""
    slug = test_data.make_workflow(
        owner,
        name=fresh_name(words),
        description="As it was.",
        tags=["harness", "before"],
        publicPlayground=True,
        **known_graph(tester),
    )
    return slug, workflows.kept_members(read(tester, owner, slug).json_or_none())


def filed(tester: Tester, test_data: TestData, owner: Persona, *, is_public: bool) -> tuple[str, JSON]:
    """Create a workflow, in a folder if the profile knows one of the account; return its slug and members."""
    slug = test_data.make_workflow(owner, name=fresh_name("Mine"), description="Mine.")
    write(tester, owner, slug, {"publicPlayground": is_public})
    known = FILED_WORKFLOW.find(tester.target)
    if known is not None and known.key.user == owner.user:
        move(tester, owner, slug, folder_of(tester))
    return slug, workflows.kept_members(read(tester, owner, slug).json_or_none())


def to_workflow(operation_id: str, persona: Persona | None, slug: str, body: JSON = NO_BODY) -> Sending:
    return operation_id, persona, Call(path_values={"slug": slug}, json=body)


def read(tester: Tester, reader: Persona | None, slug: str, operation_id: str = "getWorkflow") -> Exchange:
    """Read one workflow, or its schema by another operation."""
    return tester.send(*to_workflow(operation_id, reader, slug))


def write(tester: Tester, writer: Persona, slug: str, changes: JSON) -> Exchange:
    return tester.send(*to_workflow("updateWorkflow", writer, slug, changes))


def move(tester: Tester, writer: Persona, slug: str, folder_id: JSON) -> Exchange:
    return tester.send(*to_workflow("moveWorkflow", writer, slug, {"folderId": folder_id}))


def run_free(tester: Tester, runner: Persona, slug: str) -> Exchange:
    """Run a workflow without nodes, which costs nothing."""
    return tester.send(*to_workflow("runWorkflow", runner, slug, {"inputs": {}}))


def attempts(tester: Tester, intruder: Persona, slug: str) -> Iterator[Exchange]:
    """Send what an intruder tries on a workflow, and yield the exchanges; the delete comes last."""
    yield write(tester, intruder, slug, {"description": "written by somebody else", "tags": ["theirs"]})
    yield write(tester, intruder, slug, {"publicPlayground": True})
    yield move(tester, intruder, slug, None)
    yield tester.send(*to_workflow("deleteWorkflow", intruder, slug))


def known_graph(tester: Tester) -> dict[str, JSON]:
    """Return nodes, edges and viewport that the target accepts: those of a workflow of the profile."""
    return graph_of(tester, *tester.need(OWN_WORKFLOW))


def graph_of(tester: Tester, reader: Persona, workflow: Workflow) -> dict[str, JSON]:
    members = read(tester, reader, workflow.slug).members
    if not all(member in members for member in GRAPH_MEMBERS):
        raise Untested("a workflow whose nodes can be read")
    return {member: members[member] for member in GRAPH_MEMBERS}


def own_graphs(shown: JSON) -> Iterator[dict[str, JSON]]:
    """Yield graphs of our own, with more nodes and edges than the target's workflows may have.

    Nodes first have the types and data of a shown workflow, then documented types; each time, a graph with
    repeated edges comes before a plain one.
    """
    handles = next(iter(objects_in(members_of(shown).get("edges"))), {})
    nodes = objects_in(members_of(shown).get("nodes"))
    templates = [node for node in nodes if isinstance(node.get("type"), str)]
    for known in filter(None, (templates, [{"type": each} for each in DOCUMENTED_TYPES])):
        middle = [known[len(known) // 2]] * (_NODES - len(known))
        yield _graph_of([*known, *middle], handles, is_plain=False)
        yield _graph_of([*known, *middle], handles, is_plain=True)


def _graph_of(
    templates: list[dict[str, JSON]], handles: dict[str, JSON], *, is_plain: bool
) -> dict[str, JSON]:
    """Join nodes in a row by edges; unless plain, repeat two edges and leave out the last one."""
    nodes = [
        {
            "id": f"harness-{number}",
            "type": template["type"],
            "position": {"x": 40.5 * number, "y": -12.25 * number},
            "data": members_of(template.get("data")),
        }
        for number, template in enumerate(templates)
    ]
    pairs = [(number, number + 1) for number in range(len(nodes) - 1)]
    edges = [
        {
            "id": f"harness-edge-{number}",
            "source": f"harness-{source}",
            "target": f"harness-{target}",
            "sourceHandle": handles.get("sourceHandle"),
            "targetHandle": handles.get("targetHandle"),
        }
        for number, (source, target) in enumerate(pairs if is_plain else [*pairs[:-1], pairs[0], pairs[1]])
    ]
    return {"nodes": nodes, "edges": edges, "viewport": {"x": -7.5, "y": 3, "zoom": 0.75}}


def make_own_graph(tester: Tester, test_data: TestData, owner: Persona) -> tuple[str, dict[str, JSON]]:
    """Create a workflow with the first of our own graphs that the target accepts; return slug and document.

    If the target accepts none, the test is untested.
    """
    known = next((w for w in tester.target.workflows.values() if w.owner == owner.user), None)
    shown = read(tester, owner, known.slug).members if known else {}
    refusals = {}
    for graph in own_graphs(shown):
        document = {
            "name": fresh_name("Own graph"),
            "description": "Made by the harness.",
            "tags": ["harness", "a b", "Größe", "4", "five"],
            **graph,
        }
        created, slug = test_data.create(owner, document)
        if slug is not None:
            return slug, document
        refusals[", ".join(sorted({node["type"] for node in graph["nodes"]}))] = created.answer
    told = "; ".join(f"of {types} was answered {refusal}" for types, refusal in refusals.items())
    raise Untested(f"a graph of several nodes and edges that the target accepts: one {told}")


def doubled(graph: JSON) -> dict[str, JSON]:
    """Return a graph's nodes and edges, each also as a twin with another id; twins refer to twins."""
    return {
        "nodes": _and_twins(members_of(graph).get("nodes"), "id"),
        "edges": _and_twins(members_of(graph).get("edges"), "id", "source", "target"),
    }


def _and_twins(parts: JSON, *references: str) -> list[dict[str, JSON]]:
    known = objects_in(parts)
    return known + [{**each, **{name: f"{each.get(name)}-twin" for name in references}} for each in known]


def moved_by(step: float, nodes: JSON) -> list[dict[str, JSON]]:
    """Return the nodes moved to a row, ``step`` apart."""
    return [
        {**node, "position": {"y": 0, **members_of(node.get("position")), "x": step * number}}
        for number, node in enumerate(objects_in(nodes), start=1)
    ]


def text_fields(tester: Tester, reader: Persona, workflow: Workflow) -> list[str]:
    """Return the names of a workflow's fields that take any text, by its schema."""
    fields = objects_in(read(tester, reader, workflow.slug, "getWorkflowSchema").members.get("fields"))
    return [str(each.get("name")) for each in fields if each.get("type") in ("text", "textarea")]


def folder_of(tester: Tester) -> str:
    """Return an existing folder of the account of ``FILED_WORKFLOW``."""
    reader, workflow = tester.need(FILED_WORKFLOW)
    folder_id = read(tester, reader, workflow.slug).members.get("folderId")
    if not isinstance(folder_id, str):
        raise Untested("a folder: the workflow with in_folder = true is in none")
    return folder_id
