"""Choices on open points: each shows in answers, and one line repeats what a seed draws."""

import asyncio
import json
import re
import time
from typing import Any

import httpx
import pytest

from knouds_sandbox.app import build_app
from knouds_sandbox.engine import RETRY_AFTER_S
from knouds_sandbox.errors import SandboxError, UnknownName
from knouds_sandbox.legal.points import BETWEEN, SERVER, chosen, drawn
from knouds_sandbox.seeding import seeded_keys

# What shows only over time, in HTTP itself, or to keys that are minted.
ELSEWHERE = {"stop", "http", "retries", "window", "delay-ms", "in-flight", "cancel", "star"}
CHOICES = [
    (option, name, value)
    for option, table in (("legal", SERVER), ("between", BETWEEN))
    for name, values in table.items()
    if name not in ELSEWHERE
    for value in values[1:]
    if value != "renamed"  # what the server does not send by itself
]
NAME = " Cafe\u0301 \r\n" + "two " * 40
NODE = {"id": "a", "type": "note", "position": {"x": 0, "y": 0}, "data": {}, "extra": 1}
DOCUMENT = {"name": NAME, "nodes": [NODE], "unknown": True}
RUN: dict[str, Any] = {"inputs": {}}
WITHOUT_TYPE = "a body without a content type"
NEW_EACH_TIME = (b"content-length", b"x-ratelimit-reset")
DEEP, DEEPER = ({**NODE, "data": {"deep": json.loads("[" * levels + "]" * levels)}} for levels in (30, 90))
REQUESTS: tuple[Any, ...] = (
    ("full", "GET", "/api/workflows"),
    ("full", "GET", "/api/workflows/starter-template"),
    ("full", "GET", "/api/workflows/stranger-private"),
    ("full", "GET", "/api/workflows/No_Slug"),
    ("full", "PUT", "/api/workflows/stranger-private", {"name": "x"}),
    ("full", "PUT", "/api/workflows/starter-template", {"name": "x"}),
    ("full", "POST", "/api/workflows/starter-template/run", RUN),
    ("full", "POST", "/api/workflows", DOCUMENT),
    ("full", "POST", "/api/workflows", {"name": "x" * 400}),
    ("full", "POST", "/api/workflows", {"name": ""}),
    ("full", "POST", "/api/workflows", {"name": "deep", "nodes": [DEEP]}),
    ("full", "POST", "/api/workflows", {"name": "deeper", "nodes": [DEEPER]}),
    ("full", "POST", "/api/workflows", {"name": "long", "description": "x" * 3000}),
    ("full", "PUT", "/api/workflows/none", []),
    ("pro-model", "POST", "/api/models/none/run", RUN),
    ("pro", "POST", "/api/workflows/pia-portrait/run", []),
    ("pro", "POST", "/api/models/none/run", RUN),
    ("business-second", "POST", "/api/models/claude-sonnet/run", RUN),
    ("business", "POST", "/api/models/claude-sonnet/run", RUN),
    ("full", "GET", "/api/usage"),
    ("full", "POST", "/api/workflows", {"name": "large", "description": "x" * 1_100_000}),
    ("full", "POST", "/api/workflows", WITHOUT_TYPE),
    ("full", "PUT", "/api/workflows/portrait", {"description": ""}),
    ("full", "GET", "/api/workflows/portrait"),
    ("full", "DELETE", "/api/workflows/none"),
    ("full", "PATCH", "/api/workflows"),
    ("full", "TRACE", "/api/whoami"),
    ("full", "GET", "/api//whoami"),
    ("full", "GET", "/api/whoami?a=<script>"),
    ("full", "GET", "/api/me"),
    ("full", "GET", "/api/usage?limit=x"),
    ("full", "GET", "/api/usage/models"),
    ("full", "GET", "/api/usage"),
    ("full", "POST", "/api/models/claude-sonnet/run", RUN),
    ("full", "POST", "/api/models/claude-sonnet/run", []),
    ("full", "POST", "/api/models/failing-model/run", RUN),
    ("full", "POST", "/api/workflows/sunset-clip/run?async=true", RUN),
    ("read-only", "POST", "/api/workflows/none/run", []),
    ("read-only", "PUT", "/api/workflows/none", []),
    ("pro", "POST", "/api/models/none/run", RUN),
    ("pro", "POST", "/api/workflows/pia-portrait/run", RUN),
    ("pro", "GET", "/api/whoami"),
    ("pro", "POST", "/api/workflows", {"name": "of pia"}),
    ("full", "GET", "/api/usage"),
    ("full", "GET", "/api/executions/{ended}"),
    ("full", "POST", "/api/executions/{ended}/cancel"),
    ("free", "POST", "/api/workflows", {"name": "first"}),
    ("free", "POST", "/api/workflows", {"name": "second"}),
    ("", "GET", "/api/whoami"),
    ("", "GET", "/api/health"),
)


def answers(**options):
    """Send the requests to a new sandbox; return what it answers, without what is new each time."""

    async def send():
        app, services = build_app(seed=1, now_unix_s=time.time, **options)
        keys = seeded_keys(services.store)
        (ended,) = services.store.row(
            "SELECT execution_id FROM runs WHERE status = 'completed' AND execution_id IS NOT NULL"
        )
        transport = httpx.ASGITransport(app)
        shown = []
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            for who, method, path, *body in REQUESTS:
                headers = {"x-api-key": keys[who]} if who else {}
                sent = {"content": b"{}"} if body == [WITHOUT_TYPE] else {"json": body[0] if body else None}
                answer = await client.request(method, path.format(ended=ended), headers=headers, **sent)
                raw = [
                    (name, "" if name.lower() in NEW_EACH_TIME else _without_names(value.decode()))
                    for name, value in answer.headers.raw
                ]
                shown.append((answer.status_code, sorted(raw), _without_names(answer.text)))
        services.store.close()
        return shown

    return asyncio.run(send())


def _without_names(text):
    text = re.sub(r'"(ms|durationMs)":( ?)[0-9.]+', r'"\1":\g<2>0', text)
    text = re.sub(r"(?<=[_\"/-])[0-9a-f-]{12,}", "x", text)
    return re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+", lambda found: re.sub(r"\d", "0", found[0]), text)


@pytest.fixture(scope="module")
def own():
    return answers(legal="own", between="own")


def test_own_choices_are_those_of_the_sandbox(own):
    assert answers() == own


@pytest.mark.parametrize(("option", "name", "value"), CHOICES)
def test_choice_shows(own, option, name, value):
    changed = answers(**{"legal": "own", "between": "own", option: f"own,{name}={value}"})

    assert changed != own


def test_every_retry_schedule_is_a_choice():
    assert tuple(RETRY_AFTER_S) == SERVER["retries"]


@pytest.mark.parametrize("seed", range(20))
def test_printed_line_repeats_what_a_seed_draws(seed):
    (line,) = chosen(f"{seed},limited=runs", None)

    option, text = line.split(" ")
    assert option == "--legal"
    assert drawn(option, text, SERVER) == drawn(option, f"{seed},limited=runs", SERVER)


def test_http_1_0_has_no_chunks():
    assert drawn("--legal", "own,http=1.0,body=chunked", SERVER)["body"] == "length"


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [
        ("x", SandboxError, "begin with a whole number or own"),
        ("-1", SandboxError, "begin with a whole number"),
        ("1,trm=yes", UnknownName, 'Did you mean "trim"'),
        ("1,trim=maybe", SandboxError, "trim is one of no, yes, not 'maybe'"),
        ("1,trim", SandboxError, "trim is one of no, yes"),
    ],
)
def test_unknown_choice_is_refused(text, error, says):
    with pytest.raises(error, match=says):
        drawn("--legal", text, SERVER)
