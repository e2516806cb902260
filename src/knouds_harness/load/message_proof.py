"""A proof in each message between the processes of a run that it comes from one of them."""

from __future__ import annotations

import hmac
import os
import secrets
from argparse import Namespace
from typing import Final

from locust.exception import RPCReceiveError
from locust.rpc.protocol import Message

from knouds_harness.errors import UsageError

TOKEN_VARIABLE: Final = "KNOUDS_HARNESS_WORKERS_TOKEN"  # noqa: S105 - a name
_ANY_ADDRESS: Final = "*"
_LOOPBACK: Final = "127.0.0.1"
_LENGTH: Final = 32


def require_proof(token: str) -> None:
    """Have Locust prove the token in each message that this process sends, and refuse others."""
    key, serialize, unserialize = token.encode(), Message.serialize, Message.unserialize

    def with_proof(message: Message) -> bytes:
        data: bytes = serialize(message)
        return hmac.digest(key, data, "sha256") + data

    def checked(data: bytes) -> Message:
        proof, rest = data[:_LENGTH], data[_LENGTH:]
        if not hmac.compare_digest(proof, hmac.digest(key, rest, "sha256")):
            raise RPCReceiveError("a message without the token of this run")
        message: Message = unserialize(rest)
        return message

    Message.serialize = with_proof  # type: ignore[method-assign]
    Message.unserialize = staticmethod(checked)  # type: ignore[method-assign]


def secure(parsed: Namespace) -> None:
    """Let only those take part whom the user has meant: processes of this machine, or those with the token.

    Raises:
        UsageError: Workers are to connect from elsewhere, and no address or no token is named.
    """
    token = os.environ.get(TOKEN_VARIABLE, "")
    if parsed.processes and not parsed.worker:
        parsed.master_bind_host = parsed.master_host = _LOOPBACK
        token = token or secrets.token_hex()
    elif not (parsed.master or parsed.worker):
        return
    elif parsed.master and parsed.master_bind_host == _ANY_ADDRESS:
        raise UsageError(
            "--master would listen to everybody\n"
            "  Add --master-bind-host ADDRESS, the address of this machine that workers connect to."
        )
    if not token:
        raise UsageError(
            f"{TOKEN_VARIABLE} is not set: anybody who can connect could lead the load, or end it\n"
            "  Set it to the same secret where the master and where each worker runs."
        )
    require_proof(token)
