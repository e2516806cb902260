"""Secrets in traffic of others are hidden by their names; recordings hold no personal data either."""

import json
from dataclasses import replace

import pytest
from exchanges import exchange
from recorded import recording

from knouds_harness.contract.document import shipped_document
from knouds_harness.exchange.recording import TEST_SECRET
from knouds_harness.exchange.redaction import HIDDEN
from knouds_harness.exchange.traffic_redaction import RecordingRedactor, TrafficRedactor, is_secret_name
from knouds_harness.exchange.webhooks import HEADER, Signature, sign

GET_WHOAMI = shipped_document().operation_by_id["getWhoami"]
SECRET = "hunter2-without-any-prefix"
PEM = f"-----BEGIN RSA PRIVATE KEY-----\n{SECRET}\nabc=\n-----END RSA PRIVATE KEY-----"


@pytest.mark.parametrize(
    "body",
    [
        json.dumps({"pass": SECRET}),
        json.dumps({"db": {"PASS": SECRET}}),
        json.dumps({"dbPass": [SECRET]}),
        json.dumps({"note": PEM}),
        json.dumps({"note": PEM.partition("\nabc")[0]}),
        f"<pre>{PEM}</pre>",
        f'{{"pass": "{SECRET}", "pass": ""}}',
        f'{{"a": {{"password": "{SECRET}", "password": null}}}}',
        json.dumps({"note": json.dumps({"pass": SECRET})}),
        json.dumps({"note": json.dumps([{"token": SECRET, "also": json.dumps({"pw": SECRET})}])}),
        json.dumps({"note": f'{{"pass": "{SECRET}", "pass": ""}}'}),
    ],
)
def test_secret_is_hidden_in_any_notation(body: str):
    """Under a name of a secret, in a PEM block, in a repeated member, in JSON inside a string."""
    seen = exchange(200, raw=body.encode())

    shown = TrafficRedactor(()).foreign(seen, GET_WHOAMI)

    assert SECRET.encode() not in shown.body


@pytest.mark.parametrize(
    ("names", "is_secret"),
    [
        ("passed compass passenger pwned author required slug executionId", False),
        ("accessToken X-Amz-Signature api_key apiKey client-secret", True),
    ],
)
def test_names_of_secrets_are_recognised_by_whole_words(names: str, *, is_secret: bool):
    """So "author" is not taken for an authorization."""
    assert {name: is_secret_name(name) for name in names.split()} == dict.fromkeys(names.split(), is_secret)


@pytest.mark.parametrize("text", ['{"a": 1}', "[", "{no JSON", "[1, 2]", "plain"])
def test_text_without_a_secret_stays_as_it_is(text: str):
    body = json.dumps({"note": text}).encode()

    assert TrafficRedactor(()).foreign(exchange(200, raw=body), GET_WHOAMI).body == body


WHOAMI = recording("getWhoami-200-user").exchange
UPDATE = recording("updateWorkflow-200-written").exchange
DELIVERY = recording("receiveExecutionCompleted-204-taken").exchange

CANARIES = {
    "address": "canary.person+tag@private.example",
    "signed URL": "https://media.example/a?X-Amz-Signature=51gnedcanary8c1f00d5e7a9&n=1",
    "token": "Bearer c4n4ry70k3n.0f9e8d7c6b5a",
    "web token": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ.c4n4ry51gn4tur3",
    "key": "knouds_live_c4n4rykey0f9e8d7c6b5a",
    "password in a URL": "https://canary:c4n4rypassw0rd@host.example/",
    "known user": "usr_c4n4ryknown",
    "receiver": "https://hooks.private.example/c4n4ryhook",
    "target": "https://c4n4ry.internal.example",
}
SECRET_PARTS = ("c4n4ry", "51gnedcanary", "canary.person")


@pytest.fixture
def redactor():
    """A redactor that knows a user, the target and the receiver."""
    redactor = RecordingRedactor(base_url=CANARIES["target"], personas=["full"])
    redactor.hide_receiver(CANARIES["receiver"])
    user = {**WHOAMI.json()["user"], "id": CANARIES["known user"], "email": "known.canary@private.example"}
    redactor.introduce(replace(WHOAMI, body=json.dumps({"user": user}).encode()), "ada")
    return redactor


PLACES = {
    "member of the answer": lambda e, c: replace(e, body=json.dumps({"a": [{"b": c}]}).encode()),
    "name of a member": lambda e, c: replace(e, body=json.dumps({c: 1}).encode()),
    "inside a text": lambda e, c: replace(e, body=json.dumps({"error": f"no: '{c}', sorry"}).encode()),
    "text that is no JSON": lambda e, c: replace(e, body=f"<html>{c}</html>".encode()),
    "bytes that are no text": lambda e, c: replace(e, body=b"\xff " + c.encode() + b" \xfe"),
    "header of the answer": lambda e, c: replace(e, headers=(*e.headers, ("x-debug", c))),
    "known header": lambda e, c: replace(e, headers=(*e.headers, ("server", f"nginx {c}"))),
    "cookie": lambda e, c: replace(e, headers=(*e.headers, ("set-cookie", f"a={c}"))),
    "header of the request": lambda e, c: replace(e, sent_headers=(*e.sent_headers, ("x-note", c))),
    "asked header": lambda e, c: replace(e, request=replace(e.request, headers=(("x-note", c),))),
    "body of the request": lambda e, c: replace(
        e, request=replace(e.request, body=json.dumps({"note": c}).encode())
    ),
    "query": lambda e, c: replace(e, request=replace(e.request, query=(("q", c),))),
    "path value": lambda e, c: replace(e, request=replace(e.request, path_values={"slug": c})),
    "path": lambda e, c: replace(e, request=replace(e.request, path=f"/api/workflows/{c}")),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", CANARIES)
def test_secret_is_removed_in_every_place(redactor, kind, place):
    clean = redactor.ours(PLACES[place](UPDATE, CANARIES[kind]))

    assert [part for part in SECRET_PARTS if part in repr(clean)] == []


@pytest.mark.parametrize("member", ["userId", "createdBy", "ownerId"])
def test_unknown_user_is_removed_everywhere_once_a_member_names_them(redactor, member):
    body = {"rows": [{member: "usr_c4n4rystranger", "says": "made by usr_c4n4rystranger"}]}

    clean = redactor.ours(replace(UPDATE, body=json.dumps(body).encode()))

    assert clean.json() == {"rows": [{member: "{{user:1}}", "says": "made by {{user:1}}"}]}


def test_secret_seen_in_one_place_is_removed_everywhere(redactor):
    exchange = replace(
        UPDATE,
        headers=(*UPDATE.headers, ("set-cookie", "sid=c4n4ry0123456789abcdef")),
        body=b'{"note": "c4n4ry0123456789abcdef", "password": "c4n4rypass1", "x": "c4n4rypass1"}',
    )

    clean = redactor.ours(exchange)

    assert clean.json() == {"note": "{{hidden}}", "password": "{{hidden}}", "x": "{{hidden}}"}


def test_equal_values_stay_equal_and_different_ones_different(redactor):
    def redacted(**members):
        return redactor.ours(replace(UPDATE, body=json.dumps(members).encode())).json()

    first = redacted(createdBy="usr_1111", by="one@x.example")
    second = redacted(createdBy=["usr_2222"], by=["two@x.example", "one@x.example"], userId="usr_1111")

    assert second["userId"] == first["createdBy"]
    assert second["by"][1] == first["by"] != second["by"][0]


def test_body_keeps_its_layout(redactor):
    body = b'{ "error" : "caf\\u00e9",\n\t"to": "canary.person@private.example" , "n": 1.50}'

    clean = redactor.ours(replace(UPDATE, body=body))

    assert clean.body == b'{ "error" : "caf\\u00e9",\n\t"to": "person-1@redacted.example" , "n": 1.50}'


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"text": "%s"}' % (b"[" * 100_000)])
def test_body_that_is_nested_too_deeply_is_hidden_whole(redactor, body):
    assert redactor.ours(replace(WHOAMI, body=body)).body == HIDDEN.encode()


def test_what_holds_no_secret_any_more_stays_as_it_is(redactor):
    """The length that is told is that of the redacted body."""
    once = redactor.ours(replace(UPDATE, body=json.dumps({"userId": "usr_9", "x": CANARIES}).encode()))

    assert redactor.ours(once) == once
    assert once.header("content-length") == str(len(once.body))
    assert redactor.ours(UPDATE) == UPDATE


def test_minted_key_gets_a_stable_name(redactor):
    """Its own name is random."""
    minted = "minted-4c350e6fc28e"
    request = replace(UPDATE.request, persona=minted)
    exchange = replace(UPDATE, request=request, sent_headers=(("x-api-key", f"{{{{key:{minted}}}}}"),))

    clean = redactor.ours(exchange)

    assert clean.request.persona == "minted-1"
    assert clean.sent_headers == (("x-api-key", "{{key:minted-1}}"),)


@pytest.mark.parametrize("by", ["whsec_c4n4ry0123456789", "whsec_another_secret_0123"])
def test_delivery_is_signed_anew(redactor, by):
    """The old one would not fit the redacted body, and depend on the real secret; a wrong one stays wrong."""
    raw = (DELIVERY.request.body or b"").replace(b"{{user:ada}}", b"usr_c4n4ryknown")
    headers = (
        ("content-type", "application/json"),
        (HEADER, sign(raw, secret=by, at_unix_s=int(DELIVERY.started_at.timestamp()))),
        ("x-trace", "c4n4ry"),
    )
    request = replace(DELIVERY.request, headers=headers, body=raw, path="/c4n4ry/hook")
    secret = "whsec_c4n4ry0123456789"

    clean = redactor.delivery(
        replace(DELIVERY, request=request, sent_headers=headers), raw=raw, secret=secret
    )

    signature = Signature.read(dict(clean.sent_headers)[HEADER])
    assert signature is not None
    assert signature.covers(clean.request.body or b"", secret=TEST_SECRET) is (by == secret)
    assert "c4n4ry" not in repr(clean)


def test_receiver_that_an_answer_names_is_hidden():
    """Also if the profile has no [webhook]."""
    body = {
        "executionId": "e1",
        "webhookDelivery": {"configured": True, "url": "https://hooks.example.org/x"},
    }
    exchange = replace(UPDATE, body=json.dumps(body).encode())

    clean = RecordingRedactor().ours(exchange)

    assert clean.json()["webhookDelivery"]["url"] == "https://receiver.example/webhook"


@pytest.mark.parametrize("text", ["x" * 2_000_000, "x." * 1_000_000, '{"a": "' + "y" * 2_000_000 + '"}'])
def test_long_text_is_redacted_in_one_pass(text):
    """A very long body must not take minutes."""
    assert RecordingRedactor().text(text) == text
