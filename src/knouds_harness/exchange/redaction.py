"""Redaction: replace every secret by a stable pseudonym before anything is kept.

All output comes from exchanges, and an exchange is redacted when it is made; so no other code has to handle
secrets. The pseudonyms: ``{{key:full}}`` is the key of persona ``full``, ``{{key:altered}}`` a key that was
altered to test the server, ``{{key:unknown}}`` any other text that looks like a key, ``{{email:1}}`` the
first value of member ``email`` if the profile's ``redact`` names it, ``{{hidden}}`` any other credential. A
secret is found as it is and in the encodings that ``readings`` undoes, in any case; a key also without its
prefix. Of an encoded secret the whole word around it is replaced.
"""

from __future__ import annotations

import binascii
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import fields, is_dataclass, replace
from functools import lru_cache
from html.entities import html5
from itertools import chain, islice, takewhile
from threading import RLock
from typing import Any, Final, Self, TypeVar
from weakref import WeakSet

from knouds_harness.exchange.alterations import Alteration
from knouds_harness.exchange.evidence import Exchange, Pairs, Request
from knouds_harness.printable import printable
from knouds_harness.targets.profile import Target
from knouds_harness.targets.secrets import NO_SECRET, Secret

T = TypeVar("T")

_PREFIX = b"knouds_live_"  # docs, authentication: every key begins with it
PLACEHOLDER = re.compile(
    r"\{\{([\w-]+:[\w:-]+|hidden|webhook[\w-]*|control-token|proxy-password)\}\}", re.ASCII
)
"""A pseudonym. A server may send the same text, so the context decides whether it stands for a secret."""
_CREDENTIAL = re.compile(rf"(?:\w+ )?{PLACEHOLDER.pattern}", re.ASCII)
_CREDENTIAL_HEADERS = frozenset({"authorization", "proxy-authorization", "cookie", "set-cookie"})
_SHARED_LENGTH = 8
_LONG = 1000
_LEAST_LEARNT = 6  # a shorter value may be part of any text: it is hidden only in its member
_MOST_LEARNT = 200  # each one slows down the search
_MOST_AFTER_CUT = 8  # a truncated escape leaves at most this many
_LEAST_CUT = 4  # fewer characters of a secret give nothing away
_LONGEST_TAIL = 4096
_PIECES = (
    re.compile(rb"(?:[^\s\"'<>?=,/\\]|\\+(?![\"'\\]))+"),
    re.compile(rb"(?:[^\s\"'<>\\]|\\+(?![\"'\\]))+"),
    re.compile(rb".+", re.DOTALL),
)
"""What an encoded secret is replaced with, the narrowest first: a part of a word, a word, everything."""
HIDDEN = "{{hidden}}"
ALTERED = "{{key:altered}}"
UNKNOWN = "{{key:unknown}}"
KEY_OF_NOBODY = "knouds_live_" + 8 * "00000"
"""The unknown key that reproductions send; it is not a secret, so it is shown."""


_OF_THIS_PROCESS: WeakSet[Redactor] = WeakSet()


def shown(text: str) -> str:
    """Make the text of an exception printable, and redact the secrets of all targets of this process."""
    for redactor in (*_OF_THIS_PROCESS, Redactor()):
        text = redactor.text(text)
    return printable(text, keep="\n\t")


def _members_named(names: Iterable[str]) -> re.Pattern[bytes] | None:
    """Return a pattern of JSON members with these names, also inside JSON strings with escaped quotes."""
    alternatives = b"|".join(re.escape(name.encode()) for name in names)
    if not alternatives:
        return None
    return re.compile(
        rb'(?P<begin>(?P<quote>\\*")(?:' + alternatives + rb")(?P=quote)\s*:\s*)"
        rb'(?:(?P=quote)(?P<text>(?:\\.|[^"\\])*?)(?P=quote)|-?\d[\d.eE+-]*)'
    )


def _without_literal(data: bytes, pseudonyms: Mapping[bytes, bytes]) -> bytes:
    """Replace secrets that stand in the data as they are, in any case."""
    lower = data.lower()
    found = sorted((text for text in pseudonyms if text in lower), key=len, reverse=True)
    if not found and _PREFIX not in lower:
        return data
    known = b"|".join(map(re.escape, found)) or b"(?!)"
    pattern = re.compile(rb"(?:%b)?(%b)|%b[\w-]+" % (_PREFIX, known, _PREFIX), re.IGNORECASE)

    def pseudonym(secret: re.Match[bytes]) -> bytes:
        if secret[1]:
            return pseudonyms[secret[1].lower()]
        return secret[0] if secret[0] == KEY_OF_NOBODY.encode() else UNKNOWN.encode()

    return pattern.sub(pseudonym, data)


def _encoded_in(data: bytes, pseudonyms: Mapping[bytes, bytes]) -> bytes | None:
    """Return the pseudonym of a secret that the data holds in an encoding; None without one."""
    for text in islice(readings(data), 1, None):
        lower = text.lower()
        for secret, pseudonym in pseudonyms.items():
            if len(secret) >= _SHARED_LENGTH and secret in lower:
                return pseudonym
        if _PREFIX in lower and UNKNOWN.encode() in _without_literal(text, {}):
            return UNKNOWN.encode()
    return None


class Redactor:
    """Redacts the secrets of one target, including those minted during the run."""

    def __init__(self, secrets: Iterable[Secret] = (), *, members: Iterable[str] = ()) -> None:
        self._members = _members_named(members)
        self._learnt: dict[str, Secret] = {}
        self._learning = RLock()
        self._pseudonym_by_text: dict[bytes, bytes] = {}  # texts in lower case, a key without its prefix
        self._known: dict[str, Secret] = {}
        self._safe_text = lru_cache(maxsize=4096)(lambda text, _: printable(self.text(text)))
        self._short = lru_cache(maxsize=4096)(lambda text, altered_key, _: self._redacted(text, altered_key))
        for secret in secrets:
            self.add(secret)

    @classmethod
    def for_target(cls, target: Target) -> Self:
        redactor = cls((persona.secret for persona in target.personas.values()), members=target.redact)
        others = (target.webhook and target.webhook.secret, target.control and target.control.secret)
        of_keys = (persona.webhook_secret for persona in target.personas.values())
        for secret in (*others, *of_keys, *target.http.secrets):
            if secret and secret != NO_SECRET:
                redactor.add(secret)
        _OF_THIS_PROCESS.add(redactor)
        return redactor

    def add(self, secret: Secret) -> None:
        value = secret.reveal()
        self._known[value] = secret
        rest = value.lower().removeprefix(_PREFIX.decode())
        text = rest if len(rest) >= _SHARED_LENGTH else value.lower()
        if text:
            new = {text.encode("utf-8", "surrogatepass"): str(secret).encode()}
            self._pseudonym_by_text = {**self._pseudonym_by_text, **new}  # other threads may be iterating

    def content(self, data: bytes, altered_key: bytes | None = None) -> bytes:
        """Redact bytes; ``altered_key`` is an altered key that only this exchange sent."""
        if self._members:
            data = self._members.sub(self._hide_member, data)
        pseudonyms = self._pseudonym_by_text
        if altered_key:
            altered = {altered_key.lower(): ALTERED.encode()}
            data = re.sub(re.escape(altered_key), ALTERED.encode(), data, flags=re.IGNORECASE)
            pseudonyms = altered | pseudonyms | altered  # comes first, also where it is a key without prefix
        data = _without_literal(data, pseudonyms)
        for piece in _PIECES:
            if _encoded_in(data, pseudonyms) is None:
                break
            data = piece.sub(lambda found: _encoded_in(found[0], pseudonyms) or found[0], data)
        return data

    def _hide_member(self, found: re.Match[bytes]) -> bytes:
        """Hide the value of a member of ``redact``, here and from now on in any other text."""
        begin, quote, text = found["begin"], found["quote"], found["text"]
        if text is None:
            return begin + b"0"  # a number stays a number
        hidden = HIDDEN
        with suppress(ValueError):
            value = text.decode("utf-8")
            for _ in range(len(quote).bit_length()):  # once per level of JSON within JSON
                value = json.loads(f'"{value}"')
            if not value or PLACEHOLDER.fullmatch(value):
                return found[0]
            hidden = self._learn(value, begin.strip(b'\\": \t\r\n').decode())
        return begin + quote + hidden.encode() + quote

    def _learn(self, value: str, name: str) -> str:
        """Return the pseudonym of a member's value; equal values have the same one."""
        with self._learning:
            if value not in self._learnt:
                secret = self._learnt[value] = Secret(value, f"{name}:{len(self._learnt) + 1}")
                if len(value) >= _LEAST_LEARNT and len(self._learnt) <= _MOST_LEARNT:
                    self.add(secret)
            return str(self._learnt[value])

    def cut_content(self, data: bytes, altered_key: bytes | None = None) -> bytes:
        """Redact truncated bytes, which may end within a secret."""
        data = self.content(data, altered_key)
        tail = data[-_LONGEST_TAIL:]
        for separators in (b" \t\r\n\"'<>?=,/", b" \t\r\n\"'<>"):
            start = 1 + max(tail.rfind(separators[at : at + 1]) for at in range(len(separators)))
            lines = chain.from_iterable(read.split(b"\n") for read in readings(tail[start:]))
            if any(map(self._ends_within_secret, lines)):
                return data[: len(data) - len(tail) + start] + HIDDEN.encode()
        return data

    def _ends_within_secret(self, text: bytes) -> bool:
        lower = text.lower()
        for secret in (_PREFIX, *self._pseudonym_by_text):
            first = max(0, len(lower) - len(secret) - _MOST_AFTER_CUT)
            at = lower.find(secret[:_LEAST_CUT], first)
            while at >= 0:
                pairs = zip(secret, lower[at:], strict=False)
                shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
                after = len(lower) - at - shared
                if after == 0 or (shared >= _SHARED_LENGTH and after <= _MOST_AFTER_CUT):
                    return True
                at = lower.find(secret[:_LEAST_CUT], at + 1)
        return False

    def text(self, text: str, altered_key: bytes | None = None) -> str:
        if len(text) < _LONG:
            return self._short(text, altered_key, len(self._known))
        return self._redacted(text, altered_key)

    def _redacted(self, text: str, altered_key: bytes | None) -> str:
        data = text.encode("utf-8", "surrogatepass")
        redacted = self.content(data, altered_key)
        return text if redacted is data else redacted.decode("utf-8", "surrogatepass")

    def safe(self, value: T) -> T:
        """Return a value that may be kept or shown: every text in it is redacted and made printable.

        Dataclasses, mappings and tuples are searched recursively. An unchanged value is returned itself.
        """
        kept: Any = value
        clean: Any = value
        if type(kept) is str:
            clean = self._safe_text(kept, len(self._known))
        elif type(kept) is tuple:
            clean = tuple([self.safe(each) for each in kept])
        elif isinstance(kept, Mapping):
            clean = {self.safe(name): self.safe(each) for name, each in kept.items()}
        elif is_dataclass(kept) and not isinstance(kept, type):
            changed = {each.name: self.safe(getattr(kept, each.name)) for each in fields(kept) if each.init}
            clean = replace(kept, **changed)
        return value if clean == kept else clean

    def pairs(self, pairs: Pairs, altered_key: bytes | None = None) -> Pairs:
        return tuple(
            [(self.text(name, altered_key), self._value(name, value, altered_key)) for name, value in pairs]
        )

    def request(self, request: Request, altered_key: bytes | None = None) -> Request:
        """Redact a request; return the same object if it holds no secret."""
        clean = replace(
            request,
            path=self.text(request.path, altered_key),
            path_values={name: self.text(value, altered_key) for name, value in request.path_values.items()},
            query=self.pairs(request.query, altered_key),
            headers=self.pairs(request.headers, altered_key),
            body=request.body and self.content(request.body, altered_key),
        )
        return request if clean == request else clean

    def exchange(
        self, exchange: Exchange, altered_key: bytes | None = None, *, is_cut: bool = False
    ) -> Exchange:
        """Redact a whole exchange; if it ``is_cut``, its body may end within a secret."""
        content = self.cut_content if is_cut else self.content
        return replace(
            exchange,
            request=self.request(exchange.request, altered_key),
            url=self.text(exchange.url, altered_key),
            sent_headers=self.pairs(exchange.sent_headers, altered_key),
            headers=self.pairs(exchange.headers, altered_key),
            body=content(exchange.body, altered_key),
            failure=exchange.failure and self.text(exchange.failure, altered_key),
        )

    def altered(self, key: str) -> bytes | None:
        """Return a key as bytes if it is unknown but reveals part of a known key; otherwise None."""
        if key in self._known:
            return None
        data = key.encode("utf-8", "surrogatepass")
        pieces = [data[i : i + _SHARED_LENGTH].lower() for i in range(len(data) - _SHARED_LENGTH + 1)]
        shares = any(piece in secret for secret in self._pseudonym_by_text for piece in pieces)
        return data if shares else None

    def alteration(self, key: str) -> Alteration | None:
        """Return how this key was made from a known one; None if that is not clear."""
        return Alteration.of(key, self._known.values())

    def _value(self, name: str, value: str, altered_key: bytes | None) -> str:
        redacted = self.text(value, altered_key)
        if name.lower() in _CREDENTIAL_HEADERS and not _CREDENTIAL.fullmatch(redacted):
            scheme, _, rest = redacted.partition(" ")
            return f"{scheme} {HIDDEN}" if rest and scheme.isalpha() else HIDDEN
        return redacted


_MOST_ESCAPES: Final = 4
_ESCAPE: Final = re.compile(
    rb"\\u\{0*([0-9a-f]{1,6})\}|\\u([0-9a-f]{4})|\\x([0-9a-f]{2})|(?:\\([bfnrtv\"'/\\]))"
    rb"|%u([0-9a-f]{4})|%([0-9a-f]{2})"
    rb"|&#(?:x0*([0-9a-f]{1,6})|0*([0-9]{1,7}));?"
    rb"|&([a-z][a-z0-9]{1,31});",
    re.IGNORECASE,
)
_LETTER, _BYTE, _DECIMAL, _ENTITY = 4, 6, 8, 9
"""Groups of the pattern that do not hold a code point in hexadecimal."""
_CONTROLS: Final = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}
_MARKS: Final = (b"\\", b"%", b"&")
_HEX: Final = re.compile(rb"[0-9A-Fa-f]{16,}")
_BASE64: Final = re.compile(rb"[A-Za-z0-9+/_-]{11,}")
_STANDARD: Final = bytes.maketrans(b"-_", b"+/")


def readings(data: bytes) -> Iterator[bytes]:
    """Yield the data, the data with its escapes undone, and what either holds in base64 or hexadecimal.

    Escapes of JSON, JavaScript, URLs and HTML are undone up to four times, in any order; base64 and
    hexadecimal once, if they encode eight bytes or more.
    """
    for _ in range(_MOST_ESCAPES + 1):
        yield data
        if decoded := _of_binary(data):
            yield decoded
        if not any(mark in data for mark in _MARKS):
            return
        unescaped = _ESCAPE.sub(_character, data)
        if unescaped == data:
            return
        data = unescaped


def _of_binary(data: bytes) -> bytes:
    """Return all that the data may hold in base64 or hexadecimal, one reading to a line."""
    runs = _BASE64.findall(data)
    digits = b"".join([run + b"A" * (-len(run) % 4 + 4) for run in runs]).translate(_STANDARD)
    pairs = b"".join([run + b"0" * (len(run) % 2 + 2) for run in _HEX.findall(data)])
    read = [binascii.a2b_hex(pairs), binascii.a2b_hex(pairs[1:-1])] if pairs else []
    if digits:  # a secret may begin anywhere in the encoding of a longer text
        read += [binascii.a2b_base64(digits[first : len(digits) - 4 + first]) for first in range(4)]
    return b"\n".join(read)


def _character(found: re.Match[bytes]) -> bytes:
    group = found.lastindex or 0
    text = found[group]
    if group == _LETTER:
        return _CONTROLS.get(text, text)
    if group == _ENTITY:
        return html5.get(f"{text.decode()};", found[0].decode()).encode()
    code = int(text, 10 if group == _DECIMAL else 16)
    if group == _BYTE:
        return bytes([code])
    return chr(code).encode("utf-8", "surrogatepass") if code <= 0x10FFFF else found[0]
