"""Redaction: every secret is replaced by a stable pseudonym before anything is kept.

Whatever is written, logged or shown comes from exchanges, and an exchange is redacted before anybody gets it;
so nothing downstream has to think of secrets. ``{{key:full}}`` stands for the key of persona ``full``,
``{{key:unknown}}`` for anything else that looks like a key, ``{{key:altered}}`` for a key that was tampered
with to test the server, ``{{hidden}}`` for credentials of other kinds, ``{{email:1}}`` for the first value of
a member that the profile's ``redact`` names. A secret is found in plain, however
JSON, a URL, HTML or UTF-16 and UTF-32 spell its characters, and in base64 and hexadecimal.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import fields, is_dataclass, replace
from functools import lru_cache
from threading import RLock
from typing import Any, Self, TypeVar
from urllib.parse import quote
from weakref import WeakSet

from knouds_harness.exchange.alterations import Alteration
from knouds_harness.exchange.evidence import Pairs, Request
from knouds_harness.printable import printable
from knouds_harness.targets.personas import Secret
from knouds_harness.targets.profile import Target

T = TypeVar("T")

_PREFIX = b"knouds_live_"  # docs, authentication: every key begins with it
_KEY = re.compile(rb"knouds_live_[\w-]+", re.IGNORECASE)
_WHOLE_KEY = re.compile(r"knouds_live_[\w-]+", re.ASCII)
_SPELLINGS = (b"\\u00", b"%", b"&#", b"\0")  # marks of a text whose characters may be spelled otherwise
_SPELLED = rb"(?:\\{1,8}u00%(hex)s|%%%(hex)s|&#0{0,4}(?:%(decimal)s|x%(hex)s);|%(plain)s)\0{0,3}"
_SPELLED_CHARACTER = re.compile(
    rb"\\{1,8}u00([0-9a-f]{2})|%([0-9a-f]{2})|&#x0{0,4}([0-9a-f]{2});|&#0{0,4}(\d{2,3});|\0+", re.IGNORECASE
)
_PLACEHOLDER = re.compile(r"\{\{[\w:-]+\}\}")
_CREDENTIAL_HEADERS = frozenset({"authorization", "proxy-authorization", "cookie", "set-cookie"})
_SHARED_LENGTH = 8
_LEAST_LEARNT = 6  # a shorter text is hidden where it is named alone: it may be part of any other
_MOST_LEARNT = 200  # each makes looking for all of them slower
_LEAST_CUT = 3  # fewer characters of a secret give nothing away
HIDDEN = "{{hidden}}"
ALTERED = "{{key:altered}}"
UNKNOWN = "{{key:unknown}}"
KEY_OF_NOBODY = "knouds_live_" + 8 * "00000"
"""What a reproduction sends where any key will do that nobody holds: no secret, so it stays."""


def _spelled(text: bytes) -> bytes:
    """A pattern of this text, each character as it is or as JSON, URLs, HTML or wide encodings spell it."""
    spelled = []
    for code in text:
        cases = sorted({*bytes([code]).lower(), *bytes([code]).upper()})
        hexadecimal = b"(?:" + b"|".join(b"%02x" % each for each in cases) + b")"
        decimal = b"(?:" + b"|".join(b"%d" % each for each in cases) + b")"
        plain = re.escape(bytes([code]))
        spelled.append(_SPELLED % {b"hex": hexadecimal, b"decimal": decimal, b"plain": plain})
    return b"".join(spelled)


def _plain(spelled: bytes) -> bytes:
    """The text that is spelled so, in lower case."""

    def character(found: re.Match[bytes]) -> bytes:
        code = found[1] or found[2] or found[3]
        return bytes([int(code, 16)]) if code else bytes([int(found[4]) & 0xFF]) if found[4] else b""

    return _SPELLED_CHARACTER.sub(character, spelled).lower()


def _in_base64(text: bytes) -> set[bytes]:
    """What base64 makes of this text wherever in a longer one it stands, without what depends on the rest."""
    cores = set()
    for before in range(3):
        first, end = (0, 2, 3)[before], (before + len(text)) * 8 // 6
        core = base64.b64encode(bytes(before) + text)[first:end]
        cores |= {core, core.replace(b"+", b"-").replace(b"/", b"_")}
    return cores


_SPELLED_KEY = re.compile(_spelled(_PREFIX) + rb"(?:[\w-]|\\{1,8}u00..|%..|&#\w+;|\0)+", re.IGNORECASE)
_KEY_IN_BASE64 = tuple(_in_base64(_PREFIX))
_KEY_IN_HEX = _PREFIX.hex().encode()
_ENCODED_KEY = re.compile(
    b"(?:" + b"|".join(_KEY_IN_BASE64) + rb")[\w+/=-]*|(?i:" + _KEY_IN_HEX + rb"[0-9a-f]*)"
)


_OF_THIS_PROCESS: WeakSet[Redactor] = WeakSet()


def shown(text: str) -> str:
    """Text of an exception, made printable, without the secrets of any target that this process uses."""
    for redactor in (*_OF_THIS_PROCESS, Redactor()):
        text = redactor.text(text)
    return printable(text, keep="\n\t")


def _members_named(names: Iterable[str]) -> re.Pattern[bytes] | None:
    """A pattern of JSON members with these names, also in JSON within a text, where quotes are escaped."""
    alternatives = b"|".join(re.escape(name.encode()) for name in names)
    if not alternatives:
        return None
    return re.compile(
        rb'(?P<begin>(?P<quote>\\*")(?:' + alternatives + rb")(?P=quote)\s*:\s*)"
        rb'(?:(?P=quote)(?P<text>(?:\\.|[^"\\])*?)(?P=quote)|-?\d[\d.eE+-]*)'
    )


class Redactor:
    """Knows the secrets of one target, also those minted while it runs."""

    def __init__(self, secrets: Iterable[Secret] = (), *, members: Iterable[str] = ()) -> None:
        """Know some secrets.

        Args:
            secrets: Each is replaced by its pseudonym.
            members: Names of JSON members whose values are secrets too, once such a member was met.
        """
        self._members = _members_named(members)
        self._learnt: dict[str, Secret] = {}
        self._learning = RLock()
        self._pseudonym_by_key = {KEY_OF_NOBODY.lower().encode(): KEY_OF_NOBODY.encode()}
        self._pseudonym_by_literal: dict[bytes, bytes] = {}
        self._literals: re.Pattern[bytes] | None = None
        self._spelled: re.Pattern[bytes] = _SPELLED_KEY
        self._known: dict[str, Secret] = {}
        self._fragments: set[str] = set()
        self._safe_text = lru_cache(maxsize=4096)(lambda text: printable(self.text(text)))
        for secret in secrets:
            self.add(secret)

    @classmethod
    def for_target(cls, target: Target) -> Self:
        """Know every secret of a profile."""
        redactor = cls((persona.secret for persona in target.personas.values()), members=target.redact)
        others = (target.webhook and target.webhook.secret, target.control and target.control.token)
        for secret in (*others, *target.http.secrets):
            if secret:
                redactor.add(secret)
        _OF_THIS_PROCESS.add(redactor)
        return redactor

    def add(self, secret: Secret) -> None:
        """Replace this secret too, from now on."""
        self._safe_text.cache_clear()
        value = secret.reveal()
        pseudonym = str(secret).encode()
        self._known[value] = secret
        if _WHOLE_KEY.fullmatch(value):
            self._pseudonym_by_key[value.lower().encode()] = pseudonym
        else:
            in_json, plain = json.dumps(value)[1:-1], value.encode("utf-8", "surrogatepass")
            forms = {value, in_json, in_json.replace("/", "\\/"), quote(value, safe=""), plain.hex()}
            encoded = {form.encode("utf-8", "surrogatepass") for form in forms}
            if len(plain) >= _SHARED_LENGTH:  # of a shorter one base64 leaves too little to be told apart
                encoded |= _in_base64(plain)
            found = {form.lower(): pseudonym for form in encoded}
            self._pseudonym_by_literal = {**self._pseudonym_by_literal, **found}  # others may go through it
            longest_first = sorted(self._pseudonym_by_literal, key=len, reverse=True)
            self._literals = re.compile(b"|".join(map(re.escape, longest_first)), re.IGNORECASE)
            self._spelled = re.compile(self._spelled.pattern + b"|" + _spelled(plain), re.IGNORECASE)
        rest = value.lower().removeprefix(_PREFIX.decode())
        self._fragments.update(rest[i : i + _SHARED_LENGTH] for i in range(len(rest) - _SHARED_LENGTH + 1))

    def content(self, data: bytes, altered_key: bytes | None = None) -> bytes:
        """Redact bytes; ``altered_key`` is a tampered key that this exchange alone has seen."""
        if self._members:
            data = self._members.sub(self._hide_member, data)
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
        if any(mark in lower for mark in _SPELLINGS):
            data = self._spelled.sub(lambda found: self._pseudonym(_plain(found[0])), data)
        if _KEY_IN_HEX in lower or any(core in data for core in _KEY_IN_BASE64):
            data = _ENCODED_KEY.sub(UNKNOWN.encode(), data)
        return data

    def _hide_member(self, found: re.Match[bytes]) -> bytes:
        """Hide the value of a member that the profile names, here and wherever else it stands from now on."""
        begin, quote, text = found["begin"], found["quote"], found["text"]
        if text is None:
            return begin + b"0"  # a number stays one
        hidden = HIDDEN
        with suppress(ValueError):
            value = text.decode("utf-8")
            for _ in range(len(quote).bit_length()):  # once for each JSON that it stands within
                value = json.loads(f'"{value}"')
            if not value or _PLACEHOLDER.fullmatch(value):
                return found[0]
            hidden = self._learn(value, begin.strip(b'\\": \t\r\n').decode())
        return begin + quote + hidden.encode() + quote

    def _learn(self, value: str, name: str) -> str:
        """The pseudonym of a member's value, the same for the same value."""
        with self._learning:
            if value not in self._learnt:
                secret = self._learnt[value] = Secret(value, f"{name}:{len(self._learnt) + 1}")
                if len(value) >= _LEAST_LEARNT and len(self._learnt) <= _MOST_LEARNT:
                    self.add(secret)
            return str(self._learnt[value])

    def _pseudonym(self, plain: bytes) -> bytes:
        known = self._pseudonym_by_key.get(plain) or self._pseudonym_by_literal.get(plain)
        return known or UNKNOWN.encode()

    def cut_content(self, data: bytes, altered_key: bytes | None = None) -> bytes:
        """Redact bytes whose end is missing, and with it perhaps the end of a secret."""
        data = self.content(data, altered_key)
        lower = data.lower()
        for value in self._known:
            secret = value.lower().encode("utf-8", "surrogatepass")
            for length in range(len(secret) - 1, _LEAST_CUT, -1):
                if lower.endswith(secret[:length]):
                    return data[:-length] + HIDDEN.encode()
        return data

    def text(self, text: str, altered_key: bytes | None = None) -> str:
        """Redact text."""
        data = text.encode("utf-8", "surrogatepass")
        redacted = self.content(data, altered_key)
        return text if redacted is data else redacted.decode("utf-8", "surrogatepass")

    def safe(self, value: T) -> T:
        """Make what is about to be kept or shown safe: every text in it redacted, and made printable.

        Args:
            value: Text, a dataclass, a mapping or a tuple, with more of them within; others stay as they are.

        Returns:
            The same object where there was nothing to change.
        """
        kept: Any = value
        clean: Any = value
        if type(kept) is str:
            clean = self._safe_text(kept)
        elif type(kept) is tuple:
            clean = tuple([self.safe(each) for each in kept])
        elif isinstance(kept, Mapping):
            clean = {self.safe(name): self.safe(each) for name, each in kept.items()}
        elif is_dataclass(kept) and not isinstance(kept, type):
            changed = {each.name: self.safe(getattr(kept, each.name)) for each in fields(kept) if each.init}
            clean = replace(kept, **changed)
        return value if clean == kept else clean

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

    def alteration(self, key: str) -> Alteration | None:
        """How this key was made of a known one; None where that is not plain."""
        return Alteration.of(key, self._known.values())

    def _value(self, name: str, value: str, altered_key: bytes | None) -> str:
        redacted = self.text(value, altered_key)
        if name.lower() in _CREDENTIAL_HEADERS and not _PLACEHOLDER.search(redacted):
            scheme, _, rest = redacted.partition(" ")
            return f"{scheme} {HIDDEN}" if rest and scheme.isalpha() else HIDDEN
        return redacted
