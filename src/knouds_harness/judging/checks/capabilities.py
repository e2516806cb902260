"""Which key may do what: admitted by the documented rule, or refused and told the missing capability."""

from collections.abc import Collection, Iterator, Mapping

from knouds_harness.contract.operations import Operation
from knouds_harness.contract.shapes import as_json
from knouds_harness.exchange.evidence import JSON, Exchange
from knouds_harness.judging.checks.envelopes.refusals import refused_alike
from knouds_harness.judging.checks.workflows import as_written, summaries_of
from knouds_harness.judging.claim import Claim, answer, check
from knouds_harness.judging.context import Case
from knouds_harness.judging.workflow_model import documented_body
from knouds_harness.targets.needs.keys import ANY_KEY, AUTHOR
from knouds_harness.targets.needs.need import CONTROL


def is_denial(exchange: Exchange) -> bool:
    """Return whether the key or its capabilities were refused, and not what it asked for."""
    return exchange.status == 401 or exchange.code == "CAPABILITY_DENIED"


def why_admitted(operation: Operation, held: Collection[str], path_values: Mapping[str, str]) -> str:
    """Return the fact that admits a key, in the documented order of precedence."""
    required = operation.required_capabilities(path_values)
    if not required:
        return "capability.any-valid-key-suffices"
    if "*" in held:
        return "capability.star-is-admitted"
    if required[0] in held:
        return "capability.exact-is-admitted"
    if f"{required[0].partition(':')[0]}:*" in held:
        return "capability.resource-wildcard-is-admitted"
    return "capability.bound-form-is-admitted"


def why_denied(operation: Operation, held: Collection[str], path_values: Mapping[str, str]) -> str:
    """Return the fact that refuses a key: the one about the nearest permission that it holds."""
    required = operation.required_capabilities(path_values)
    resource = required[0].partition(":")[0]
    is_bound = any(
        capability.startswith(f"{resource}:") and capability.count(":") == 2 for capability in held
    )
    if is_bound:
        return "capability.bound-form-is-exact" if len(required) > 1 else "capability.bound-form-only-runs"
    if any(capability.endswith(":*") for capability in held):
        return "capability.wildcard-stays-in-resource"
    return "capability.orthogonal" if held else "capability.missing-is-403-denied"


def _is_wrongly_denied(case: Case) -> bool:
    """Whether a key was denied although it holds what is required, or although nothing is required."""
    is_denied = case.is_answered and case.exchange.code == "CAPABILITY_DENIED"
    if not is_denied or case.operation is None or case.is_open or case.is_below_models:
        return False
    asks_for_nothing = not case.operation.is_public and not case.operation.alternatives
    return case.is_admitted or (asks_for_nothing and case.key_state in ("", "active"))


def _is_denied_or_ought_to_be(case: Case) -> bool:
    """Whether a key was denied, or a known key that lacks what is required was not."""
    if not case.is_answered or case.operation is None or not case.operation.alternatives:
        return False
    if case.is_admitted or case.is_open:
        return False
    is_known = case.key_state == "active"
    is_let_in = case.exchange.is_success or case.exchange.status == 401  # other refusals may come first
    return case.exchange.code == "CAPABILITY_DENIED" or (is_known and is_let_in)


@check(
    "capability.any-valid-key-suffices",
    "capability.star-is-admitted",
    "capability.exact-is-admitted",
    "capability.resource-wildcard-is-admitted",
    "capability.bound-form-is-admitted",
    needs=(ANY_KEY,),
    given=("operation", "held", "path_values"),
    applies=_is_wrongly_denied,
    alone=lambda _: {"held": ()},
)
def admitted(
    exchange: Exchange, *, operation: Operation, held: Collection[str], path_values: Mapping[str, str]
) -> Iterator[Claim]:
    """A key that holds what the operation requires is not refused for its capabilities."""
    yield Claim(
        fact=why_admitted(operation, held, path_values),
        holds=not is_denial(exchange),
        expected=f"admitted: holds {_shown(held)}",
        observed=answer(exchange),
    )


@check(
    "capability.missing-is-403-denied",
    "capability.orthogonal",
    "capability.wildcard-stays-in-resource",
    "capability.bound-form-is-exact",
    "capability.bound-form-only-runs",
    "capability.denied-names-required",
    needs=(ANY_KEY,),
    given=("operation", "held", "path_values"),
    applies=_is_denied_or_ought_to_be,
    alone=lambda _: {"held": ()},
)
def denied(
    exchange: Exchange, *, operation: Operation, held: Collection[str], path_values: Mapping[str, str]
) -> Iterator[Claim]:
    """A key without what the operation requires is refused, and told which capability would suffice."""
    yield Claim(
        fact=why_denied(operation, held, path_values),
        holds=exchange.status == 403 and exchange.code in ("CAPABILITY_DENIED", None),
        expected=f"403 CAPABILITY_DENIED: holds {_shown(held)}",
        observed=answer(exchange),
    )
    required = exchange.members.get("required")
    if exchange.status == 403 and required:
        named = required_of(exchange)
        yield Claim(
            fact="capability.denied-names-required",
            holds=any(operation.admits({capability}, path_values) for capability in named),
            expected=" or ".join(operation.required_capabilities(path_values)),
            observed=_shown(named) if named else as_json(required),
            where="/required",
        )


@check("capability.denial-tells-nothing", given=("of_existing",))
def denied_alike(exchange: Exchange, *, of_existing: Exchange) -> Iterator[Claim]:
    """A key without the capability gets the same refusal whether or not the resource exists."""
    yield from refused_alike(exchange, of_existing=of_existing, fact="capability.denial-tells-nothing")


@check("capability.denied-names-required", needs=(CONTROL,), given=("granted",))
def granting_what_was_required(exchange: Exchange, *, granted: str) -> Iterator[Claim]:
    """A key that is granted what a refusal named as required is admitted."""
    yield Claim(
        fact="capability.denied-names-required",
        holds=not is_denial(exchange),
        expected=f"admitted: now holds {granted}, which the refusal named",
        observed=answer(exchange),
    )


@check("capability.denial-has-no-effect", needs=(AUTHOR,), given=("before",))
def nothing_changed(exchange: Exchange, *, before: Mapping[str, JSON]) -> Iterator[Claim]:
    """A refused write leaves the workflow as it was.

    ``before`` is the workflow as read before it.
    """
    documented = documented_body(exchange).members or before
    known = {name: before.get(name) for name in documented} if before else {}
    yield from as_written(exchange, known, fact="capability.denial-has-no-effect")


@check("capability.denial-has-no-effect", needs=(AUTHOR,), given=("name",))
def nothing_created(exchange: Exchange, *, name: str) -> Iterator[Claim]:
    """A refused create leaves no workflow behind."""
    summaries = summaries_of(exchange)
    if summaries is not None:
        names = [summary.get("name") for summary in summaries]
        yield Claim(
            fact="capability.denial-has-no-effect",
            holds=name not in names,
            expected="no workflow of the refused name",
            observed=f'a workflow "{name}"',
        )


def required_of(exchange: Exchange) -> tuple[str, ...]:
    """Return the capabilities in ``required``, a string or a list: the docs leave open which."""
    required = exchange.members.get("required") if exchange.status == 403 else None
    if isinstance(required, str):
        return (required,)
    return tuple(item for item in required if isinstance(item, str)) if isinstance(required, list) else ()


def _shown(capabilities: Collection[str]) -> str:
    return ", ".join(sorted(capabilities)) or "nothing"
