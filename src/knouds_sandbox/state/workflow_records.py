"""Workflows in the store: each document with its summary for the list."""

import itertools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from knouds_sandbox.state.store import Store
from knouds_sandbox.state.workflow_documents import summary


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredWorkflow:
    slug: str
    owner_id: str
    is_template: bool
    document: dict[str, Any]


def find_workflow(store: Store, slug: str) -> StoredWorkflow | None:
    """Return the workflow with this slug, of any account."""
    row = store.row("SELECT slug, owner_id, is_template, document FROM workflows WHERE slug = ?", slug)
    if row is None:
        return None
    return StoredWorkflow(slug=row[0], owner_id=row[1], is_template=bool(row[2]), document=json.loads(row[3]))


def list_summaries(
    store: Store, account_id: str, *, condition: str = "owner_id = :id OR is_template"
) -> list[dict[str, Any]]:
    sql = f"SELECT summary FROM workflows WHERE {condition} ORDER BY slug"  # noqa: S608 - a constant condition
    return [json.loads(text) for (text,) in store.rows(sql, {"id": account_id})]


def numbered(number: int) -> str:
    """Return the suffix for a slug that is taken."""
    return f"-{number}"


def add_workflow(
    store: Store,
    members: Mapping[str, Any],
    *,
    slug: str,
    owner_id: str,
    is_template: bool = False,
    suffix: Callable[[int], str] = numbered,
) -> dict[str, Any]:
    """Store a workflow under the slug, or slug-2, slug-3, … if that is taken; return the document."""
    with store.transaction():
        free = free_slug(store, slug, suffix)
        document = {"createdBy": owner_id} | dict(members) | {"slug": free, "updatedAt": now_iso()}
        store.write(
            "INSERT INTO workflows (slug, owner_id, is_template, document, summary) VALUES (?, ?, ?, ?, ?)",
            (free, owner_id, is_template, *_texts(document, is_template=is_template)),
        )
    return document


def change_workflow(
    store: Store, workflow: StoredWorkflow, members: Mapping[str, Any], *, updated_at: str | None = None
) -> dict[str, Any]:
    """Replace members of the document and return it; ``updated_at`` is now unless a fault sets it."""
    document = workflow.document | dict(members) | {"updatedAt": updated_at or now_iso()}
    texts = _texts(document, is_template=workflow.is_template)
    store.write(
        "UPDATE workflows SET slug = ?, document = ?, summary = ? WHERE slug = ?",
        (document["slug"], *texts, workflow.slug),
    )
    return document


def delete_workflow(store: Store, slug: str) -> None:
    store.write("DELETE FROM workflows WHERE slug = ?", (slug,))


def count_workflows(store: Store, owner_id: str) -> int:
    count: int = store.row("SELECT count(*) FROM workflows WHERE owner_id = ?", owner_id)[0]
    return count


def now_iso() -> str:
    return iso(datetime.now(UTC))


def iso(instant: datetime) -> str:
    """Format an instant as ISO 8601 with milliseconds and Z."""
    return instant.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def free_slug(store: Store, slug: str, suffix: Callable[[int], str] = numbered) -> str:
    """Return the slug, or slug-2, slug-3, … if that is taken."""
    candidates = itertools.chain([slug], (f"{slug}{suffix(number)}" for number in itertools.count(2)))
    taken = {
        row[0]
        for row in store.rows(
            "SELECT slug FROM workflows WHERE slug >= ? AND slug < ?", slug, f"{slug}\U0010ffff"
        )
    }
    return next(candidate for candidate in candidates if candidate not in taken)


def _texts(document: Mapping[str, Any], *, is_template: bool) -> tuple[str, str]:
    return json.dumps(document), json.dumps(summary(document, is_template=is_template))
