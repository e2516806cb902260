"""Strangers can neither lead a load nor end it."""

from argparse import Namespace
from typing import Any

import pytest
from locust.exception import RPCReceiveError
from locust.rpc.protocol import Message

from knouds_harness.errors import UsageError
from knouds_harness.load.message_proof import TOKEN_VARIABLE, require_proof, secure


@pytest.fixture(autouse=True)
def unpatched(monkeypatch):
    """Give Locust back its own messages at the end."""
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    monkeypatch.setattr(Message, "serialize", Message.serialize)
    monkeypatch.setattr(Message, "unserialize", Message.unserialize)


def parsed(**given: Any) -> Namespace:
    nothing = {
        "master": False,
        "worker": False,
        "processes": None,
        "master_bind_host": "*",
        "master_host": "m",
    }
    return Namespace(**nothing | given)


def test_message_with_the_token_is_read():
    require_proof("secret")

    found = Message.unserialize(Message("knouds-stop", {"reason": "x"}, "a").serialize())

    assert (found.type, found.data, found.node_id) == ("knouds-stop", {"reason": "x"}, "a")


def test_message_without_the_token_is_refused():
    plain = Message("knouds-stop", {"reason": "x"}, "a").serialize()
    require_proof("secret")
    mine = Message("client_ready", None, "a").serialize()

    for data in (plain, b"", mine[:-1] + b"x", mine[:32] + plain):
        with pytest.raises(RPCReceiveError, match="without the token"):
            Message.unserialize(data)


def test_processes_of_this_machine_listen_on_loopback_alone():
    options = parsed(processes=2)

    secure(options)

    assert (options.master_bind_host, options.master_host) == ("127.0.0.1", "127.0.0.1")
    with pytest.raises(RPCReceiveError):
        Message.unserialize(b"\x93" + bytes(40))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"master": True}, "--master-bind-host"),
        ({"master": True, "master_bind_host": "10.0.0.1"}, TOKEN_VARIABLE),
        ({"worker": True}, TOKEN_VARIABLE),
    ],
)
def test_workers_elsewhere_need_an_address_and_the_token(given, says):
    with pytest.raises(UsageError, match=says):
        secure(parsed(**given))


def test_token_of_the_environment_lets_workers_elsewhere_take_part(monkeypatch):
    monkeypatch.setenv(TOKEN_VARIABLE, "shared")
    options = parsed(master=True, master_bind_host="10.0.0.1")
    plain = Message("stats", None, "a").serialize()

    secure(options)

    assert options.master_bind_host == "10.0.0.1"
    assert len(Message("stats", None, "a").serialize()) == len(plain) + 32


def test_process_of_its_own_needs_nothing():
    secure(parsed())

    assert Message.unserialize(Message("stats", None, "a").serialize()).type == "stats"
