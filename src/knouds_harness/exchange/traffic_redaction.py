"""Redact traffic that other tools captured, and recordings: their secrets are unknown, so little is kept.

Headers and query parameters keep only values that checks and people need. Bodies and URLs lose everything
that looks like a key, token or signature, values under names that suggest a secret, and every other
occurrence of such a value in the file. Recordings lose people and addresses as well.
"""

import itertools
import json
import re
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Final
from urllib.parse import quote, unquote, urlencode, urlsplit

from knouds_harness.contract.operations import Operation
from knouds_harness.exchange.evidence import (
    JSON,
    KEY_HEADER,
    TRACE_HEADER,
    Exchange,
    Pairs,
    members_of,
    members_once,
    parsed_json,
)
from knouds_harness.exchange.har import Recorded
from knouds_harness.exchange.recording import BASE_URL, TEST_SECRET
from knouds_harness.exchange.redaction import HIDDEN, PLACEHOLDER, Redactor
from knouds_harness.exchange.webhooks import HEADER, Signature, sign
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
_PARAMETER: Final = re.compile(r"(?:^|(?<=[?&;#]))([\w.%\[\]-]+)(=)([^&\s\"'<>#;]+)")
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
        text = _without_values(_PARAMETER, text, hidden=_HIDDEN_IN_URL)
        text = _SCHEME.sub(rf"\1 {HIDDEN}", _TOKEN.sub(HIDDEN, text))
        return _USER.sub(r"\1", text)

    def ours(self, exchange: Exchange) -> Exchange:
        return self._redactor.exchange(exchange)

    def foreign(self, exchange: Exchange, operation: Operation) -> Exchange:
        """Redact an exchange that another tool captured; raise RecursionError if it is nested too deeply."""
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
            return _without_values(_MEMBER, text).encode("utf-8", "surrogateescape")
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
            return _without_values(_MEMBER, self.text(text))
        clean = self._walked(document)
        return self.text(text if clean == document else json.dumps(clean))


def _is_like_json(text: str) -> bool:
    return text.lstrip()[:1] in ("{", "[")


def _without_values(pattern: re.Pattern[str], text: str, *, hidden: str = HIDDEN) -> str:
    """Hide what follows a name of a secret: in a URL, in text that is not JSON, or has a member twice."""

    def without_value(found: re.Match[str]) -> str:
        return f"{found[1]}{found[2]}{hidden}" if is_secret_name(unquote(found[1])) else found[0]

    return pattern.sub(without_value, text)


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


_EMAIL: Final = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]+(?:\.[\w-]+)+", re.ASCII)  # linear time
_TOKEN_OF_NAME: Final = re.compile(r"(?<=[Hh]arness[ -])[0-9a-f]{12}(?![0-9a-f])")  # differs in each run
_MAIL_HOST: Final = "redacted.example"
_USER_MEMBERS: Final = frozenset({"userId", "createdBy", "ownerId"})
_OF_THE_CONNECTION: Final = frozenset({"host", "connection", TRACE_HEADER})
_SENT_WITH_DELIVERIES: Final = frozenset(
    {"accept", "accept-encoding", "content-length", "content-type", "user-agent", HEADER.lower()}
)
_RECEIVER: Final = "https://receiver.example"
_HOOK: Final = "/webhook"
_LEAST_KNOWN: Final = 4


class RecordingRedactor(TrafficRedactor):
    """Redacts ids and addresses of people in recordings, in addition to secrets.

    Accounts of the profile become ``{{user:ada}}`` and ``ada@redacted.example``, others get numbers
    in order of appearance. Equal values stay equal. Deliveries are signed again. Bodies keep their layout.
    """

    def __init__(self, *, base_url: str = BASE_URL, personas: Collection[str] = ()) -> None:
        super().__init__(())
        self._personas = frozenset(personas)
        self._minted = itertools.count(1)
        self._pseudonym_by_value: dict[str, str] = {}
        self._values: re.Pattern[str] | None = None
        self._strangers = itertools.count(1)
        self._tokens: dict[str, str] = {}
        self._know(base_url, BASE_URL)

    def hide_receiver(self, address: str) -> None:
        """Replace the address where deliveries are received: its host, or the whole URL if it has a path."""
        is_whole = urlsplit(address).path not in ("", "/")
        self._know(address.rstrip("/"), f"{_RECEIVER}{_HOOK}" if is_whole else _RECEIVER)

    def introduce(self, whoami: Exchange, name: str) -> None:
        """Replace the id and address of the account in a whoami response by ``name`` from now on."""
        user = members_of(whoami.members.get("user"))
        self._know(user.get("id"), f"{{{{user:{name}}}}}")
        self._know(user.get("email"), f"{name}@{_MAIL_HOST}")

    def text(self, text: str) -> str:
        """Redact any text."""
        if self._values is not None:
            text = self._values.sub(lambda found: self._pseudonym_by_value[found[0]], text)
        # Numbered in each exchange: two workflows in a list stay different, and the next run matches.
        text = _TOKEN_OF_NAME.sub(
            lambda found: self._tokens.setdefault(found[0], f"{len(self._tokens):012x}"), text
        )
        return super().text(_EMAIL.sub(self._address, text))

    def ours(self, exchange: Exchange) -> Exchange:
        """Redact an exchange of our own, in which the client already replaced the keys."""
        request = exchange.request
        self._tokens.clear()
        for body in (request.body or b"", exchange.body):
            for user_id in _user_ids(parsed_json(body)[0]):
                if user_id not in self._pseudonym_by_value and not PLACEHOLDER.fullmatch(user_id):
                    self._know(user_id, f"{{{{user:{next(self._strangers)}}}}}")
        receiver = members_of(exchange.members.get("webhookDelivery")).get("url")
        if isinstance(receiver, str) and not self.text(receiver).startswith(_RECEIVER):
            self.hide_receiver(receiver)
        signatures = {value for name, value in exchange.sent_headers if name.lower() == HEADER.lower()}
        self.hide(set(secrets_in(exchange)) - signatures)
        persona = request.persona
        is_minted = persona and self._personas and persona not in self._personas
        if is_minted and persona not in self._pseudonym_by_value:
            self._know(persona, f"minted-{next(self._minted)}")
        body = self._kept(exchange.body)
        sent = [each for each in exchange.sent_headers if each[0].lower() not in _OF_THE_CONNECTION]
        request = replace(
            request,
            persona=persona and self.text(persona),
            path=self.text(request.path),
            path_values={name: self.text(value) for name, value in request.path_values.items()},
            query=self._texts(request.query),
            headers=self._texts(request.headers),
            body=request.body and self._kept(request.body),
        )
        answered = tuple((self.text(name), self._answered(name, value)) for name, value in exchange.headers)
        return replace(
            exchange,
            request=request,
            url=self.text(exchange.url),
            sent_headers=_fitted(self._texts(sent), request.body or b""),
            headers=_fitted(answered, body),
            body=body,
        )

    def delivery(self, exchange: Exchange, *, raw: bytes, secret: str) -> Exchange:
        """Redact a delivery, and sign the redacted body with ``TEST_SECRET``.

        A signature that did not match the raw bytes is left unchanged, so it still does not match.
        """
        clean = self.ours(exchange)

        def signed(name: str, value: str) -> str:
            given = Signature.read(value) if name.lower() == HEADER.lower() else None
            if given is None or not given.covers(raw, secret=secret):
                return value
            return sign(clean.request.body or b"", secret=TEST_SECRET, at_unix_s=given.at_unix_s)

        headers = tuple(
            (name, signed(name, value) if name.lower() in _SENT_WITH_DELIVERIES else HIDDEN)
            for name, value in clean.sent_headers
        )
        return replace(
            clean, sent_headers=headers, request=replace(clean.request, path=_HOOK, headers=headers)
        )

    def _kept(self, data: bytes) -> bytes:
        """Return a body without secrets, in its own layout if possible."""
        document, problem = parsed_json(data)
        laid_out = self.text(data.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
        try:
            clean = self._walked(document)
            if problem is not None:
                return self._body(data, is_request=False)
        except RecursionError:  # not a response of this API
            return HIDDEN.encode()
        if clean == document:
            return data
        return laid_out if parsed_json(laid_out)[0] == clean else json.dumps(clean).encode()

    def _texts(self, pairs: Iterable[tuple[str, str]]) -> Pairs:
        return tuple((self.text(name), self.text(value)) for name, value in pairs)

    def _address(self, found: re.Match[str]) -> str:
        address = found[0]
        if address.endswith(f"@{_MAIL_HOST}"):
            return address
        if address not in self._pseudonym_by_value:
            self._know(address, f"person-{next(self._strangers)}@{_MAIL_HOST}")
        return self._pseudonym_by_value[address]

    def _know(self, value: object, pseudonym: str) -> None:
        if isinstance(value, str) and len(value) >= _LEAST_KNOWN:
            self._pseudonym_by_value.setdefault(value, pseudonym)
            longest_first = sorted(self._pseudonym_by_value, key=len, reverse=True)
            self._values = re.compile("|".join(map(re.escape, longest_first)))


def _user_ids(value: JSON) -> Iterator[str]:
    """Yield the values of members that hold ids of users."""
    if isinstance(value, list):
        for item in value:
            yield from _user_ids(item)
    elif isinstance(value, dict):
        for name, item in value.items():
            if name in _USER_MEMBERS and isinstance(item, str):
                yield item
            elif name == "user" and isinstance(item, dict) and isinstance(item.get("id"), str):
                yield item["id"]
            yield from _user_ids(item)


def _fitted(headers: Pairs, body: bytes) -> Pairs:
    """Return headers with the length of the redacted body."""
    return tuple(
        (name, str(len(body)) if name.lower() == "content-length" else value) for name, value in headers
    )
