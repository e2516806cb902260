"""What the suite itself wrote into workflows: when it comes back, it is not drift."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Final

from knouds_harness.contract.nodes import escape
from knouds_harness.exchange.evidence import JSON

_LARGEST_BYTES: Final = 200_000


class SentValues:
    """Remembers members and texts that were sent, apart from those that the server had sent before.

    A workflow that is read and written again holds what the server added to it. So the side
    that sent a thing first is its author.
    """

    def __init__(self) -> None:
        self._ours: dict[str, set[str]] = defaultdict(set)
        self._theirs: dict[str, set[str]] = defaultdict(set)
        self._our_texts: set[str] = set()
        self._their_texts: set[str] = set()

    def remember(self, body: bytes) -> None:
        """Keep what the body of a request holds, as far as it is JSON."""
        if len(body) > _LARGEST_BYTES:
            return
        try:
            value = json.loads(body)
        except (ValueError, RecursionError):
            return
        pending: list[tuple[str, JSON]] = [("", value)]
        while pending:
            where, each = pending.pop()
            if isinstance(each, dict):
                for name, member in each.items():
                    pointer = f"{where}/{escape(name)}"
                    if not _has(self._theirs, pointer):
                        self._ours[_last(pointer)].add(pointer)
                    pending.append((pointer, member))
            elif isinstance(each, list):
                pending += [(f"{where}/*", item) for item in each]
            elif isinstance(each, str) and each not in self._their_texts:
                self._our_texts.add(each)

    def is_our_member(self, pointer: str) -> bool:
        """Whether a member of an answer came from us; otherwise it is the server's from now on."""
        if _has(self._ours, pointer):
            return True
        self._theirs[_last(pointer)].add(pointer)
        return False

    def is_our_text(self, text: str) -> bool:
        """Whether a text in an answer came from us; otherwise it is the server's from now on."""
        if text in self._our_texts:
            return True
        self._their_texts.add(text)
        return False


def _has(pointers: dict[str, set[str]], pointer: str) -> bool:
    """Whether one ends in the other: a list or a schema shows a part of a workflow at another place."""
    known = pointers.get(_last(pointer), ())
    return any(each.endswith(pointer) or pointer.endswith(each) for each in known)


def _last(pointer: str) -> str:
    return pointer.rpartition("/")[2]
