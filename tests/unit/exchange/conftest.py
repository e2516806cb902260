"""Clients whose target is a function; they open no connection."""

import httpx
import pytest
from example_targets import make_target

from knouds_harness.exchange.client import Client
from knouds_harness.targets.profile import Target


@pytest.fixture
def client_answering():
    """Make a client whose target answers what a function of the httpx request returns."""
    clients = []

    def client_answering(answer, *, target: Target | None = None, **options) -> Client:
        handler = answer if callable(answer) else lambda _: answer
        clients.append(
            Client(target=target or make_target(), transport=httpx.MockTransport(handler), **options)
        )
        return clients[-1]

    yield client_answering
    for client in clients:
        client.close()
