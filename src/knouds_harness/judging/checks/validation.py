"""How a server handles invalid input."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from knouds_harness.exchange.evidence import Exchange
from knouds_harness.exchange.usage import MAX_LIMIT
from knouds_harness.judging.checks.usage import asked_limit, at_most
from knouds_harness.judging.claim import Claim, answer, check, code_is, status_is
from knouds_harness.judging.context import Case
from knouds_harness.targets.needs.keys import ANY_KEY, AUTHOR, WRITER
from knouds_harness.targets.needs.need import MAY_RUN


def _refused(exchange: Exchange, fact: str, *codes: str) -> Iterator[Claim]:
    yield status_is(exchange, 400, fact=fact)
    if exchange.status == 400:
        yield code_is(exchange, *codes, fact=fact)


def _is_4xx(exchange: Exchange, fact: str, expected: str) -> Claim:
    return Claim(
        fact=fact, holds=400 <= (exchange.status or 0) < 500, expected=expected, observed=answer(exchange)
    )


def _is_create_without_name(case: Case) -> bool:
    if case.operation_id != "createWorkflow" or not case.is_about_input or not isinstance(case.sent, dict):
        return False
    name = case.sent.get("name")
    return name is None or (isinstance(name, str) and not name.strip())


def _has_garbled_limit(case: Case) -> bool:
    is_asked = case.operation_id == "listUsage" and bool(case.query.get("limit"))
    return case.is_answered and is_asked and asked_limit(case) is None


@check("run.inputs-missing-is-invalid-inputs", applies=lambda case: case.run_defect == "inputs missing")
def inputs_missing(exchange: Exchange) -> Iterator[Claim]:
    """A run without inputs is a 400 INVALID_INPUTS."""
    yield from _refused(exchange, "run.inputs-missing-is-invalid-inputs", "INVALID_INPUTS")


@check("run.inputs-not-object-is-invalid-inputs", applies=lambda case: case.run_defect == "inputs not object")
def inputs_not_object(exchange: Exchange) -> Iterator[Claim]:
    """Inputs that are not an object, an array included, are a 400 INVALID_INPUTS."""
    yield from _refused(exchange, "run.inputs-not-object-is-invalid-inputs", "INVALID_INPUTS")


@check("run.body-not-json-is-invalid-body", applies=lambda case: case.run_defect == "body not JSON")
def body_not_json(exchange: Exchange) -> Iterator[Claim]:
    """A run body that is not JSON is a 400 INVALID_BODY."""
    yield from _refused(exchange, "run.body-not-json-is-invalid-body", "INVALID_BODY")


@check("run.body-no-object")
def body_no_object(exchange: Exchange) -> Iterator[Claim]:
    """A run body that is JSON but not an object, or is empty, is a 400."""
    yield from _refused(exchange, "run.body-no-object", "INVALID_BODY", "INVALID_INPUTS")


@check("run.bad-slug-is-invalid-slug", applies=lambda case: case.run_defect == "name")
def malformed_slug(exchange: Exchange) -> Iterator[Claim]:
    """A slug or model name with invalid characters is a 400 INVALID_SLUG."""
    yield from _refused(exchange, "run.bad-slug-is-invalid-slug", "INVALID_SLUG")


@check("workflows.create-requires-name", needs=(WRITER,), applies=_is_create_without_name)
def create_without_name(exchange: Exchange) -> Iterator[Claim]:
    """Create without a name is refused."""
    yield _is_4xx(exchange, "workflows.create-requires-name", "a refusal: there is no name")


@check("workflows.create-refusal-status", needs=(WRITER,))
def misshapen_create(exchange: Exchange) -> Iterator[Claim]:
    """A create whose document is misshapen is a 4xx."""
    yield _is_4xx(exchange, "workflows.create-refusal-status", "a 4xx: the document is misshapen")


@check("workflows.move-body", needs=(AUTHOR,))
def misshapen_move(exchange: Exchange) -> Iterator[Claim]:
    """A move without a usable folderId is a 4xx."""
    yield _is_4xx(exchange, "workflows.move-body", "a 4xx: folderId is missing, or neither a string nor null")


@check("usage.garbled-query", "usage.limit-at-most-500", needs=(ANY_KEY,), applies=_has_garbled_limit)
def garbled_usage_query(exchange: Exchange) -> Iterator[Claim]:
    """A garbled limit, offset or status never gets a 5xx or more than 500 rows."""
    status = exchange.status or 0
    yield Claim(
        fact="usage.garbled-query",
        holds=200 <= status < 300 or 400 <= status < 500,
        expected="clamped, ignored or refused",
        observed=answer(exchange),
    )
    yield from at_most(exchange, MAX_LIMIT, fact="usage.limit-at-most-500")


@check(
    "ground.bodiless-needs-no-content-type",
    needs=(ANY_KEY,),
    applies=lambda case: (
        case.operation and case.exchange.request.body is None and case.exchange.status == 415
    ),
)
def bodiless(exchange: Exchange) -> Iterator[Claim]:
    """A request without a body needs no Content-Type header."""
    yield Claim(
        fact="ground.bodiless-needs-no-content-type",
        holds=(exchange.status or 0) not in (0, 400, 415) and (exchange.status or 0) < 500,
        expected="a response as to any request",
        observed=answer(exchange),
    )


_REFUSED_BY_CODE: Mapping[str, str] = MappingProxyType(
    {
        "CAPABILITY_DENIED": "capability.missing-is-403-denied",
        "INVALID_SLUG": "run.bad-slug-is-invalid-slug",
        "INVALID_INPUTS": "run.inputs-not-object-is-invalid-inputs",
        "INVALID_BODY": "run.body-not-json-is-invalid-body",
        "MODEL_NOT_FOUND": "model.unknown-is-404",
        "MODEL_TIER_REQUIRED": "model.above-tier-is-403",
        "INSUFFICIENT_CREDITS": "run.too-few-credits-is-402",
        "grant_exhausted": "run.exhausted-grant-is-402",
    }
)


def fact_of_refusal(run: Exchange) -> str | None:
    """Return the fact that such a run is refused, synchronous or not; None if that may depend on the form."""
    if run.status == 401:
        return "auth.missing-key-is-401" if run.request.persona is None else None
    if run.status == 404 and run.request.operation_id == "runWorkflow":
        return "run.unknown-workflow-is-404"
    return _REFUSED_BY_CODE.get(run.code or "")


@check(
    "auth.missing-key-is-401",
    "run.unknown-workflow-is-404",
    *_REFUSED_BY_CODE.values(),
    needs=(ANY_KEY, MAY_RUN),
    given=("refused",),
)
def refused_in_either_form(exchange: Exchange, *, refused: Exchange) -> Iterator[Claim]:
    """A run that is refused in one form, synchronous or asynchronous, is refused in the other.

    ``refused`` is the response to the same request in the other form.
    """
    fact = fact_of_refusal(refused)
    if fact is not None:
        yield Claim(
            fact=fact,
            holds=not exchange.is_success,
            expected=f"a refusal, as the other form got: {answer(refused)}",
            observed=answer(exchange),
        )
