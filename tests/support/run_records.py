"""Hand-made run records, for tests of what is rendered from them."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any

from clocks import Clock
from example_targets import make_key

from knouds_harness.contract.document import shipped_document
from knouds_harness.contract.operations import Action, Operation
from knouds_harness.exchange.evidence import Exchange, Request
from knouds_harness.judging.claim import Claim
from knouds_harness.judging.engine import finding_of
from knouds_harness.runs.findings import Finding, Verdict
from knouds_harness.runs.run_file import Cell, RunCheck, RunSetup, UntestedFact, run_setup
from knouds_harness.runs.writer import RunWriter
from knouds_harness.targets.profile import Target
from knouds_harness.targets.resources import Limits, Waiver

START = datetime(2026, 11, 25, 9, 30, tzinfo=UTC)
DOCUMENT = shipped_document()
ALL = "workflow:run workflow:read workflow:write model:run execution:read execution:cancel"
KEYS = {
    "full": ("ada", ALL.split()),
    "none": ("ada", []),
    "only-workflow-run": ("ada", ["workflow:run"]),
    "only-workflow-read": ("ada", ["workflow:read"]),
    "wildcard-workflow": ("ada", ["workflow:*"]),
    "bound-workflow": ("ada", ["workflow:portrait:run"]),
    "bound-model": ("ada", ["model:seedream-v5:run"]),
    "admin": ("root", ["*"]),
    "stranger": ("sam", ["workflow:run", "workflow:read", "workflow:write"]),
}
TARGET = Target(
    name="staging",
    base_url="https://staging.example.com",
    limits=Limits(
        credits=50.0, requests_per_s=20.0, allow=frozenset({Action.READ, Action.RUN, Action.WRITE})
    ),
    personas={
        name: make_key(
            name, user, "knouds_live_no-secret", capabilities=frozenset(capabilities), tier="enterprise"
        )
        for name, (user, capabilities) in KEYS.items()
    },
    missing={"keys.legacy": "environment variable STAGING_LEGACY_KEY is not set"},
    waivers=(
        Waiver(
            reason="The server follows the errors page until the spring release.",
            expires=date(2027, 3, 31),
            fact="envelope.plain-401-has-code",
        ),
        Waiver(reason="Fixed in October.", expires=date(2026, 10, 31), fact="run.cost-is-credits"),
    ),
)


CHECKS = {
    each.id: each
    for each in (
        RunCheck(
            id="capabilities.denied",
            family="capabilities",
            sentence="A key without what the operation asks for is refused, and told what would have passed.",
            facts=("capability.orthogonal", "capability.missing-is-403-denied"),
        ),
        RunCheck(
            id="schemas.body",
            family="schemas",
            sentence="Every body has the documented shape.",
            facts=tuple(fact for fact in DOCUMENT.facts if not fact.startswith("capability.")),
        ),
    )
}
SETUP = replace(
    run_setup(
        TARGET, command=("knouds-harness", "check", "--target", "staging"), seed=4711, checks=CHECKS.values()
    ),
    tool_version="0.1.0",
    python_version="3.11.7",
)


class SteppingClock(Clock):
    """A clock that advances by a fixed step at each reading."""

    def __init__(self, step_s: float = 0.01) -> None:
        super().__init__(0.0)
        self.step_s = step_s

    def __call__(self) -> float:
        self.now_s += self.step_s
        return self.now_s

    def now(self) -> datetime:
        return START + timedelta(seconds=self())


def start(
    root: Path, *, target: Target = TARGET, setup: RunSetup = SETUP, clock: SteppingClock | None = None
) -> RunWriter:
    clock = clock or SteppingClock()
    return RunWriter(root, kind="check", target=target, setup=setup, now=clock.now, clock=clock)


def exchange(
    number: int,
    operation: Operation | str,
    *,
    status: int | None = 200,
    body: Any = None,
    raw: bytes | None = None,
    persona: str | None = "full",
    sent: Any = None,
    headers: tuple[tuple[str, str], ...] = (),
) -> Exchange:
    """Make an exchange with one operation, and made-up path values."""
    if isinstance(operation, str):
        operation = DOCUMENT.operation_by_id[operation]
    path_values = dict.fromkeys(operation.path_parameters, "portrait")
    path = operation.url_path(path_values)
    return Exchange(
        id=f"x{number:05d}",
        request=Request(
            method=operation.method,
            path=path,
            operation_id=operation.id,
            persona=persona,
            path_values=path_values,
            body=None if sent is None else json.dumps(sent).encode(),
        ),
        url=f"https://staging.example.com{path}",
        sent_headers=(("accept", "application/json"), ("x-api-key", f"{{{{key:{persona}}}}}")),
        status=status,
        headers=(("content-type", "application/json"), *headers),
        body=json.dumps(body).encode() if raw is None else raw,
        started_at=START + timedelta(milliseconds=3 * number),
        elapsed_ms=2.345,
        failure=None if status is not None else "the connection was closed before the answer",
    )


def finding(
    shown_by: Exchange,
    fact: str,
    *,
    check: str = "schemas.body",
    expected: str = "what is documented",
    observed: str = "something else",
    where: str = "",
    **members: Any,
) -> Finding:
    """Make a finding of a check that need not exist."""
    made_up: Any = RunCheck(id=check, family=check.partition(".")[0], sentence="", facts=())
    claim = Claim(fact=fact, holds=False, expected=expected, observed=observed, where=where)
    return replace(finding_of(made_up, shown_by, claim), **members)


def add_finding(
    writer: RunWriter, shown_by: Exchange, fact: str, *, is_known: bool = False, **words: Any
) -> None:
    """Write an exchange (unless the record has it), the failed result and the finding."""
    found = finding(shown_by, fact, **words)
    if not is_known:
        writer.add_exchange(shown_by)
    writer.add_result(
        check=found.check, fact=fact, operation=found.operation, passed=False, exchange_id=shown_by.id
    )
    writer.add_finding(found)


def add_matrix(writer: RunWriter, *, wrong: tuple[tuple[str, str], ...] = ()) -> None:
    """Add a cell for each secured operation and persona; ``wrong`` ones admit whom they should refuse."""
    secured = [each for each in DOCUMENT.operations if not each.is_public]
    for number, (operation, persona) in enumerate(product(secured, TARGET.personas.values()), start=1):
        names = dict.fromkeys(operation.path_parameters, "portrait")
        is_admitted = operation.admits(persona.capabilities, names)
        is_wrong = (operation.id, persona.name) in wrong
        status, code = (404, "NOT_FOUND") if is_admitted or is_wrong else (403, "CAPABILITY_DENIED")
        body = {"error": "Refused", "code": code, "required": operation.alternatives}
        shown = exchange(number, operation, status=status, body=body, persona=persona.name)
        writer.cells.append(
            Cell(
                operation=operation.id,
                persona=persona.name,
                expected="admitted" if is_admitted else "denied",
                observed=f"{status} {code}",
                ok=not is_wrong,
                exchange_id=shown.id,
            )
        )
        check = "capabilities.denied"
        fact = "capability.exact-is-admitted" if is_admitted else "capability.orthogonal"
        if is_wrong:
            expected = f"403 CAPABILITY_DENIED: holds {', '.join(sorted(persona.capabilities))}"
            add_finding(writer, shown, fact, check=check, expected=expected, observed=f"{status} {code}")
        else:
            writer.add_exchange(shown)
            writer.add_result(
                check=check, fact=fact, operation=operation.id, passed=True, exchange_id=shown.id
            )


def add_verified(writer: RunWriter, share: Callable[[str], bool] = lambda _: True) -> None:
    """Add results that hold for every fact that is not about capabilities, and that ``share`` selects."""
    for number, fact in enumerate(DOCUMENT.facts.values()):
        if fact.id.startswith(("capability.", "webhook.")) or not share(fact.id):
            continue
        for operation in DOCUMENT.operations[number % 5 : number % 5 + 3]:
            for _ in range(number % 7 + 1):
                writer.add_result(
                    check="schemas.body",
                    fact=fact.id,
                    operation=operation.id,
                    passed=True,
                    exchange_id="x00001",
                )


def add_untested(writer: RunWriter) -> None:
    for fact in DOCUMENT.facts:
        if fact.startswith("webhook."):
            writer.add_untested(
                UntestedFact(check="schemas.body", fact=fact, operation=None, missing="a webhook receiver")
            )


def healthy(root: Path) -> Path:
    with start(root) as writer:
        add_matrix(writer)
        add_verified(writer)
        add_untested(writer)
        writer.finish("kept", 0)
    return writer.folder


def broken(root: Path) -> Path:
    """Make a run with a finding of each verdict, one of them waived."""
    costly = exchange(
        900,
        "runWorkflow",
        status=200,
        sent={"inputs": {"prompt": "a portrait", "count": 1}},
        body={
            "success": True,
            "result": {"images": ["https://cdn.example.com/1.png"]},
            "cost": "12",
            "ms": 31,
        },
        headers=(("x-ratelimit-limit", "many"),),
    )
    refused = exchange(901, "getWhoami", status=401, body={"error": "Unauthorized"}, persona=None)
    unknown = exchange(902, "getWorkflow", status=404, body={"error": "No such workflow"})
    listed = exchange(903, "getHealth", status=200, body=["up"], persona=None)
    grown = exchange(904, "getWhoami", status=200, body={"user": {"id": "u1", "team": "blue"}})
    cost, limit = "run.cost-is-credits", "rate.headers-are-integers"
    a_text, none = "a non-empty string", "no such member"
    waived = {"waived_by": "The server follows the errors page until the spring release."}
    is_new = {"verdict": Verdict.ADDITIVE}
    with start(root) as writer:
        add_matrix(
            writer, wrong=(("listWorkflows", "only-workflow-run"), ("getWorkflow", "only-workflow-run"))
        )
        add_verified(writer, lambda fact: fact not in (cost, limit))
        add_untested(writer)
        for shown, fact, expected, observed, where, more in (
            (costly, cost, "a number of at least 0", '"12"', "/cost", {"count": 41}),
            (costly, limit, "a whole number", '"many"', "header X-RateLimit-Limit", {"is_known": True}),
            (refused, "envelope.plain-401-has-code", a_text, none, "/code", waived),
            (unknown, "envelope.unknown-workflow-404-has-code", a_text, none, "/code", {}),
            (listed, "health.shape", "an object", "an array", "", {}),
            (grown, "whoami.user-object", "the named members", "a new member, team", "/user/team", is_new),
        ):
            add_finding(writer, shown, fact, expected=expected, observed=observed, where=where, **more)
        writer.finish("broken", 1)
    return writer.folder


def interrupted(root: Path) -> Path:
    """Make a run that was ended with Ctrl-C after two findings."""
    with start(root) as writer:
        add_matrix(writer, wrong=(("listWorkflows", "only-workflow-run"),))
        add_finding(
            writer, exchange(900, "getWhoami", status=None, raw=b""), "ground.responses-are-json-objects"
        )
        writer.finish("interrupted", 130, note="Interrupted from the keyboard.")
    return writer.folder


def empty(root: Path) -> Path:
    """Make a run that ended before its first request."""
    with start(root) as writer:
        writer.finish("stopped", 3, note="https://staging.example.com: connection refused")
    return writer.folder
