"""Requests to workflows: their paths, and which change nothing."""

from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote

from knouds_harness.exchange.evidence import JSON, Exchange, objects_in, parsed_json
from knouds_harness.targets.profile import Target

WORKFLOWS_PATH: Final = "/api/workflows"


def workflow_path(slug: str) -> str:
    """Return the path of a workflow; the slug may hold any characters."""
    return f"{WORKFLOWS_PATH}/{quote(slug, safe='')}"


@dataclass(kw_only=True)
class ShownDocuments:
    """The profile's workflows as they were read last: to write these values back changes nothing."""

    target: Target
    _shown: dict[str, dict[str, JSON]] = field(default_factory=dict)

    def note(self, exchange: Exchange) -> None:
        if exchange.request.operation_id not in ("listWorkflows", "getWorkflow") or exchange.status != 200:
            return
        for each in objects_in(exchange.json_or_none()) or (exchange.members,):
            slug = each.get("slug")
            if isinstance(slug, str) and slug in self.target.workflows:
                self._shown[slug] = each

    def is_repeated_by(self, method: str, slug: str, body: JSON) -> bool:
        """Return whether a PUT only sends values that were read last."""
        shown = self._shown.get(slug)
        sent = parsed_json(body)[0] if isinstance(body, bytes) else body
        return (
            method == "PUT"
            and shown is not None
            and isinstance(sent, dict)
            and all(name in shown and shown[name] == value for name, value in sent.items())
        )
