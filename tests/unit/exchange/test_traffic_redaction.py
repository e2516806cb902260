"""Secrets in traffic of others are hidden by their names, in any notation."""

import json

import pytest
from exchanges import exchange

from knouds_harness.contract.document import shipped_document
from knouds_harness.exchange.traffic_redaction import TrafficRedactor, is_secret_name

WHOAMI = shipped_document().operation_by_id["getWhoami"]
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

    shown = TrafficRedactor(()).foreign(seen, WHOAMI)

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

    assert TrafficRedactor(()).foreign(exchange(200, raw=body), WHOAMI).body == body
