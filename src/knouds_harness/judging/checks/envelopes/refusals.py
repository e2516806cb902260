"""Which cause gets which refusal: its status, its code, and what it must not reveal."""

import json
from collections.abc import Iterator

from knouds_harness.exchange.evidence import Exchange
from knouds_harness.judging.claim import Claim, by_rule, check
from knouds_harness.judging.rule import reasons
from knouds_harness.judging.rule.values import documented_body
from knouds_harness.targets.needs import runs
from knouds_harness.targets.needs.keys import ANY_KEY, MODEL_RUNNER, TWO_AUTHORS, WORKFLOW_RUNNER
from knouds_harness.targets.needs.rate_limits import FILLABLE_WINDOW
from knouds_harness.targets.needs.workflows import FOREIGN_WORKFLOW, FOREIGN_WORKFLOW_RUN, PRIVATE_WORKFLOW


def refused_alike(exchange: Exchange, *, of_existing: Exchange) -> Iterator[Claim]:
    """Claim that a refusal is the same whether or not the resource exists.

    Compares status, code and documented members, without the message for people and the names of resources.
    Nothing is claimed unless both are refusals, other than a 429.
    """
    refusals = (of_existing, exchange)
    if all(each.status is not None and 400 <= each.status < 500 and each.status != 429 for each in refusals):
        known, unknown = map(_told, refusals)
        yield Claim(holds=unknown == known, expected=f"{known}, as of one that exists", observed=unknown)


def _told(refusal: Exchange) -> str:
    """Return what a refusal tells programs, with ``*`` for the name of the resource."""
    members, documented = refusal.members, documented_body(refusal).members
    told = {name: members[name] for name in documented if name in members and name not in ("error", "code")}
    text = json.dumps(told, sort_keys=True, ensure_ascii=False)
    for name in refusal.request.path_values.values():
        text = text.replace(name, "*")
    return refusal.answer + (f" with {text}" if told else "")


@check("envelope.code-is-constant", needs=(ANY_KEY,))
def constant_code(exchange: Exchange, *, earlier: Exchange) -> Iterator[Claim]:
    """The same cause gives the same code for every resource."""
    yield Claim(
        holds=exchange.code == earlier.code,
        expected=f"{earlier.code}, as for another resource",
        observed=exchange.answer,
        where="/code",
    )


unknown_route = by_rule(reasons.UNKNOWN_ROUTE)
wrong_method = by_rule(reasons.WRONG_METHOD)
oversized_body = by_rule(reasons.OVERSIZED)
unknown_workflow = by_rule(reasons.UNKNOWN_WORKFLOW)
unknown_schema = by_rule(reasons.UNKNOWN_SCHEMA)
private_public_schema = by_rule(reasons.PRIVATE_PUBLIC_SCHEMA, PRIVATE_WORKFLOW)
run_unknown_workflow = by_rule(reasons.RUN_UNKNOWN_WORKFLOW, WORKFLOW_RUNNER)
run_foreign_workflow = by_rule(reasons.RUN_FOREIGN_WORKFLOW, FOREIGN_WORKFLOW_RUN)
read_foreign_workflow = by_rule(reasons.READ_FOREIGN_WORKFLOW, FOREIGN_WORKFLOW)
write_foreign_workflow = by_rule(reasons.WRITE_FOREIGN_WORKFLOW, TWO_AUTHORS)
unknown_execution = by_rule(reasons.UNKNOWN_EXECUTION)
foreign_execution = by_rule(reasons.FOREIGN_EXECUTION)
unknown_model = by_rule(reasons.UNKNOWN_MODEL, MODEL_RUNNER)
disabled_model = by_rule(reasons.DISABLED_MODEL, runs.DISABLED_MODEL)
model_above_tier = by_rule(reasons.MODEL_ABOVE_TIER, runs.ENTERPRISE_MODEL)
model_run_under_business = by_rule(reasons.MODEL_RUN_UNDER_BUSINESS, runs.PRO_MODEL_RUN)
async_not_supported = by_rule(reasons.ASYNC_NOT_SUPPORTED, runs.UNPOLLED_MODEL)
too_few_credits = by_rule(reasons.TOO_FEW_CREDITS, runs.BROKE_RUN)
exhausted_grant = by_rule(reasons.EXHAUSTED_GRANT, runs.EXHAUSTED_RUN)
provider_failure = by_rule(reasons.PROVIDER_FAILURE, runs.FAILING_RUN)
over_limit = by_rule(reasons.OVER_LIMIT, FILLABLE_WINDOW)
