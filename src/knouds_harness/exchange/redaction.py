"""Redaction: every secret is replaced by a stable pseudonym before anything is kept.

Whatever is written, logged or shown comes from exchanges, and an exchange is redacted before anybody gets it;
so nothing downstream has to think of secrets. ``{{key:full}}`` stands for the key of persona ``full``,
``{{key:unknown}}`` for anything else that looks like a key, ``{{key:altered}}`` for a key that was tampered
with to test the server, ``{{hidden}}`` for credentials of other kinds.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from knouds_harness.exchange.evidence import Pairs, Request
from knouds_harness.target.personas import Secret

_PREFIX = b"knouds_live_"  # docs, authentication: every key begins with it
_KEY = re.compile(rb"knouds_live_[\w-]+", re.IGNORECASE)
_WHOLE_KEY = re.compile(r"knouds_live_[\w-]+", re.ASCII)
_PLACEHOLDER = re.compile(r"\{\{[\w:-]+\}\}")
_CREDENTIAL_HEADERS = frozenset({"authorization", "proxy-authorization", "cookie", "set-cookie"})
_SHARED_LENGTH = 8
HIDDEN = "{{hidden}}"
ALTERED = "{{key:altered}}"
UNKNOWN = "{{key:unknown}}"


class Redactor:
    """Knows the secrets of one target, also those minted while it runs."""

    def __init__(self, secrets: Iterable[Secret] = ()) -> None:
        """Start with these secrets."""
        self._pseudonym_by_key: dict[bytes, bytes] = {}
        self._pseudonym_by_literal: dict[bytes, bytes] = {}
        self._literals: re.Pattern[bytes] | None = None
        self._known: set[str] = set()
        self._fragments: set[str] = set()
        for secret in secrets:
            self.add(secret)

    def add(self, secret: Secret) -> None:
        """Replace this secret too, from now on."""
        value = secret.reveal()
        pseudonym = str(secret).encode()
        self._known.add(value)
        if _WHOLE_KEY.fullmatch(value):
            self._pseudonym_by_key[value.lower().encode()] = pseudonym
        else:
            in_json = json.dumps(value)[1:-1]
            for form in {value, in_json, in_json.replace("/", "\\/"), quote(value, safe="")}:
                self._pseudonym_by_literal[form.lower().encode()] = pseudonym
            longest_first = sorted(self._pseudonym_by_literal, key=len, reverse=True)
            self._literals = re.compile(b"|".join(map(re.escape, longest_first)), re.IGNORECASE)
        rest = value.lower().removeprefix(_PREFIX.decode())
        self._fragments.update(rest[i : i + _SHARED_LENGTH] for i in range(len(rest) - _SHARED_LENGTH + 1))

    def content(self, data: bytes, altered_key: bytes | None = None) -> bytes:
        """Redact bytes; ``altered_key`` is a tampered key that this exchange alone has seen."""
        lower = data.lower()
        if altered_key and altered_key.lower() in lower:
            data = re.sub(re.escape(altered_key), ALTERED.encode(), data, flags=re.IGNORECASE)
            lower = data.lower()
        if self._literals and any(literal in lower for literal in self._pseudonym_by_literal):
            data = self._literals.sub(lambda found: self._pseudonym_by_literal[found[0].lower()], data)
        if _PREFIX in lower:
            data = _KEY.sub(
                lambda found: self._pseudonym_by_key.get(found[0].lower(), UNKNOWN.encode()), data
            )
        return data

    def text(self, text: str, altered_key: bytes | None = None) -> str:
        """Redact text."""
        data = text.encode("utf-8", "surrogatepass")
        redacted = self.content(data, altered_key)
        return text if redacted is data else redacted.decode("utf-8", "surrogatepass")

    def pairs(self, pairs: Pairs, altered_key: bytes | None = None) -> Pairs:
        """Redact headers or query parameters, names and values; the same object where they hold no secret."""
        everything = "\n".join([text for pair in pairs for text in pair])
        is_clean = self.text(everything, altered_key) == everything
        if is_clean and not any(name.lower() in _CREDENTIAL_HEADERS for name, _ in pairs):
            return pairs
        return tuple(
            [(self.text(name, altered_key), self._value(name, value, altered_key)) for name, value in pairs]
        )

    def request(self, request: Request, altered_key: bytes | None = None) -> Request:
        """Redact a request; the same object comes back where it holds no secret."""
        changed: dict[str, Any] = {}
        if (path := self.text(request.path, altered_key)) != request.path:
            changed["path"] = path
        for name in ("query", "headers"):
            pairs = getattr(request, name)
            if pairs and (clean := self.pairs(pairs, altered_key)) != pairs:
                changed[name] = clean
        if request.body and (body := self.content(request.body, altered_key)) != request.body:
            changed["body"] = body
        values = {name: self.text(value, altered_key) for name, value in request.path_values.items()}
        if values != request.path_values:
            changed["path_values"] = values
        return replace(request, **changed) if changed else request

    def altered(self, key: str) -> bytes | None:
        """This key as bytes if it is not a known one, yet gives away part of one; else None."""
        if key in self._known:
            return None
        lower = key.lower()
        shares = any(
            lower[i : i + _SHARED_LENGTH] in self._fragments for i in range(len(lower) - _SHARED_LENGTH + 1)
        )
        return key.encode("utf-8", "surrogatepass") if shares else None

    def _value(self, name: str, value: str, altered_key: bytes | None) -> str:
        redacted = self.text(value, altered_key)
        if name.lower() in _CREDENTIAL_HEADERS and not _PLACEHOLDER.search(redacted):
            scheme, _, rest = redacted.partition(" ")
            return f"{scheme} {HIDDEN}" if rest and scheme.isalpha() else HIDDEN
        return redacted
