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
        *(
            (
                httpx.Response(status, content=b"  <html><h1>Bad Gateway"),
                f"answers {status}: a gateway answers without its server",
            )
            for status in (502, 503, 504)
        ),
        (
            httpx.Response(302, headers={"location": "https://login.example"}),
            "answers 302 with a redirect to https://login.example",
        ),
    ],
)
def test_first_contact_recognises_other_servers(client_answering, answer: httpx.Response, says: str):
    with pytest.raises(TargetUnreachable, match=says):
        first_contact(client_answering(answer), wait=lambda _: None)


def test_gateway_that_has_its_server_again_is_no_obstacle(client_answering):
    answers = [httpx.Response(502, text="<h1>"), httpx.Response(503), httpx.Response(200, json={"ok": True})]
    waited: list[float] = []

    contact = first_contact(client_answering(lambda _: answers.pop(0)), wait=waited.append)

    assert contact.status == 200
    assert len(waited) == 2
