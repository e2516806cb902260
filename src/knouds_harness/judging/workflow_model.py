"""A model of stored workflows: what reads must show after writes, as far as that is documented.

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
"""Members that create and update accept. Whether create accepts a folder is undocumented; move sets it."""


def slug_from_name(name: str) -> str:
    """Return the slug that a name gets if it is not taken.

    Args:
        name: ASCII letters and digits with single spaces; the slugs of other characters are undocumented.
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
    """Yield the members that a request to a workflow wrote or read, with their values as JSON text.

    The name ``""`` stands for whether the workflow exists. A refusal other than a 404 or 410 changes nothing
    and may come at any time. It is undocumented whether deleting a deleted workflow succeeds, so it may.
    Without a response, or after a 5xx, a write may have taken effect.
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
    """One workflow that the server accepted.

    Attributes:
        slug: Fixed at creation.
        owner: The user who created it, as personas name it.
        members: The last written value of each member; a member that was never written may have any value.
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
    """The workflows of each user on a server, updated write by write."""

    def __init__(self) -> None:
        self._workflow_by_slug: dict[str, KeptWorkflow] = {}
        self._deleted_by_owner: dict[str, set[str]] = {}
        self._creator_by_owner: dict[str, str | int] = {}

    def __getitem__(self, slug: str) -> KeptWorkflow:
        return self._workflow_by_slug[slug]

    def allowed_slugs(self, owner: str, name: str) -> tuple[str, ...]:
        """Return the slugs that a new workflow may get, in ascending order.

        Slugs of the owner are taken. Whether those of other accounts and deleted ones are taken is
        undocumented, so the server may use or skip them.
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
        """Note that a workflow was created from a document."""
        members = {name: value for name, value in document.items() if name in WRITABLE_MEMBERS}
        workflow = KeptWorkflow(slug=slug, owner=owner, members=members)
        self._workflow_by_slug[slug] = workflow
        return workflow

    def update(self, slug: str, changes: Mapping[str, JSON]) -> KeptWorkflow:
        """Note an accepted update by the owner: the members it names change, the others and the slug stay."""
        written = {name: value for name, value in changes.items() if name in WRITABLE_MEMBERS}
        return self._change(slug, written)

    def move(self, slug: str, folder_id: str | None) -> KeptWorkflow:
        """Note an accepted move by the owner: the folder changes, the rest stays."""
        return self._change(slug, {"folderId": folder_id})

    def delete(self, slug: str) -> None:
        """Note an accepted delete by the owner."""
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
        """Learn an owner's id in ``createdBy`` from a workflow whose create forged nothing.

        That the id is text is only assumed, so a number is accepted too.
        """
        if isinstance(created_by, str | int):
            self._creator_by_owner.setdefault(owner, created_by)

    def creator(self, owner: str) -> str | int | None:
        """Return the owner's id in ``createdBy``, if known."""
        return self._creator_by_owner.get(owner)

    def other_creators(self, owner: str) -> frozenset[str | int]:
        """Return the known ids of all other owners in ``createdBy``."""
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
    """Return what the document names in the body of a response."""
    operation = shipped_document().operation_by_id.get(exchange.request.operation_id or "")
    if operation is None or exchange.status is None:
        return FREE
    return _known_places().body(operation, exchange.status)


def first_difference(
    expected: JSON, actual: JSON, where: str = "", *, documented: KnownPlace = FREE
) -> tuple[str, JSON, JSON] | None:
    """Return the first place where a written value is not read back.

    Not differences: a member that the server added, a null that it leaves out, another order of items with an
    id, or of strings (no source promises an order). Only members that ``documented`` names are compared, as a
    server may change others from response to response; if it names none, as in the data of a node, all are.

    Returns:
        JSON pointer, written value and read value; None if everything was read back.
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
