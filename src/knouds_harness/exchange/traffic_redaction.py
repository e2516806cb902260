"""Redact traffic that other tools captured: its secrets are unknown, so little is kept.

Headers and query parameters keep only values that checks and people need. Bodies and URLs lose everything
that looks like a key, token or signature, values under names that suggest a secret, and every other
occurrence of such a value in the file.
"""

import itertools
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote, unquote, urlencode, urlsplit

from knouds_harness.contract.operations import Operation
from knouds_harness.exchange.evidence import JSON, KEY_HEADER, Exchange, Pairs, members_once
from knouds_harness.exchange.har import Recorded, observed_request
from knouds_harness.exchange.redaction import HIDDEN, PLACEHOLDER, Redactor
from knouds_harness.targets.secrets import Secret

_SECRET_WORD: Final = re.compile(
    r"auth(orization)?|cookies?|credentials?|csrf|jwt|otp|pass(code|phrase|wd|words?)?|pw|pwd|secrets?"
    r"|session(id|s)?|sid|sig|signatures?|tokens?|xsrf"
)
_SECRET_PAIRS: Final = ("apikey", "accesskey", "privatekey", "secretkey", "signingkey")
_CREDENTIALS: Final = frozenset({"authorization", "proxy-authorization", "cookie", "set-cookie"})
_SENT_AS_THEY_ARE: Final = frozenset({"accept", "content-type", "content-length", "prefer", "user-agent"})
_ANSWERED_AS_THEY_ARE: Final = re.compile(
    r"allow|cache-control|content-(encoding|length|type)|date|preference-applied|retry-after|server|transfer-encoding|vary"
    r"|x-ratelimit-(limit|remaining|reset)"
)
_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_PARAMETER: Final = re.compile(r"(^|[?&;#])([\w.%\[\]-]+)=([^&\s\"'<>#;]+)")
_MEMBER: Final = re.compile(r"(?<![\w-])([\w-]+)([\"']?\s*[:=]\s*[\"']?)([^\s\"'&<>,;]+)")
_TOKEN: Final = re.compile(r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*")
_SCHEME: Final = re.compile(r"\b(bearer|basic)\s+[\w.~+/=-]{8,}", re.IGNORECASE)
_PRIVATE_KEY: Final = re.compile(
    r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]*-----|\Z)", re.DOTALL
)
_USER: Final = re.compile(r"(\w://)[^/\s@\"'?#]+@")
_LEAST_LENGTH: Final = 8
_HIDDEN_IN_URL: Final = "hidden"  # valid in a URL


def is_secret_name(name: str) -> bool:
    """Return whether a name suggests a secret value: ``X-Amz-Signature``, ``accessToken``."""
    words = [word.lower() for word in _WORD.findall(name)]
    joined = "".join(words)
    return any(map(_SECRET_WORD.fullmatch, words)) or any(pair in joined for pair in _SECRET_PAIRS)


class TrafficRedactor:
    """Redacts every secret that is recognizable anywhere in a file of traffic."""

    def __init__(self, traffic: Iterable[Recorded]) -> None:
        self._redactor = Redactor()
        self._persona_by_key: dict[str, str] = {}
        hidden: set[str] = set()
        for recorded in traffic:
            if recorded.is_ours:
                continue  # already redacted; other keys were made up for tests
            for name, value in recorded.exchange.sent_headers:
                if name.lower() == KEY_HEADER:
                    self._persona_by_key.setdefault(value, f"recorded-{len(self._persona_by_key) + 1}")
            hidden.update(secrets_in(recorded.exchange))
        self.hide(hidden - self._persona_by_key.keys())
        for key, persona in self._persona_by_key.items():
            self.hide([key], label=f"key:{persona}")

    def hide(self, values: Iterable[str], *, label: str = "hidden") -> None:
        """Hide these values everywhere from now on; values that are too short are left alone."""
        for value in sorted(set(values)):
            if len(value) >= _LEAST_LENGTH and not PLACEHOLDER.fullmatch(value):
                self._redactor.add(Secret(value, label))

    def text(self, text: str) -> str:
        text = _PRIVATE_KEY.sub(HIDDEN, self._redactor.text(text))
        text = _PARAMETER.sub(
            lambda found: (
                f"{found[1]}{found[2]}={_HIDDEN_IN_URL}" if is_secret_name(unquote(found[2])) else found[0]
            ),
            text,
        )
        text = _SCHEME.sub(rf"\1 {HIDDEN}", _TOKEN.sub(HIDDEN, text))
        return _USER.sub(r"\1", text)

    def ours(self, exchange: Exchange) -> Exchange:
        return self._redactor.exchange(exchange)

    def foreign(self, exchange: Exchange, operation: Operation) -> Exchange:
        """Redact an exchange that another tool captured.

        Raises:
            RecursionError: A body is nested too deeply to be searched.
        """
        request = exchange.request
        query = tuple(
            (self.text(name), self.text(value) if name in operation.query_parameters else _HIDDEN_IN_URL)
            for name, value in request.query
        )
        address = urlsplit(exchange.url)
        host = address.netloc.rpartition("@")[2]
        tail = f"?{urlencode(query, quote_via=quote)}" if query else ""
        keys = exchange.keys_sent
        return replace(
            exchange,
            request=replace(
                request,
                path=self.text(request.path),
                path_values={name: self.text(value) for name, value in request.path_values.items()},
                query=query,
                headers=tuple(
                    (name, self.text(value))
                    for name, value in exchange.sent_headers
                    if name.lower() in _SENT_AS_THEY_ARE
                ),
                body=request.body and self._body(request.body, is_request=True),
                persona=self._persona_by_key.get(keys[0]) if keys else None,
            ),
            url=f"{address.scheme}://{host}{self.text(address.path)}{tail}",
            sent_headers=self._sent(exchange.sent_headers),
            headers=tuple((self.text(name), self._answered(name, value)) for name, value in exchange.headers),
            body=self._body(exchange.body, is_request=False),
        )

    def _sent(self, headers: Pairs) -> Pairs:
        """Return the headers that are needed to repeat a request, without those that a browser adds."""
        kept = []
        for name, value in headers:
            lower = name.lower()
            if lower == KEY_HEADER:
                kept.append((name, f"{{{{key:{self._persona_by_key[value]}}}}}" if value else ""))
            elif lower in _CREDENTIALS:
                scheme = value.partition(" ")[0] if "authorization" in lower and " " in value else ""
                kept.append((name, f"{scheme} {HIDDEN}".strip() if scheme.isalpha() else HIDDEN))
            elif lower in _SENT_AS_THEY_ARE:
                kept.append((name, self.text(value)))
        return tuple(kept)

    def _answered(self, name: str, value: str) -> str:
        return self.text(value) if _ANSWERED_AS_THEY_ARE.fullmatch(name.lower()) else HIDDEN

    def _body(self, data: bytes, *, is_request: bool) -> bytes:
        try:
            document = json.loads(data.decode(), object_pairs_hook=members_once)
        except ValueError:
            if is_request:
                return HIDDEN.encode()  # requests are not judged, so nothing is lost
            text = self.text(data.decode("utf-8", "surrogateescape"))
            return _without_values(text).encode("utf-8", "surrogateescape")
        clean = self._walked(document)
        return data if clean == document else json.dumps(clean).encode()

    def _walked(self, value: JSON, *, is_secret: bool = False) -> JSON:
        if isinstance(value, str):
            return HIDDEN if is_secret and value else self._text_or_json(value)
        if isinstance(value, list):
            return [self._walked(item, is_secret=is_secret) for item in value]
        if isinstance(value, dict):
            return {
                self.text(name): self._walked(item, is_secret=is_secret or is_secret_name(name))
                for name, item in value.items()
            }
        return value

    def _text_or_json(self, text: str) -> str:
        if not _is_like_json(text):
            return self.text(text)
        try:
            document = json.loads(text, object_pairs_hook=members_once)
        except ValueError:
            return _without_values(self.text(text))
        clean = self._walked(document)
        return self.text(text if clean == document else json.dumps(clean))


def _is_like_json(text: str) -> bool:
    return text.lstrip()[:1] in ("{", "[")


def _without_values(text: str) -> str:
    """Hide what follows a name of a secret in text that is not JSON, or has a member twice."""
    return _MEMBER.sub(
        lambda found: f"{found[1]}{found[2]}{HIDDEN}" if is_secret_name(found[1]) else found[0], text
    )


def secrets_in(exchange: Exchange) -> Iterator[str]:
    """Yield the values of cookies and of names that suggest secrets."""
    address = urlsplit(exchange.url)
    if address.password:
        yield unquote(address.password)
    for name, value in exchange.request.query:
        if is_secret_name(name):
            yield value
    for name, value in (*exchange.sent_headers, *exchange.headers):
        if name.lower() in ("cookie", "set-cookie"):
            values = (part.partition("=")[2].strip('" ') for part in re.split("[;\\n]", value))
            yield from filter(_is_like_a_token, values)
        elif name.lower() != KEY_HEADER and is_secret_name(name):
            yield value.rpartition(" ")[2]
    for body in (exchange.request.body, exchange.body):
        yield from _secret_members((body or b"").decode("utf-8", "replace"))


def _secret_members(value: JSON, *, is_secret: bool = False) -> Iterator[str]:
    if isinstance(value, str):
        if is_secret:
            yield value
        elif _is_like_json(value):
            with suppress(ValueError, RecursionError):
                yield from _secret_members(json.loads(value))
    elif isinstance(value, list):
        for item in value:
            yield from _secret_members(item, is_secret=is_secret)
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from _secret_members(item, is_secret=is_secret or is_secret_name(name))


def _is_like_a_token(value: str) -> bool:
    """Return whether a cookie's value looks random; a word such as in ``theme=dark`` may be in any body."""
    return len(value) > _LEAST_LENGTH and any(map(str.isdigit, value)) and any(map(str.isalpha, value))


class ObservedTraffic:
    """Numbers what was observed, and replaces each key by its name.

    Args:
        keys: Known keys by name; further ones are called ``client-1``, ``client-2`` and so on.
    """

    def __init__(self, keys: Mapping[str, str] | None = None) -> None:
        self._redactor = Redactor()
        self._name_by_key: dict[str, str] = {}
        self._numbers = itertools.count(1)
        for name, value in (keys or {}).items():
            self._know(value, name)

    def _know(self, key: str, name: str) -> None:
        self._name_by_key[key] = name
        self._redactor.add(Secret(key, f"key:{name}"))

    def exchange(
        self,
        *,
        method: str,
        url: str,
        headers: Pairs,
        body: bytes,
        status: int | None,
        answer_headers: Pairs,
        answer_body: bytes,
        began_unix_s: float,
        elapsed_ms: float,
        failure: str = "not answered",
        names_keys: bool = False,
    ) -> Exchange:
        """Return one exchange; header names are in lower case, and the URL is as sent.

        With ``names_keys`` a key that is not known yet gets a name; otherwise it is hidden.
        """
        key = dict(headers).get(KEY_HEADER)
        if names_keys and key and key not in self._name_by_key:
            self._know(key, f"client-{len(self._name_by_key) + 1}")
        sent = tuple(
            (name, HIDDEN if is_secret_name(name) and value not in self._name_by_key else value)
            for name, value in headers
        )
        request = replace(
            observed_request(method, url, body or None),
            headers=tuple(pair for pair in sent if pair[0] != KEY_HEADER),
            persona=self._name_by_key.get(key or ""),
        )
        exchange = Exchange(
            id=f"x{next(self._numbers):05d}",
            request=request,
            url=url,
            sent_headers=sent,
            status=status,
            headers=answer_headers,
            body=answer_body,
            started_at=datetime.fromtimestamp(began_unix_s, UTC),
            elapsed_ms=elapsed_ms,
            failure=None if status else failure,
        )
        return self._redactor.exchange(exchange)
