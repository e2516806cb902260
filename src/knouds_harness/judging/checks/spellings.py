"""Whether other spellings of a request are guarded like the plain one."""

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
"""The fact that an operation on somebody else's workflow is refused, by operation."""
_NAMING_METHODS = ("allow", "access-control-allow-methods")


def lets_in(exchange: Exchange) -> bool:
    """Return whether the response shows that the request was let in.

    Runs are sent with inputs that are not an object, so that they cannot start: INVALID_INPUTS means let in.
    A response that names methods is the server's normal one to OPTIONS.
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
    """A refused request is refused in every spelling.

    ``refused_by`` is the fact that the plain request is refused; ``elsewhere`` the response to the same
    spelling of an unknown route, which shows what the server responds to anything.
    """
    is_answered_alike = elsewhere is not None and elsewhere.status == exchange.status
    yield Claim(
        fact=refused_by,
        holds=is_answered_alike or not lets_in(exchange),
        expected="refused, as the plain request was",
        observed=answer(exchange),
    )
