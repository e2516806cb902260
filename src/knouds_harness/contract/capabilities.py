"""The words of a key's capabilities, and the rule that says whether a key meets a requirement."""

import re
from collections.abc import Collection
from typing import Final

EVERYTHING: Final = "*"

_WORD = r"[a-z]+(?:-[a-z]+)*"
_GRAMMAR = re.compile(rf"\*|{_WORD}:(?:\*|{_WORD})|(?:workflow|model):[a-z0-9-]+:run")


def is_capability(text: str) -> bool:
    """Whether a text is written like a capability; which resources and verbs exist is an open set.

    The forms are ``*``, ``resource:verb``, ``resource:*``, ``workflow:<slug>:run`` and ``model:<name>:run``.
    """
    return _GRAMMAR.fullmatch(text) is not None


def meets(held: Collection[str], required: str) -> bool:
    """Whether a key that holds some capabilities meets one requirement.

    It does when it holds ``*``, exactly what is required, or the wildcard of the required resource.
    Nothing else is implied: ``workflow:write`` does not meet ``workflow:read``.

    Source: docs, authentication.
    """
    resource, separator, _ = required.partition(":")
    return EVERYTHING in held or required in held or (bool(separator) and f"{resource}:*" in held)
