"""Redaction of recordings: besides keys and secrets, people and addresses are replaced.

Accounts of the profile's personas become ``{{user:ada}}`` and ``ada@redacted.example``. Others get numbers in
order of appearance, so equal values stay equal. Deliveries are signed again. The layout of bodies is kept.
"""

import json
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from typing import Final
from urllib.parse import urlsplit

from knouds_harness.exchange.evidence import JSON, TRACE_HEADER, Exchange, Pairs, members_of, parsed_json
from knouds_harness.exchange.recordings.recording import BASE_URL, TEST_SECRET
from knouds_harness.exchange.redaction import HIDDEN, PLACEHOLDER
from knouds_harness.exchange.traffic_redaction import TrafficRedactor, secrets_in
from knouds_harness.exchange.webhooks import HEADER, Signature, sign

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
_LEAST_LENGTH: Final = 4


class RecordingRedactor(TrafficRedactor):
    """Redacts ids and addresses of people, in addition to secrets."""

    def __init__(self, *, base_url: str = BASE_URL, personas: Collection[str] = ()) -> None:
        super().__init__(())
        self._personas = frozenset(personas)
        self._minted = 0
        self._pseudonym_by_value: dict[str, str] = {}
        self._values: re.Pattern[str] | None = None
        self._strangers = 0
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
            self._meet(_user_ids(parsed_json(body)[0]))
        receiver = members_of(exchange.members.get("webhookDelivery")).get("url")
        if isinstance(receiver, str) and not self.text(receiver).startswith(_RECEIVER):
            self.hide_receiver(receiver)
        signatures = {value for name, value in exchange.sent_headers if name.lower() == HEADER.lower()}
        self.hide(set(secrets_in(exchange)) - signatures)
        persona = request.persona
        is_minted = persona and self._personas and persona not in self._personas
        if is_minted and persona not in self._pseudonym_by_value:
            self._minted += 1
            self._know(persona, f"minted-{self._minted}")
        body = self._kept(exchange.body)
        request = replace(
            request,
            persona=request.persona and self.text(request.persona),
            path=self.text(request.path),
            path_values={name: self.text(value) for name, value in request.path_values.items()},
            query=self._texts(request.query),
            headers=self._texts(request.headers),
            body=request.body and self._kept(request.body),
        )
        return replace(
            exchange,
            request=request,
            url=self.text(exchange.url),
            sent_headers=_without_connection(
                _fitted(self._texts(exchange.sent_headers), request.body or b"")
            ),
            headers=_fitted(
                tuple((self.text(name), self._answered(name, value)) for name, value in exchange.headers),
                body,
            ),
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

    def _texts(self, pairs: Pairs) -> Pairs:
        return tuple((self.text(name), self.text(value)) for name, value in pairs)

    def _meet(self, user_ids: Iterable[str]) -> None:
        for user_id in user_ids:
            if user_id not in self._pseudonym_by_value and not PLACEHOLDER.fullmatch(user_id):
                self._strangers += 1
                self._know(user_id, f"{{{{user:{self._strangers}}}}}")

    def _address(self, found: re.Match[str]) -> str:
        address = found[0]
        if address.endswith(f"@{_MAIL_HOST}"):
            return address
        if address not in self._pseudonym_by_value:
            self._strangers += 1
            self._know(address, f"person-{self._strangers}@{_MAIL_HOST}")
        return self._pseudonym_by_value[address]

    def _know(self, value: object, pseudonym: str) -> None:
        if isinstance(value, str) and len(value) >= _LEAST_LENGTH:
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


def _without_connection(headers: Pairs) -> Pairs:
    return tuple((name, value) for name, value in headers if name.lower() not in _OF_THE_CONNECTION)
