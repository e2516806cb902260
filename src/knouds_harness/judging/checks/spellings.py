"""Whether other spellings of a request are guarded, and answered, like the plain one."""

from collections.abc import Collection, Iterator, Mapping
from http import HTTPStatus

from knouds_harness.exchange.evidence import Exchange
from knouds_harness.judging.claim import Claim, answer_is, check
from knouds_harness.judging.rule import reasons
from knouds_harness.targets.needs.keys import ANY_KEY

WITHOUT_KEY = "auth.missing-key-is-401"
WITHOUT_CAPABILITY = "capability.missing-is-403-denied"
_FOREIGN = (reasons.RUN_FOREIGN_WORKFLOW, reasons.READ_FOREIGN_WORKFLOW, reasons.WRITE_FOREIGN_WORKFLOW)
FOREIGN = {operation_id: reason.fact for reason in _FOREIGN for operation_id in reason.on}
"""The fact that an operation on somebody else's workflow is refused, by operation."""
_KEY = "auth.key-in-x-api-key"
_JSON = "ground.responses-are-json-objects"
_STATUS = "ground.status-is-documented"
HEADERS = "ground.header-forms-are-equal"
"""The (assumed) fact that other headers of a client do not change the answer."""
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


@check(WITHOUT_KEY, WITHOUT_CAPABILITY, *dict.fromkeys(FOREIGN.values()), needs=(ANY_KEY,))
def guarded(exchange: Exchange, *, refused_by: str, elsewhere: Exchange | None) -> Iterator[Claim]:
    """A refused request is refused in every spelling.

    ``refused_by`` is the fact that the plain request is refused; ``elsewhere`` the response to the same
    spelling of an unknown route, which shows what the server responds to anything. Nothing is claimed if a
    proxy gave that response.
    """
    if elsewhere is not None and (elsewhere.status in (None, 429) or elsewhere.is_from_outside):
        return
    is_answered_alike = elsewhere is not None and elsewhere.status == exchange.status
    holds = is_answered_alike or not lets_in(exchange)
    yield answer_is(exchange, "refused, as the plain request was", holds=holds, fact=refused_by)


@check(HEADERS, _KEY, _JSON, _STATUS, needs=(ANY_KEY,))
def answered_alike(
    exchange: Exchange, *, plain: Exchange, form: Mapping[str, str], statuses: Collection[int]
) -> Iterator[Claim]:
    """A request is answered alike with other headers that HTTP gives the same meaning.

    ``plain`` is the response to the usual headers, ``form`` the variation by dimension, and ``statuses`` are
    those that the document names. An answer that no page allows breaks what that page says; any other
    difference is one that no page speaks of.
    """
    sent = ", ".join(f"{name} {value}" for name, value in form.items())
    is_json = exchange.status is None or exchange.json_or_none() is not None
    came = exchange.answer if is_json else f"{exchange.answer} and a body that is not JSON"
    expected, fact = f"{plain.answer}, as with the usual headers", _broken_by(exchange, plain, form, statuses)
    yield Claim(expected, f"{came}, sent with {sent}", holds=is_alike(exchange, plain), fact=fact)


def is_alike(exchange: Exchange, plain: Exchange) -> bool:
    """Return whether two responses have the same status, code and kind of body."""
    forms = {(each.status, each.code, type(each.json_or_none())) for each in (exchange, plain)}
    return len(forms) == 1


def _broken_by(
    exchange: Exchange, plain: Exchange, form: Mapping[str, str], statuses: Collection[int]
) -> str:
    if is_alike(exchange, plain):
        return HEADERS
    if exchange.status == HTTPStatus.UNAUTHORIZED:
        return _KEY if form.keys() & {"header names", "order"} else HEADERS
    if exchange.json_or_none() is None:
        is_page = (exchange.header("content-type") or "").startswith("text/html")
        return HEADERS if is_page else _JSON  # a page comes from something in between
    return HEADERS if exchange.status in statuses else _STATUS
