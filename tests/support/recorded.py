"""Recordings served again, through the client that really sends and the checks that really judge.

Nothing else is let through: a request without a recording fails the test, and so does an unused recording.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path

import httpx
from example_targets import make_key

from knouds_harness.contract.document import Document, shipped_document
from knouds_harness.contract.operations import Action
from knouds_harness.exchange.client import Client
from knouds_harness.exchange.created_workflows import CreatedWorkflows
from knouds_harness.exchange.evidence import KEY_HEADER, Exchange, Pairs, Request
from knouds_harness.exchange.recording import BASE_URL, RecordedTransport, Recording, load_recordings
from knouds_harness.suite.recorded.verification import judgement_of
from knouds_harness.targets.profile import Target
from knouds_harness.targets.resources import Limits
from knouds_harness.targets.secrets import Secret

FOLDER = Path(__file__).parent.parent / "recordings"
_KEY = re.compile(r"\{\{key:([\w-]+)\}\}")


class _AllOurs(CreatedWorkflows):
    """Allow all recorded writes: they concern workflows of another run, and go no further than respx."""

    def is_ours(self, slug: str) -> bool:  # noqa: ARG002 - as its base
        return True


@cache
def document() -> Document:
    """Return the shipped document; read once."""
    return shipped_document()


@cache
def recordings() -> Mapping[str, Recording]:
    """Return every recording, by name."""
    return load_recordings(FOLDER)


def recording(name: str) -> Recording:
    """Return one of them, such as ``getWhoami-401-legacy``."""
    return recordings()[name]


def story_of(recording: Recording) -> list[Recording]:
    """Return the recordings that were made together with this one."""
    return [each for each in recordings().values() if recording.story and each.story == recording.story]


def secret_of(persona: str) -> str:
    """Return the stand-in for a persona's key while recordings are served."""
    return f"knouds_live_recorded-{persona}-0123456789"


def make_target(*served: Recording, **limits: object) -> Target:
    """Make a target with the personas that recordings name."""
    bounds = {"credits": 0.0, "allow": frozenset(Action), "timeout_s": 5.0, **limits}
    return Target(
        name="recorded",
        base_url=BASE_URL,
        limits=Limits(**bounds),  # type: ignore[arg-type]  # whatever the test asks for
        personas={
            name: make_key(
                name, name, secret_of(name), capabilities=frozenset(each.held or ()), tier=each.tier or "pro"
            )
            for each in served
            if (name := each.exchange.request.persona) is not None
        },
    )


@contextmanager
def serving(*served: Recording, **limits: object) -> Iterator[Client]:
    """Make a client whose target returns recorded responses, each once, in the given order.

    Raises:
        AssertionError: Another request was sent, or a recording was not used.
    """
    transport = RecordedTransport(*map(_with_keys_in_its_url, served))
    target = make_target(*served, **limits)
    created = _AllOurs(target=target)
    created.proof.listed.update((each.user, frozenset()) for each in target.personas.values())
    now = served[0].exchange.started_at
    with Client(target=target, created=created, transport=transport, now=lambda: now) as client:
        for persona in ("full", "none", "unknown"):  # keys that recordings show outside of their header
            client.redactor.add(Secret(secret_of(persona), f"key:{persona}"))
        yield client
    assert not transport.unused, "recordings that were not asked for"


def _with_keys_in_its_url(recording: Recording) -> Recording:
    url = httpx.URL(recording.exchange.url)
    params = [(name, _restored(value)) for name, value in url.params.multi_items()]
    return replace(recording, exchange=replace(recording.exchange, url=str(url.copy_with(params=params))))


def request_of(recording: Recording) -> tuple[Request, Secret | None]:
    """Return the request to send, and its key if that is not the persona's own."""
    request = recording.exchange.request
    sent = [value for name, value in recording.exchange.sent_headers if name.lower() == KEY_HEADER]
    key = Secret(_restored(sent[-1]), "key:sent") if sent and request.persona is None else None
    restored = replace(
        request,
        query=tuple((name, _restored(value)) for name, value in request.query),
        headers=_restored_pairs(request.headers),
        is_deliberate=True,
    )
    return restored, key


def replayed(recording: Recording) -> Exchange:
    """Send one recording through the client again, and return the exchange."""
    with serving(recording) as client:
        request, key = request_of(recording)
        return client.send(request, key=key)


def breaches(recording: Recording) -> tuple[str, ...]:
    """Return what checks find in a recording that would fail a run."""
    story = story_of(recording)
    return judgement_of(recording, story=story).breaches


def _restored(text: str) -> str:
    return _KEY.sub(lambda found: secret_of(found[1]), text)


def _restored_pairs(pairs: Pairs) -> Pairs:
    return tuple((name, _restored(value)) for name, value in pairs)
