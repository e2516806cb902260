"""Changes to webhook deliveries: their payload, signed anew, and their signature."""

import hashlib
import hmac
import json
from collections.abc import Iterator
from dataclasses import replace

from mutants.mutant import Label, Mutant, breach, encoded, no_breach, with_header, without_header
from mutants.places import dropped, objects, places, pointer, replaced
from mutants.promises import DELIVERY

from knouds_harness.exchange.evidence import Pairs
from knouds_harness.exchange.recordings.recording import TEST_SECRET, Recording
from knouds_harness.exchange.webhooks import HEADER, Signature, sign

_COVERS = "webhook.signature-covers-raw-body"
_FORM = "webhook.signature-header"
_FRESH = "webhook.timestamp-is-fresh"
_PAYLOAD = "webhook.payload-shape"
_AGREES = "webhook.agrees-with-poll"
_WRONG_KINDS = {"string": 7, "array": "text", "object": []}


def payloads(recording: Recording) -> Iterator[Mutant]:
    """Change the payload, and sign it as a server would."""
    payload = _payload(recording)
    if payload is None:
        return
    for member in DELIVERY:
        for steps in places(payload, member.place):
            yield _said(recording, "drop", dropped(payload, steps), *member.facts, place=pointer(steps))
            for kind in member.kinds[:1]:
                wrong = _WRONG_KINDS[kind]
                changed = replaced(payload, steps, wrong)
                yield _said(recording, f"write {wrong!r}", changed, *member.facts, place=pointer(steps))
    for operator, body in (("write an array", [payload]), ("write a text", "ended"), ("write null", None)):
        yield _said(recording, operator, body, _PAYLOAD)
    for steps in objects(payload):
        added = replaced(payload, (*steps, "newMember"), [1])
        yield _same(recording, "add a member", encoded(added), label=Label.ADDITIVE, place=pointer(steps))
    yield _same(recording, "indent it", json.dumps(payload, indent=2).encode())
    yield _same(recording, "turn its members round", encoded(dict(reversed(payload.items()))))


def endings(recording: Recording) -> Iterator[Mutant]:
    """The event must be that of the end, and agree with polling."""
    payload = _payload(recording)
    if payload is None or recording.outcome != "taken":  # no other delivery has a recorded poll
        return
    ended = str(payload["status"])
    fits = "webhook.event-fits-ending"
    for other in ("completed", "failed", "cancelled"):
        if other != ended:
            event = {**payload, "event": f"execution.{other}"}
            yield _said(recording, f"announce {other}", event, fits, _PAYLOAD, _AGREES, place="/event")
            status = {**payload, "status": other}
            yield _said(recording, f"say {other}", status, fits, _PAYLOAD, _AGREES, place="/status")
            both = {**payload, "event": f"execution.{other}", "status": other}
            yield _said(recording, f"announce and say {other}", both, fits, _PAYLOAD, _AGREES)
    for unknown in ("execution.done", "completed", "EXECUTION.COMPLETED"):
        changed = {**payload, "event": unknown}
        yield _said(recording, f"announce {unknown}", changed, fits, _PAYLOAD, place="/event")


def signatures(recording: Recording) -> Iterator[Mutant]:
    """The signature must cover the raw bytes, with the secret, in the documented form, and be fresh."""
    if recording.kind != "delivery":
        return
    request = recording.exchange.request
    raw = request.body or b""
    header = dict(request.headers)[HEADER]
    signature = Signature.read(header)
    assert signature is not None
    at, digest = signature.at_unix_s, signature.digest

    def signed(secret: str = TEST_SECRET, *, over: bytes = raw, at_unix_s: int = at) -> str:
        return sign(over, secret=secret, at_unix_s=at_unix_s)

    for operator, value, facts in (
        ("sign with another secret", signed("another secret of theirs"), (_COVERS,)),
        ("sign other bytes", signed(over=raw + b" "), (_COVERS,)),
        ("sign the body without the instant", f"t={at},v1={_bare(raw)}", (_COVERS,)),
        ("alter the instant", header.replace(f"t={at}", f"t={at + 1}"), (_COVERS,)),
        ("flip a digit", f"t={at},v1={_flipped(digest)}", (_COVERS,)),
        ("cut the digest", f"t={at},v1={digest[:40]}", (_FORM, _COVERS)),
        ("call it sha256", f"sha256={digest}", (_FORM, _COVERS)),
        ("leave the instant out", f"v1={digest}", (_FORM, _COVERS)),
        ("call it v2", header.replace("v1=", "v2="), (_FORM, _COVERS)),
        ("count in milliseconds", signed(at_unix_s=at * 1000), (_FRESH, _FORM)),
        ("write the instant as ISO 8601", f"t=2026-11-25T17:14:58Z,v1={digest}", (_FORM, _COVERS)),
        ("sign an hour ago", signed(at_unix_s=at - 3600), (_FRESH,)),
        ("sign in the future", signed(at_unix_s=at + 3600), (_FRESH,)),
        ("sign at the epoch", signed(at_unix_s=0), (_FRESH,)),
        ("empty it", "", (_FORM, _COVERS)),
    ):
        headers = with_header(request.headers, HEADER, value)
        yield _signed(recording, operator, headers, *facts)
    yield _signed(recording, "leave it out", without_header(request.headers, HEADER), _FORM)
    renamed = with_header(without_header(request.headers, HEADER), "X-Hub-Signature", header)
    yield _signed(recording, "call the header otherwise", renamed, _FORM)
    for operator, body in (
        ("indent it after signing", json.dumps(json.loads(raw), indent=2).encode()),
        ("append a newline after signing", raw + b"\n"),
        ("change a letter after signing", raw.replace(b"execution.", b"Execution.", 1)),
    ):
        yield breach(_sent(recording, request.headers, body), operator, _COVERS)
    for operator, value in (
        ("write the digest in capitals", f"t={at},v1={digest.upper()}"),
        ("sign some seconds earlier", signed(at_unix_s=at - 20)),
        ("sign some seconds later", signed(at_unix_s=at + 20)),
    ):
        headers = with_header(request.headers, HEADER.lower(), value)
        yield no_breach(_sent(recording, headers, raw), operator)
    more = with_header(request.headers, HEADER, f"{header},v2=0123")
    yield no_breach(_sent(recording, more, raw), "add a second scheme", label=Label.ADDITIVE)


def _payload(recording: Recording) -> dict[str, object] | None:
    if recording.kind != "delivery":
        return None
    payload = json.loads(recording.exchange.request.body or b"null")
    return payload if isinstance(payload, dict) else None


def _said(recording: Recording, operator: str, payload: object, *facts: str, place: str = "") -> Mutant:
    return breach(_resigned(recording, encoded(payload)), operator, *facts, place=place)


def _same(
    recording: Recording, operator: str, body: bytes, label: Label = Label.EQUIVALENT, place: str = ""
) -> Mutant:
    return no_breach(_resigned(recording, body), operator, label=label, place=place)


def _signed(recording: Recording, operator: str, headers: Pairs, *facts: str) -> Mutant:
    return breach(_sent(recording, headers, recording.exchange.request.body or b""), operator, *facts)


def _resigned(recording: Recording, body: bytes) -> Recording:
    headers = recording.exchange.request.headers
    signature = Signature.read(dict(headers)[HEADER])
    assert signature is not None
    value = sign(body, secret=TEST_SECRET, at_unix_s=signature.at_unix_s)
    return _sent(recording, with_header(headers, HEADER, value), body)


def _sent(recording: Recording, headers: Pairs, body: bytes) -> Recording:
    exchange = recording.exchange
    request = replace(exchange.request, headers=headers, body=body)
    return replace(recording, exchange=replace(exchange, request=request, sent_headers=headers))


def _bare(raw: bytes) -> str:
    return hmac.new(TEST_SECRET.encode(), raw, hashlib.sha256).hexdigest()


def _flipped(digest: str) -> str:
    return ("1" if digest[0] == "0" else "0") + digest[1:]
