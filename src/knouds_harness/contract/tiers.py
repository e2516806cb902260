"""What an account may do by its tier: who holds keys, and how many requests a window admits.

Source: docs, rate limits and plans. Limits count per user and route, in fixed windows. Custom tiers exist,
and what those admit no source says.
"""

from collections.abc import Mapping
from typing import Final

from knouds_harness.contract.operations import RUN_OPERATIONS

WINDOW_S: Final = 60
LIMIT_BY_TIER: Final[Mapping[str, int]] = {"pro": 100, "business": 1000}
"""Requests per user, route and window."""
UNLIMITED: Final = "enterprise"
WITHOUT_KEYS: Final = frozenset({"free", "creator"})
WITHOUT_MODELS: Final = WITHOUT_KEYS | {"pro"}
TIERS: Final = WITHOUT_KEYS | LIMIT_BY_TIER.keys() | {UNLIMITED}
"""The documented ones."""
LIMITED_ROUTES: Final = RUN_OPERATIONS
"""The operations that are documented to be limited, each by itself; which others are is open."""
