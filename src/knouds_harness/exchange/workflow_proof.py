"""The proof that a workflow is ours: it is new, and it has the token or the name that was sent."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from knouds_harness.exchange.evidence import JSON
from knouds_harness.exchange.workflow_names import SentName
from knouds_harness.targets.profile import Target

_SLUG: Final = re.compile(r"[a-z0-9-]+")


@dataclass(kw_only=True)
class WorkflowProof:
    """Proves which workflows are ours.

    Attributes:
        target: Its profile names workflows that are never ours.
        listed: The slugs that each account had before anything was created; they are never ours either.
    """

    target: Target
    listed: dict[str, frozenset[str]] = field(default_factory=dict)

    def may_be_ours(self, slug: str) -> bool:
        """Return whether the workflow is new, and its path cannot lead to another one."""
        return _SLUG.fullmatch(slug) is not None and not self.is_older(slug)

    def cannot_exist(self, slug: str) -> bool:
        """Return whether no workflow can have this slug."""
        return not _SLUG.fullmatch(slug) and not self.is_older(slug)

    def is_older(self, slug: str) -> bool:
        return slug in self.target.workflows or any(slug in slugs for slugs in self.listed.values())

    def holds(self, slug: str, sent: SentName, user: str | None, shown: Callable[[], JSON]) -> bool:
        """Return whether a slug provably belongs to the workflow that was sent.

        Args:
            slug: From a response.
            sent: What was sent to create it.
            user: The account that sent it.
            shown: Reads the workflow; called if the slug alone proves nothing.
        """
        if not self.may_be_ours(slug):
            return False
        if sent.token and sent.token in slug.lower():
            return True
        return user in self.listed and bool(sent.member) and sent.is_shown_by(shown())

    def holds_for(self, slug: str, sent: SentName, user: str | None, document: JSON) -> bool:
        """Return whether a document, or an entry of a list, shows the workflow that was sent."""
        return sent.is_shown_by(document) and self.holds(slug, sent, user, lambda: document)
