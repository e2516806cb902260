"""What must be read of workflows after what was written, as far as it is documented, and where it is not.

The model sends nothing and judges nothing: tests tell it what a server accepted, and ask what must be there.
Source: docs, workflow CRUD.
"""

import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache

from knouds_harness.contract.document import shipped_document
from knouds_harness.contract.known_places import FREE, KnownPlace, KnownPlaces
from knouds_harness.exchange.evidence import JSON, Exchange
from knouds_harness.judging.serial_order import Access

WRITABLE_MEMBERS = ("name", "description", "tags", "nodes", "edges", "viewport", "publicPlayground")
"""What create and update take. That create takes a folder is left open: folders are set by move."""


def slug_from_name(name: str) -> str:
    """The slug of a free name.

    Args:
        name: ASCII letters and digits, single spaces between them; what becomes of other characters is open.
    """
    return name.lower().replace(" ", "-")


def accesses_of(
    operation_id: str | None,
    status: int | None,
    sent: Mapping[str, JSON],
    shown: Mapping[str, JSON],
    *,
    members: Collection[str],
) -> Iterator[tuple[str, Access]]:
    """What a request to a workflow wrote or showed of its members, as JSON text.

    The name ``""`` stands for whether the workflow is there. A refusal other than a 404 changes nothing and
    may come at any time; that deleting what is gone succeeds, too, is open. After no answer, or a 5xx, writes
    may have taken effect.
    """
    is_certain = status is not None and status < 500
    is_success = status is not None and status < 300
    is_write = operation_id != "getWorkflow"
    if operation_id == "deleteWorkflow" and (is_success or not is_certain):
        yield "", Access(is_write=True, value=False)
    elif is_success or status in (404, 410):
        yield "", Access(is_write=False, value=is_success)
    if is_success or (is_write and not is_certain):
        for name, value in (sent if is_write else shown).items():
            if name in members:
                yield name, Access(is_write=is_write, value=json.dumps(value))


@dataclass(frozen=True, kw_only=True)
class KeptWorkflow:
    """One workflow that a server said it keeps.

    Attributes:
        slug: Fixed at creation.
        owner: The user who created it, as personas name it.
        members: What was last written, by member; a member never written may be anything.
    """

    slug: str
    owner: str
    members: Mapping[str, JSON]

    @property
    def is_public(self) -> bool | None:
        """Whether its public schema is served; None if that was never written."""
        is_public = self.members.get("publicPlayground")
        return is_public if isinstance(is_public, bool) else None


class WorkflowModel:
    """What each user keeps on a server, told step by step."""

    def __init__(self) -> None:
        self._workflow_by_slug: dict[str, KeptWorkflow] = {}
        self._deleted_by_owner: dict[str, set[str]] = {}
        self._creator_by_owner: dict[str, str | int] = {}

    def __getitem__(self, slug: str) -> KeptWorkflow:
        """The workflow under a slug."""
        return self._workflow_by_slug[slug]

    def allowed_slugs(self, owner: str, name: str) -> tuple[str, ...]:
        """The slugs that a new workflow may get, the first of them unless another account holds it.

        A slug of the owner's is skipped for sure. Whether one of another account, or a deleted one, counts as
        taken is open.
        """
        base = slug_from_name(name)
        allowed = []
        number = 1
        while True:
            slug = base if number == 1 else f"{base}-{number}"
            holder = self._workflow_by_slug.get(slug)
            if holder is None or holder.owner != owner:
                allowed.append(slug)
            if holder is None and not any(slug in slugs for slugs in self._deleted_by_owner.values()):
                return tuple(allowed)
            number += 1

    def create(self, owner: str, slug: str, document: Mapping[str, JSON]) -> KeptWorkflow:
        """A workflow was created from a document."""
        members = {name: value for name, value in document.items() if name in WRITABLE_MEMBERS}
        workflow = KeptWorkflow(slug=slug, owner=owner, members=members)
        self._workflow_by_slug[slug] = workflow
        return workflow

    def update(self, slug: str, changes: Mapping[str, JSON]) -> KeptWorkflow:
        """Its owner's update was accepted: what it names is new, the rest and the slug stay."""
        written = {name: value for name, value in changes.items() if name in WRITABLE_MEMBERS}
        return self._change(slug, written)

    def move(self, slug: str, folder_id: str | None) -> KeptWorkflow:
        """Its owner's move was accepted: the folder is new, the rest stays."""
        return self._change(slug, {"folderId": folder_id})

    def delete(self, slug: str) -> None:
        """Its owner's delete was accepted."""
        workflow = self._workflow_by_slug.pop(slug)
        self._deleted_by_owner.setdefault(workflow.owner, set()).add(slug)

    def kept_by(self, owner: str) -> frozenset[str]:
        """The slugs that the owner's list must hold."""
        return frozenset(slug for slug, kept in self._workflow_by_slug.items() if kept.owner == owner)

    def kept_by_others(self, owner: str) -> frozenset[str]:
        """The slugs that the owner's list must not hold; templates are not among them."""
        return frozenset(self._workflow_by_slug) - self.kept_by(owner)

    def deleted(self) -> frozenset[str]:
        """The slugs that must not be found any more."""
        gone = frozenset[str]().union(*self._deleted_by_owner.values())
        return gone - frozenset(self._workflow_by_slug)

    def note_creator(self, owner: str, created_by: JSON) -> None:
        """Learn how ``createdBy`` spells an owner, from a workflow where nothing was forged.

        That it is text is assumed: a number says whose the workflow is just as well.
        """
        if isinstance(created_by, str | int):
            self._creator_by_owner.setdefault(owner, created_by)

    def creator(self, owner: str) -> str | int | None:
        """How ``createdBy`` spells the owner, if that is known."""
        return self._creator_by_owner.get(owner)

    def other_creators(self, owner: str) -> frozenset[str | int]:
        """How it spells everybody else who is known."""
        return frozenset(creator for each, creator in self._creator_by_owner.items() if each != owner)

    def _change(self, slug: str, written: Mapping[str, JSON]) -> KeptWorkflow:
        kept = self._workflow_by_slug[slug]
        changed = replace(kept, members={**kept.members, **written})
        self._workflow_by_slug[slug] = changed
        return changed


@cache
def _known_places() -> KnownPlaces:
    return KnownPlaces(shipped_document())


def documented_body(exchange: Exchange) -> KnownPlace:
    """What the document names in the body of an answer."""
    operation = shipped_document().operation_by_id.get(exchange.request.operation_id or "")
    if operation is None or exchange.status is None:
        return FREE
    return _known_places().body(operation, exchange.status)


def first_difference(
    expected: JSON, actual: JSON, where: str = "", *, documented: KnownPlace = FREE
) -> tuple[str, JSON, JSON] | None:
    """The first place where something written is not read back.

    Members that a server added, and a null that it leaves out, are not differences; parts with an id are
    matched by it, and the order of texts does not count, since no source says that it is kept. Members that
    ``documented`` does not name are not compared: a server may change them from answer to answer. Where it
    names none, such as in the data of a node, all of them are.

    Returns:
        JSON pointer, what was written there, and what was read; None where all was read back.
    """
    if isinstance(expected, Mapping) and isinstance(actual, Mapping):
        known = documented.members
        pairs = (
            (name, value, actual.get(name), known.get(name, FREE))
            for name, value in expected.items()
            if not known or name in known
        )
        return _first(pairs, where)
    if isinstance(expected, list) and isinstance(actual, list):
        return _first_list_difference(expected, actual, where, documented.items or FREE)
    is_same = expected == actual and isinstance(expected, bool) == isinstance(actual, bool)
    return None if is_same else (where, expected, actual)


def _first_list_difference(
    expected: list[JSON], actual: list[JSON], where: str, documented: KnownPlace
) -> tuple[str, JSON, JSON] | None:
    if len(expected) != len(actual):
        return where, f"{len(expected)} items", f"{len(actual)} items"
    if all(isinstance(item, str) for item in (*expected, *actual)):
        return None if Counter(expected) == Counter(actual) else (where, expected, actual)
    if all(isinstance(item, Mapping) and isinstance(item.get("id"), str) for item in (*expected, *actual)):
        part_by_id = {item["id"]: item for item in actual}
        return _first(
            ((number, item, part_by_id.get(item["id"]), documented) for number, item in enumerate(expected)),
            where,
        )
    pairs = zip(expected, actual, strict=True)
    return _first(((number, *pair, documented) for number, pair in enumerate(pairs)), where)


def _first(
    parts: Iterable[tuple[str | int, JSON, JSON, KnownPlace]], where: str
) -> tuple[str, JSON, JSON] | None:
    for name, expected, actual, documented in parts:
        difference = first_difference(expected, actual, f"{where}/{name}", documented=documented)
        if difference is not None:
            return difference
    return None
