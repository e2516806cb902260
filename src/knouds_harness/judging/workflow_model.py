"""A model of stored workflows: what reads must show after writes, as far as that is documented.

The model sends nothing and judges nothing: tests tell it what a server accepted, and ask what must be there.
Source: docs, workflow CRUD.
"""

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count

from knouds_harness.exchange.evidence import JSON
from knouds_harness.judging.rule.values import as_kept
from knouds_harness.judging.serial_order import Access

WRITABLE_MEMBERS = ("name", "description", "tags", "nodes", "edges", "viewport", "publicPlayground")
"""Members that create and update accept. Whether create accepts a folder is undocumented; move sets it."""


def slug_from_name(name: str) -> str:
    """Return the slug that a name gets if it is not taken.

    Only for ASCII letters and digits with single spaces: the slugs of other characters are undocumented.
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
                yield name, Access(is_write=is_write, value=json.dumps(as_kept(value)))


@dataclass(frozen=True, kw_only=True)
class KeptWorkflow:
    """One workflow that the server accepted; a member that was never written may have any value."""

    owner: str
    members: dict[str, JSON] = field(default_factory=dict)

    @property
    def is_public(self) -> bool | None:
        """Whether its public schema is served; None if that was never written."""
        is_public = self.members.get("publicPlayground")
        return is_public if isinstance(is_public, bool) else None


class WorkflowModel:
    """The workflows of each user on a server, updated write by write."""

    def __init__(self) -> None:
        self._workflow_by_slug: dict[str, KeptWorkflow] = {}
        self._deleted: set[str] = set()
        self._creator_by_owner: dict[str, str | int] = {}

    def __getitem__(self, slug: str) -> KeptWorkflow:
        return self._workflow_by_slug[slug]

    def allowed_slugs(self, owner: str, name: str) -> tuple[str, ...]:
        """Return the slugs that a new workflow may get, in ascending order.

        Slugs of the owner are taken. Whether those of other accounts and deleted ones are taken is
        undocumented, so the server may use or skip them.
        """
        base = slug = slug_from_name(name)
        allowed, own = [], self.kept_by(owner)
        for number in count(2):
            if slug not in own:
                allowed.append(slug)
            if slug not in self._workflow_by_slug and slug not in self._deleted:
                break
            slug = f"{base}-{number}"
        return tuple(allowed)

    def create(self, owner: str, slug: str, document: Mapping[str, JSON]) -> None:
        self._workflow_by_slug[slug] = KeptWorkflow(owner=owner)
        self.update(slug, document)

    def update(self, slug: str, changes: Mapping[str, JSON]) -> None:
        """Note an accepted update by the owner: the members it names change, the others and the slug stay."""
        self[slug].members.update({name: changes[name] for name in WRITABLE_MEMBERS if name in changes})

    def move(self, slug: str, folder_id: str | None) -> None:
        """Note an accepted move by the owner: the folder changes, the rest stays."""
        self[slug].members["folderId"] = folder_id

    def delete(self, slug: str) -> None:
        del self._workflow_by_slug[slug]
        self._deleted.add(slug)

    def kept_by(self, owner: str) -> frozenset[str]:
        """The slugs that the owner's list must hold."""
        return frozenset(slug for slug, kept in self._workflow_by_slug.items() if kept.owner == owner)

    def kept_by_others(self, owner: str) -> frozenset[str]:
        """The slugs that the owner's list must not hold; templates are not among them."""
        return frozenset(self._workflow_by_slug) - self.kept_by(owner)

    def deleted(self) -> frozenset[str]:
        """The slugs that must not be found any more."""
        return frozenset(self._deleted - self._workflow_by_slug.keys())

    def note_creator(self, owner: str, created_by: JSON) -> None:
        """Learn an owner's id in ``createdBy`` from a workflow whose create forged nothing.

        That the id is text is only assumed, so a number is accepted too.
        """
        if isinstance(created_by, str | int):
            self._creator_by_owner.setdefault(owner, created_by)

    def creator(self, owner: str) -> str | int | None:
        return self._creator_by_owner.get(owner)

    def other_creators(self, owner: str) -> frozenset[str | int]:
        """Return the known ids of all other owners in ``createdBy``."""
        return frozenset(creator for each, creator in self._creator_by_owner.items() if each != owner)
