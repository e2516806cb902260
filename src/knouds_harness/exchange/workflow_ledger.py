"""The file in which a run notes each workflow before it creates it: signed lines of JSON.

A run folder may come from anywhere, so a line counts only if this user's secret signed it for this ledger.
Each line is signed by itself: one that a crash has cut off, or that somebody has taken out, takes no other
with it, and several processes may append. Without a line, never more is deleted: before each deletion, a
workflow has to show a name that a line says was sent.
"""

import hashlib
import hmac
import json
import os
import re
import secrets
import stat
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

from knouds_harness.errors import RunRecordError, UsageError
from knouds_harness.exchange.evidence import parsed_json
from knouds_harness.exchange.user_secret import user_secret
from knouds_harness.files import append_to_file

LEDGER_FILE: Final = "created.jsonl"
LEDGER_FILES: Final = "created*.jsonl"
"""The ledgers in a run's folder: its own, and those of replays."""
_MOST_BYTES: Final = 16_000_000
_FLAGS: Final = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
_LINES: Final = re.compile(rb'\n|(?=\{"event": )')  # also after a line that a crash has cut off
_SIGNATURE: Final = b', "signature": "'
_SIGNED_FOR: Final = b"knouds-harness created workflows"


@dataclass(kw_only=True)
class Ledger:
    """Appends lines to a ledger; they are signed if the user's secret can be read.

    Attributes:
        write: Appends bytes, all at once, before it returns; None keeps no ledger.
        id: What the signatures hold for, in the ledger's first line; None leaves lines unsigned.
    """

    write: Callable[[bytes], object] | None = None
    id: str | None = field(default_factory=lambda: secrets.token_hex(16))

    def add(self, event: Mapping[str, object]) -> None:
        if self.write is None:
            return
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = json.dumps({**event, "at": at}).encode()[:-1]
        secret = None
        with suppress(UsageError):
            secret = user_secret()
        if self.id is not None and secret is not None:
            line += _SIGNATURE + _signature(line, self.id, secret) + b'"'
        self.write(line + b"}\n")


@dataclass(frozen=True, kw_only=True)
class LedgerContent:
    """The events in a ledger, in their order.

    Attributes:
        events: Those that count: signed by this user, or in a ledger that the user trusts.
        unsigned: The others, which anybody may have written.
        problem: Why nothing counts as signed, if the user's secret cannot be read.
    """

    path: Path
    id: str | None
    events: tuple[dict[str, Any], ...]
    unsigned: tuple[dict[str, Any], ...]
    problem: str = ""

    def ledger(self) -> Ledger:
        """Return the ledger, to append to it; lines are signed if it has signed ones."""
        return Ledger(write=partial(append, self.path), id=self.id)


def append(path: Path, line: bytes) -> None:
    """Append to a ledger of this user, which is made if it is not there; a link is not followed.

    Raises:
        RunRecordError: It cannot be written.
    """
    try:
        append_to_file(path.parent, path.name, line, mode=0o600)
    except OSError as error:
        raise RunRecordError(f"{path}: cannot be written: {error.strerror}") from error


def read_ledger(path: Path, *, is_trusted: bool = False) -> LedgerContent:
    """Read a ledger, of which unsigned lines count only if it ``is_trusted``; anything else is left out.

    Raises:
        RunRecordError: It cannot be read, or is a link or another special file.
    """
    secret, problem = None, ""
    try:
        secret = user_secret()
    except UsageError as error:
        problem = str(error)
    ledger_id: str | None = None
    events: list[dict[str, Any]] = []
    unsigned: list[dict[str, Any]] = []
    for line in _LINES.split(_content(path)):
        event, _ = parsed_json(line)
        if not isinstance(event, dict) or not isinstance(event.get("event"), str):
            continue
        named = event.get("ledger") if event["event"] == "run" and ledger_id is None else ledger_id
        is_signed = secret is not None and isinstance(named, str) and _is_signed(line.strip(), named, secret)
        ledger_id = named if is_signed else ledger_id
        (events if is_signed or is_trusted else unsigned).append(event)
    return LedgerContent(
        path=path, id=ledger_id, events=tuple(events), unsigned=tuple(unsigned), problem=problem
    )


def _content(path: Path) -> bytes:
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | _FLAGS), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise RunRecordError(f"{path}: is not a regular file")
            content = file.read(_MOST_BYTES + 1)
    except OSError as error:
        why = "is a link" if path.is_symlink() else error.strerror
        raise RunRecordError(f"{path}: cannot be read: {why}") from error
    if len(content) > _MOST_BYTES:
        raise RunRecordError(f"{path}: is larger than {_MOST_BYTES:,} bytes, so no run wrote it")
    return content


def _signature(line: bytes, ledger_id: str, secret: bytes) -> bytes:
    signed = b"\n".join((_SIGNED_FOR, ledger_id.encode(), line))
    return hmac.new(secret, signed, hashlib.sha256).hexdigest().encode()


def _is_signed(line: bytes, ledger_id: str, secret: bytes) -> bool:
    content, _, signature = line.rpartition(_SIGNATURE)
    return hmac.compare_digest(signature, _signature(content, ledger_id, secret) + b'"}')
