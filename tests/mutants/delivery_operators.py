"""Changes to webhook deliveries: their payload, signed anew, and their signature."""

import json
from collections.abc import Iterator
from dataclasses import replace

from mutants.mutant import Label, Mutant, breach, encoded, no_breach, with_header, without_header
from mutants.places import dropped, objects, places, pointer, replaced
from mutants.promises import DELIVERY

from knouds_harness.exchange.evidence import Pairs
from knouds_harness.exchange.recording import TEST_SECRET, Recording
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
    """The signature must cover the raw bytes, in the documented form, and be fresh.

    ``tests/unit/exchange`` has the forms, the formula and the edges of the window.
    """
    if recording.kind != "delivery":
        return
    request = recording.exchange.request
    raw = request.body or b""
    header = dict(request.headers)[HEADER]
    signature = Signature.read(header)
    assert signature is not None
    at, digest = signature.at_unix_s, signature.digest
    for operator, value, fact in (
        ("sign with another secret", sign(raw, secret="another secret of theirs", at_unix_s=at), _COVERS),
        ("alter the instant", header.replace(f"t={at}", f"t={at + 1}"), _COVERS),
        ("leave the instant out", f"v1={digest}", _FORM),
        ("empty it", "", _FORM),
        ("sign an hour ago", sign(raw, secret=TEST_SECRET, at_unix_s=at - 3600), _FRESH),
    ):
        headers = with_header(request.headers, HEADER, value)
        yield breach(_sent(recording, headers, raw), operator, fact)
    yield breach(_sent(recording, without_header(request.headers, HEADER), raw), "leave it out", _FORM)
    indented = json.dumps(json.loads(raw), indent=2).encode()
    yield breach(_sent(recording, request.headers, indented), "indent it after signing", _COVERS)
    for operator, value, label in (
        ("write the digest in capitals", f"t={at},v1={digest.upper()}", Label.EQUIVALENT),
        ("add a second scheme", f"{header},v2=0123", Label.ADDITIVE),
    ):
        headers = with_header(request.headers, HEADER.lower(), value)
        yield no_breach(_sent(recording, headers, raw), operator, label=label)


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
