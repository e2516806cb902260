"""Verifies the contract under load, in the process that leads, from copies of answers."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from copy import deepcopy
from typing import Any, Final

from knouds_harness.contract.document import shipped_document
from knouds_harness.contract.operations import LIMIT_BY_TIER, RUN_OPERATIONS
from knouds_harness.errors import UsageError
from knouds_harness.exchange.evidence import parsed_json
from knouds_harness.exchange.redaction import Redactor
from knouds_harness.load.client.response import Response
from knouds_harness.load.collection.rows import RequestRow
from knouds_harness.load.invariants.answer_checks import Verifier
from knouds_harness.load.invariants.observations import SHOWING_STATUS, Audit, Observations
from knouds_harness.load.invariants.rate_limits import RateLimits
from knouds_harness.load.invariants.tallies import NEEDS, OF_HISTORIES, Tallies
from knouds_harness.load.invariants.workflow_histories import BEGUN, WorkflowHistories
from knouds_harness.load.options import LoadOptions
from knouds_harness.load.workload.accounts import AccountKeys
from knouds_harness.load.workload.workload import HasTasks
from knouds_harness.runs.load_results import Invariant
from knouds_harness.runs.operation_load import OUTSIDE, RequestStatus
from knouds_harness.targets.profile import Target

_SAMPLED_SHARE: Final = 0.01
"""Share of the responses that is judged if no share is asked for."""
_LIMITED: Final = frozenset({*RUN_OPERATIONS, *(f"{each} async" for each in RUN_OPERATIONS)})
OBSERVED: Final = frozenset({*SHOWING_STATUS, *_LIMITED})
"""Operations of which every answer is observed."""


class LoadVerification:
    """Verifies copies of responses, a share of them by all checks.

    If a share is asked for, all runs, executions and rate limits are observed, as a part of them would prove
    nothing; otherwise only the windows of rate limits.
    """

    def __init__(
        self,
        options: LoadOptions,
        target: Target,
        *,
        share: float,
        is_alone: bool,
        audit: Audit | None = None,
    ) -> None:
        self.share = share
        self._observed = OBSERVED if share else _LIMITED
        self.tallies = Tallies()
        self._verifier = Verifier(
            shipped_document(),
            self.tallies,
            waivers=target.waivers,
            redactor=Redactor.for_target(target),
            share=share or _SAMPLED_SHARE,
            draw=random.Random(f"{options.seed} verify").random,
        )
        self.limits = RateLimits(self.tallies, most_in_flight=options.users, is_alone=is_alone)
        chance = random.Random(f"{options.seed} history")
        self._observations = Observations(self.tallies, self.limits, chance=chance)
        self._histories: dict[str, WorkflowHistories] = {}
        self._undecided = 0
        self._audit = audit
        self._personas = target.personas

    def look(self, row: RequestRow, *, epoch_s: float) -> RequestRow:
        """Verify the response to a request; if it breaks the contract, the request counts as wrong."""
        response = row.answer
        if response is None or response.sender is None:
            if row.wire is not None:
                self._verifier.pass_by(row.name, row.failure[0] if row.failure else 200)
            return self._attributed(row)
        sender = self._personas.get(response.sender)
        body = None
        if sender is not None and (self.share or sender.tier in LIMIT_BY_TIER) and row.name in self._observed:
            body = parsed(response)
            self._observations.observe(row.name, response, sender, body, at_unix_s=row.ended_s + epoch_s)
        broken = self._verifier.judge(row.name, response)
        if broken is None or row.status != RequestStatus.OK:
            return self._attributed(row)
        failure = response.status_code, broken.fact, f"{broken.fact}: {broken.shown}"
        return row._replace(status=RequestStatus.WRONG, failure=failure)

    def _attributed(self, row: RequestRow) -> RequestRow:
        """Name what answered in front of the API in place of an error code, which such an answer has not."""
        if row.failure is None or row.failure[1]:
            return row
        status_code, _, text = row.failure
        outside = self._verifier.outside(row.name, status_code)
        return row._replace(failure=(status_code, OUTSIDE + outside, text)) if outside else row

    def follow(self, worker: str, entries: Sequence[Sequence[Any]], epoch_s: float) -> None:
        histories = self._histories.setdefault(worker, WorkflowHistories())
        for kind, number, at_s, *about in entries:
            if kind == BEGUN:
                operation, path, sent = about
                histories.begin(number, operation, path, json.loads(sent), at_s=at_s + epoch_s)
            else:
                status, content, slug, is_own = about
                if slug is not None:
                    self._observations.observe_create(slug, is_own=is_own)
                created = slug if is_own else None
                histories.end(number, status, parsed_json(content)[0], created=created, at_s=at_s + epoch_s)

    def _add_up(self) -> None:
        self._verifier.add_up()
        self._undecided += sum(each.judge(self.tallies) for each in self._histories.values())

    def conclude(self, *, at_once: bool) -> Iterator[str]:
        """Check the accounts once load is over, unless it ends ``at_once``; yield what was not checked."""
        self._add_up()
        if self._undecided:
            yield (
                f"Reads of {self._undecided} workflows were not compared with what was written: "
                "it took too long."
            )
        yield from self.limits.gaps()
        if self._audit is None:
            return
        if at_once:
            yield "The run was cut short: usage and ended executions were not checked."
            return
        yield from self._audit.after(self._observations, self.tallies)

    def invariants(self) -> tuple[Invariant, ...]:
        self._add_up()
        so_far = deepcopy(self.tallies)
        self.limits.judge(so_far)
        found = so_far.invariants(needs=NEEDS)
        if self.share:
            return found
        return tuple(each for each in found if (each.fact, each.says) not in OF_HISTORIES)


def verified_share(options: LoadOptions, scenarios: Sequence[type[HasTasks]]) -> float:
    """Return the share of the answers to be verified: all of those of a scenario that crosses a limit."""
    return 1.0 if any(each.crosses_limit for each in scenarios) else options.verified_share


def open_verification(
    options: LoadOptions,
    target: Target | None,
    scenarios: Sequence[type[HasTasks]],
    *,
    accounts: Sequence[AccountKeys],
) -> LoadVerification | None:
    share = verified_share(options, scenarios)
    if target is None:
        if share:
            raise UsageError("--verify needs a target: --target sandbox, or another profile in targets/")
        return None
    if not (share or scenarios):
        return None
    audit = None
    if share:
        readers = [each.key_for("getExecution") or each.keys[0] for each in accounts]
        audit = Audit(target, readers, yes_production=options.yes_production)
        audit.before()
    is_alone = any(each.crosses_limit for each in scenarios)
    return LoadVerification(options, target, share=share, is_alone=is_alone, audit=audit)


def parsed(response: Response) -> Any:  # noqa: ANN401 - JSON
    """Return the body; None if there is none, or if it is not JSON."""
    try:
        return response.json() if response.status_code else None
    except ValueError:
        return None
