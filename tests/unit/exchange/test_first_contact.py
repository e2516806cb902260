"""What answers in place of the API is named before anything else is sent."""

import httpx
import pytest

from knouds_harness.errors import TargetUnreachable
from knouds_harness.exchange.first_contact import first_contact


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (
            httpx.Response(
                200, headers={"content-type": "text/html"}, content=b"<!doctype html><title>Log in"
            ),
            "answers 200 with HTML instead of JSON",
        ),
        (
            httpx.Response(502, content=b"  <html><h1>502 Bad Gateway"),
            "answers 502 with HTML instead of JSON",
        ),
        (
            httpx.Response(302, headers={"location": "https://login.example"}),
            "answers 302 with a redirect to https://login.example",
        ),
    ],
)
def test_first_contact_recognises_other_servers(client_answering, answer: httpx.Response, says: str):
    with pytest.raises(TargetUnreachable, match=says):
        first_contact(client_answering(answer))
