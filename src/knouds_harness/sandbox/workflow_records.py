"""Workflows in the store: each document whole, with its line of the list beside it."""

from __future__ import annotations

import itertools
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from knouds_harness.sandbox.store import Store
from knouds_harness.sandbox.workflow_documents import summary


@dataclass(frozen=True, kw_only=True, slots=True)
class Workflow:
    """A stored workflow."""

    slug: str
    owner_id: str
    is_template: bool
    document: dict[str, Any]

    def is_readable_by(self, account_id: str) -> bool:
        """Whether the account owns it, or anyone may copy it."""
        return self.is_template or self.owner_id == account_id


def find_workflow(store: Store, slug: str) -> Workflow | None:
    """The workflow with this slug, whoever owns it."""
    row = store.row("SELECT slug, owner_id, is_template, document FROM workflows WHERE slug = ?", slug)
    if row is None:
        return None
    return Workflow(slug=row[0], owner_id=row[1], is_template=bool(row[2]), document=json.loads(row[3]))


def list_summaries(store: Store, account_id: str, faults: Collection[str]) -> list[dict[str, Any]]:
    """One's own workflows and other people's templates, as lines of the list."""
    condition = "owner_id = :id OR is_template"
    if "workflows-list-lacks-templates" in faults:
        condition = "owner_id = :id"
    if "workflows-list-shows-foreign" in faults:
        condition = "TRUE"
    if "workflows-list-shows-foreign-public" in faults:
        condition += " OR json_extract(document, '$.publicPlayground')"
    sql = f"SELECT summary FROM workflows WHERE {condition} ORDER BY slug"  # noqa: S608 - one of the above
    rows = store.rows(sql, {"id": account_id})
    summaries = [json.loads(text) for (text,) in rows]
    if "workflows-list-repeats-templates" in faults:
        summaries += [each for each in summaries if each["isTemplate"]]
    return summaries


def add_workflow(
    store: Store,
    members: Mapping[str, Any],
    *,
    slug: str,
    owner_id: str,
    is_template: bool = False,
    faults: Collection[str] = (),
) -> dict[str, Any]:
    """Store a workflow under the slug, or slug-2, slug-3, … while that is taken; returns the document."""
    with store.transaction():
        free = free_slug(store, slug, faults)
        document = {"createdBy": owner_id} | dict(members) | {"slug": free, "updatedAt": now_iso()}
        store.write(
            "INSERT INTO workflows (slug, owner_id, is_template, document, summary) VALUES (?, ?, ?, ?, ?)",
            (free, owner_id, is_template, *_texts(document, is_template=is_template)),
        )
    return document


def change_workflow(store: Store, workflow: Workflow, members: Mapping[str, Any]) -> dict[str, Any]:
    """Replace members of the document; returns it."""
    document = workflow.document | dict(members) | {"updatedAt": now_iso()}
    texts = _texts(document, is_template=workflow.is_template)
    store.write(
        "UPDATE workflows SET slug = ?, document = ?, summary = ? WHERE slug = ?",
        (document["slug"], *texts, workflow.slug),
    )
    return document


def delete_workflow(store: Store, slug: str) -> None:
    """Delete for good."""
    store.write("DELETE FROM workflows WHERE slug = ?", (slug,))


def count_workflows(store: Store, owner_id: str) -> int:
    """How many workflows the account has."""
    count: int = store.row("SELECT count(*) FROM workflows WHERE owner_id = ?", owner_id)[0]
    return count


def now_iso() -> str:
    """This instant as ISO 8601."""
    return iso(datetime.now(UTC))


def iso(instant: datetime) -> str:
    """An instant as ISO 8601 with milliseconds and Z."""
    return instant.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def free_slug(store: Store, slug: str, faults: Collection[str]) -> str:
    """The slug, or slug-2, slug-3, … while that is taken."""
    first = 1 if "create-suffixes-from-1" in faults else 2
    joiner = "" if "create-suffixes-without-hyphen" in faults else "-"
    numbers: Iterable[int] = itertools.count(first)
    if "create-suffixes-skip-3" in faults:
        numbers = itertools.chain([2], itertools.count(4))
    candidates = itertools.chain([slug], (f"{slug}{joiner}{number}" for number in numbers))
    taken = {
        row[0]
        for row in store.rows(
            "SELECT slug FROM workflows WHERE slug >= ? AND slug < ?", slug, f"{slug}\U0010ffff"
        )
    }
    return next(candidate for candidate in candidates if candidate not in taken)


def _texts(document: Mapping[str, Any], *, is_template: bool) -> tuple[str, str]:
    return json.dumps(document), json.dumps(summary(document, is_template=is_template))
