"""What a legal server may do to the texts and members of a workflow that it stores."""

import unicodedata
from collections.abc import Callable, Mapping
from typing import Any

from knouds_sandbox.bodies import mapped
from knouds_sandbox.envelopes import invalid_body
from knouds_sandbox.legal.points import Choices

_NODE = ("id", "type", "position", "data")
_EDGE = ("id", "source", "target", "sourceHandle", "targetHandle")
_OF_THE_SERVER = frozenset({"slug", "createdBy", "updatedAt", "folderId"})


def as_stored(members: Mapping[str, Any], body: Mapping[str, Any], choices: Choices) -> dict[str, Any]:
    """Return the members as a server with these choices stores them; ``body`` also has the unknown ones.

    Raises:
        Refusal: A text is longer than the server takes.
    """
    stored = dict(members)
    for name in ("name", "description"):
        if len(stored.get(name) or "") > int(choices["longest-text"]):
            raise invalid_body(f"{name} is too long.")
    if choices["unknown"] == "kept":
        stored = {name: body[name] for name in body if name not in _OF_THE_SERVER} | stored
    if choices["unknown"] == "dropped-in-nodes":
        for name, kept in (("nodes", _NODE), ("edges", _EDGE)):
            if name in stored:
                stored[name] = [
                    {member: each[member] for member in kept if member in each} for each in stored[name]
                ]
    if choices["trim"] == "yes" and "name" in stored:
        stored["name"] = stored["name"].strip()
    if choices["compose"] == "yes":
        stored = _texts(stored, lambda text: unicodedata.normalize("NFC", text))
    if choices["line-ends"] == "newline":
        stored = _texts(stored, lambda text: text.replace("\r\n", "\n"))
    return stored


def _texts(value: Any, change: Callable[[str], str]) -> Any:
    """Change each text in a value, but not the names of members."""
    return mapped(value, lambda each: change(each) if isinstance(each, str) else each)
