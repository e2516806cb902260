"""What a key may do, which depends on its capabilities and on the tier of its account.

Source: docs, authentication, rate limits and plans. Limits count per user and route, in fixed windows. Custom
tiers exist, but no source says what they admit.
"""

import re
from collections.abc import Collection, Mapping
from typing import Final

EVERYTHING: Final = "*"

_WORD = r"[a-z]+(?:-[a-z]+)*"
_GRAMMAR = re.compile(rf"\*|{_WORD}:(?:\*|{_WORD})|(?:workflow|model):[a-z0-9-]+:run")


def is_capability(text: str) -> bool:
    """Return whether a text has the form of a capability; resources and verbs are open sets.

    The forms are ``*``, ``resource:verb``, ``resource:*``, ``workflow:<slug>:run`` and ``model:<name>:run``.
    """
    return _GRAMMAR.fullmatch(text) is not None


def meets(held: Collection[str], required: str) -> bool:
    """Return whether a key that holds these capabilities meets one requirement.

    It does if it holds ``*``, exactly the required capability, or the wildcard of the required resource.
    Nothing else is implied: ``workflow:write`` does not meet ``workflow:read``.
    """
    resource, separator, _ = required.partition(":")
    return EVERYTHING in held or required in held or (bool(separator) and f"{resource}:*" in held)


WINDOW_S: Final = 60
LIMIT_BY_TIER: Final[Mapping[str, int]] = {"pro": 100, "business": 1000}
"""Requests to each run operation in a window; no source says whether other operations are limited."""
UNLIMITED: Final = "enterprise"
WITHOUT_KEYS: Final = frozenset({"free", "creator"})
WITHOUT_MODELS: Final = WITHOUT_KEYS | {"pro"}
TIERS: Final = WITHOUT_KEYS | LIMIT_BY_TIER.keys() | {UNLIMITED}
"""The documented tiers."""
