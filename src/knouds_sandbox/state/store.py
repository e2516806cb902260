"""The database of the sandbox: SQLite, in a file or in memory, used by one thread."""

import hashlib
import sqlite3
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from knouds_sandbox.errors import SandboxError

_APPLICATION_ID = 0x4B4E4453
_SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS accounts (
    id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, email TEXT NOT NULL, role TEXT NOT NULL DEFAULT 'user',
    tier TEXT NOT NULL, is_approved INTEGER NOT NULL DEFAULT 1,
    credits INTEGER NOT NULL CHECK (credits >= 0), grant_credits INTEGER CHECK (grant_credits >= 0)
);
CREATE TABLE IF NOT EXISTS keys (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, secret TEXT NOT NULL UNIQUE,
    account_id TEXT NOT NULL REFERENCES accounts, capabilities TEXT NOT NULL, state TEXT NOT NULL,
    webhook_url TEXT, webhook_secret TEXT
);
CREATE INDEX IF NOT EXISTS keys_by_digest ON keys (sha256(secret));
CREATE TABLE IF NOT EXISTS workflows (
    slug TEXT PRIMARY KEY, owner_id TEXT NOT NULL REFERENCES accounts, is_template INTEGER NOT NULL,
    document TEXT NOT NULL, summary TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS workflows_by_owner ON workflows (owner_id);
CREATE INDEX IF NOT EXISTS templates ON workflows (is_template) WHERE is_template;
CREATE TABLE IF NOT EXISTS runs (
    id INTEGER PRIMARY KEY AUTOINCREMENT, request_id TEXT NOT NULL, execution_id TEXT UNIQUE,
    account_id TEXT NOT NULL REFERENCES accounts, key_id INTEGER REFERENCES keys, source TEXT NOT NULL,
    workflow_slug TEXT, model_ids TEXT NOT NULL, status TEXT NOT NULL, credits INTEGER NOT NULL,
    is_granted INTEGER NOT NULL, outcome TEXT NOT NULL, created_unix_s REAL NOT NULL,
    due_unix_s REAL NOT NULL, cancel_unix_s REAL, ended_unix_s REAL
);
CREATE INDEX IF NOT EXISTS runs_by_account ON runs (account_id, id, source, status);
CREATE INDEX IF NOT EXISTS runs_in_flight ON runs (id) WHERE ended_unix_s IS NULL;
CREATE TABLE IF NOT EXISTS deliveries (
    id INTEGER PRIMARY KEY, run_id INTEGER NOT NULL REFERENCES runs, url TEXT NOT NULL, secret TEXT NOT NULL,
    body BLOB NOT NULL, attempts INTEGER NOT NULL DEFAULT 0, next_unix_s REAL
);
CREATE INDEX IF NOT EXISTS deliveries_by_run ON deliveries (run_id);
CREATE INDEX IF NOT EXISTS deliveries_open ON deliveries (next_unix_s) WHERE next_unix_s IS NOT NULL;
"""


class Store:
    """The database; every statement is short and runs on the event loop (docs/decisions/sandbox-stack.md)."""

    def __init__(self, path: Path | None = None) -> None:
        try:
            self._connection = sqlite3.connect(
                path or ":memory:", isolation_level=None, check_same_thread=False, timeout=1
            )
            weakref.finalize(self, self._connection.close)  # also where building the sandbox fails
            self._prepare(path)
        except sqlite3.Error as problem:
            raise SandboxError(
                f"--db {path}: {problem}. Give a new file, or one that a stopped sandbox wrote."
            ) from None

    def _prepare(self, path: Path | None) -> None:
        marks = self.row("PRAGMA application_id")[0], self.row("PRAGMA user_version")[0]
        is_new = self.row("SELECT 1 FROM sqlite_schema LIMIT 1") is None
        if not is_new and marks != (_APPLICATION_ID, _SCHEMA_VERSION):
            raise SandboxError(
                f"--db {path}: not a database of this version of the sandbox. Give a new file."
            )
        # A commit reaches the operating system before it is acknowledged, so it survives kill -9; only a
        # power failure can lose the last commits.
        for pragma in (
            "locking_mode = EXCLUSIVE",
            "journal_mode = WAL",
            "synchronous = NORMAL",
            "foreign_keys = ON",
            "trusted_schema = ON",  # for the index of digests
            f"application_id = {_APPLICATION_ID}",
            f"user_version = {_SCHEMA_VERSION}",
        ):
            self._connection.execute(f"PRAGMA {pragma}")
        self._connection.create_function("sha256", 1, digest, deterministic=True)
        self._connection.executescript(_SCHEMA)

    @property
    def is_empty(self) -> bool:
        return self.row("SELECT 1 FROM accounts LIMIT 1") is None

    def row(self, sql: str, *values: Any) -> Any:
        """Return the first row or None; values replace ``?``, or one mapping replaces named parameters."""
        return self._connection.execute(sql, _bound(values)).fetchone()

    def rows(self, sql: str, *values: Any) -> list[Any]:
        return self._connection.execute(sql, _bound(values)).fetchall()

    def insert(self, table: str, **columns: Any) -> int:
        """Add a row; return its number."""
        names, places = ", ".join(columns), ", ".join(f":{name}" for name in columns)
        inserted = self.write(f"INSERT INTO {table} ({names}) VALUES ({places})", columns)  # noqa: S608 - constant names
        return inserted.lastrowid or 0

    def write(self, sql: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> sqlite3.Cursor:
        """Execute one writing statement; outside a transaction, it commits itself."""
        return self._connection.execute(sql, values)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Run statements in one transaction, or as part of the one around it; never await inside."""
        if self._connection.in_transaction:
            yield
            return
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    def clear(self) -> None:
        for table in ("deliveries", "runs", "workflows", "keys", "accounts", "sqlite_sequence"):
            self._connection.execute(f"DELETE FROM {table}")  # noqa: S608 - constant names

    def close(self) -> None:
        self._connection.close()


def digest(secret: str) -> bytes:
    """Return the digest by which keys are looked up, so that timing reveals nothing about existing keys."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def _bound(values: tuple[Any, ...]) -> Any:
    return values[0] if len(values) == 1 and isinstance(values[0], Mapping) else values
