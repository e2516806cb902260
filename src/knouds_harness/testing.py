"""The public interface: your own tests, facts and checks, recordings, the client and the sandbox.

The changelog has every change of a name in ``__all__``, and of the members that docs/extending.md and
docs/record.md list. The modules that Locust files import (docs/locust-users.md) are public, too. Every other
module may change at any time.
"""

import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from knouds_harness.client_transports import HarTransport, JudgingTransport
from knouds_harness.contract.operations import Action
from knouds_harness.exchange.client import Client
from knouds_harness.exchange.evidence import Call, Exchange, Request
from knouds_harness.exchange.har import HarWriter
from knouds_harness.exchange.recording import (
    TEST_SECRET,
    RecordedTransport,
    Recording,
    add_recorded_routes,
    load_recordings,
)
from knouds_harness.judging.claim import Claim
from knouds_harness.judging.user_checks import check, fact
from knouds_harness.suite.tester import Tester
from knouds_harness.targets.builtin import open_target
from knouds_harness.targets.guards import Guard
from knouds_harness.targets.profile import Target
from knouds_harness.targets.resources import Persona
from knouds_sandbox.providers import Latency
from knouds_sandbox.serving import RunningSandbox, running_sandbox

pytest_plugins = ["knouds_harness.suite.plugin"]

__all__ = [
    "TEST_SECRET",
    "Action",
    "Call",
    "Claim",
    "Client",
    "Exchange",
    "HarTransport",
    "JudgingTransport",
    "Latency",
    "Persona",
    "RecordedTransport",
    "Recording",
    "Request",
    "RunningSandbox",
    "Target",
    "Tester",
    "add_recorded_routes",
    "check",
    "fact",
    "load_recordings",
    "open_client",
    "running_sandbox",
]


@contextmanager
def open_client(
    target: str = "sandbox",
    *,
    credits: float | None = None,  # noqa: A002 - as the option of all commands
    evidence: Path | None = None,
    yes_production: bool = False,
) -> Iterator[Client]:
    """Open a target for a script; workflows that the script creates are deleted at the end.

    Args:
        target: Name or file of a profile; the built-in sandbox is started, and stopped at the end.
        credits: Spend at most this many credits; applies if it is below the profile's limit.
        evidence: HAR file for every exchange, redacted.
        yes_production: Allow a profile with ``production = true``.

    Yields:
        A client that keeps to the profile's limits.

    Raises:
        HarnessError: The profile is not usable, or a guard refuses the target.
        OSError: The HAR file cannot be written.
    """
    with ExitStack() as resources:
        profile = resources.enter_context(open_target(target)).spending(credits, by="credits")
        har = resources.enter_context(HarWriter(evidence)) if evidence else None
        client = resources.enter_context(
            Client(
                target=profile,
                guard=Guard(profile, yes_production=yes_production),
                on_exchange=har.add if har else lambda _: None,
            )
        )
        try:
            yield client
        finally:
            removed = client.remove_left()
            if removed.left:
                warnings.warn(f"left on the target: {', '.join(removed.left)}", stacklevel=3)
            if removed.was_interrupted:
                raise KeyboardInterrupt
