"""Whether another spelling of a request is guarded as the plain one is."""

from collections.abc import Iterator

from knouds_harness.exchange.evidence import Exchange
from knouds_harness.judging.checks.isolation import ON_WORKFLOWS
from knouds_harness.judging.claim import Claim, answer, check
from knouds_harness.targets.needs.keys import ANY_KEY

WITHOUT_KEY = "auth.missing-key-is-401"
WITHOUT_CAPABILITY = "capability.missing-is-403-denied"
FOREIGN = {
    operation_id: refusal.fact
    for operation_id, refusal in ON_WORKFLOWS.items()
    if operation_id != "getPublicWorkflowSchema"  # which needs no key
}
"""The fact by which an operation on somebody else's workflow is refused."""
_NAMING_METHODS = ("allow", "access-control-allow-methods")


def lets_in(exchange: Exchange) -> bool:
    """Whether an answer is one that only a request that was let in gets.

    What is sent to run something has inputs that are not an object, so that it cannot start. An answer that
    names methods is one to OPTIONS itself.
    """
    method = exchange.request.method
    if not exchange.is_success:
        return exchange.code == "INVALID_INPUTS"
    if method == "OPTIONS" and any(map(exchange.header, _NAMING_METHODS)):
        return False
    return method == "HEAD" or exchange.json_or_none() is not None


@check(
    WITHOUT_KEY,
    WITHOUT_CAPABILITY,
    *dict.fromkeys(FOREIGN.values()),
    needs=(ANY_KEY,),
    given=("refused_by", "elsewhere"),
)
def guarded(exchange: Exchange, *, refused_by: str, elsewhere: Exchange | None) -> Iterator[Claim]:
    """What is refused is refused in every spelling of the request.

    ``refused_by`` is the fact by which the plain request was refused; ``elsewhere`` the answer to the same
    spelling of a route that does not exist, which shows what the server answers to anything.
    """
    is_answered_alike = elsewhere is not None and elsewhere.status == exchange.status
    yield Claim(
        fact=refused_by,
        holds=is_answered_alike or not lets_in(exchange),
        expected="refused, as the plain request was",
        observed=answer(exchange),
    )
