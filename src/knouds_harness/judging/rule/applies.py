"""Whether each documented reason to refuse applies to a request: True, False, or None if that is unknown.

Unknown is never no: what the profile, the request or earlier answers do not settle, a server may decide.
"""

from collections.abc import Callable
from typing import Final

from knouds_harness.contract.operations import EVERYTHING, LIMIT_BY_TIER, UNLIMITED, WITHOUT_KEYS
from knouds_harness.exchange.evidence import JSON
from knouds_harness.judging.rule.asked import EXTREME, AskedRequest, Known

Decision = Callable[[AskedRequest, Known], bool | None]

SOMEBODY: Final = "somebody else"
"""Owns what the sender knows to be foreign, if it does not say whose it is."""
_TIERS: Final = (*sorted(WITHOUT_KEYS), *LIMIT_BY_TIER, UNLIMITED)  # from the lowest
_SHORT: Final = 200
"""Every server takes texts of this length."""


def always_open(_: AskedRequest, __: Known) -> None:
    """Nothing that is known of a request settles it."""


def open_if(decide: Callable[[AskedRequest], object]) -> Decision:
    """Return a decision that is open for some requests, and no for all others."""
    return lambda asked, _: None if decide(asked) else False


def both(*parts: bool | None) -> bool | None:
    return False if False in parts else None if None in parts else True


# --- who sends it


def is_sent(how: str) -> Decision:
    """Whether the key was sent in this way, or falsified so."""
    return lambda asked, _: both(asked.is_secured, None if asked.key == "" else asked.key == how)


def is_in_state(state: str) -> Decision:
    return lambda asked, known: both(
        asked.is_secured and asked.key in ("", "known"), None if known.state is None else known.state == state
    )


def may_hold_no_key(asked: AskedRequest, known: Known) -> bool | None:
    """What a key of a tier without keys gets is open; one that has made a workflow is let in."""
    has_created = known.has_workflow and asked.operation_id == "createWorkflow"
    is_low = known.tier in WITHOUT_KEYS and known.role != "admin"
    return None if asked.is_secured and is_low and not has_created else False


def lacks_capability(asked: AskedRequest, known: Known) -> bool | None:
    """Whether the set that the key holds, its wildcards and bound forms do not meet what is required."""
    if asked.operation is None or not asked.operation.alternatives:
        return False
    is_open = known.held is not None and EVERYTHING in known.held and known.role != "admin"
    if known.held is None or asked.path_values is None or is_open:
        return None
    return not asked.operation.admits(known.held, asked.path_values)


def is_below_business(_: AskedRequest, known: Known) -> bool | None:
    """Whether a pro account runs a model; what a key of a lower tier gets is open."""
    if known.role == "admin" or known.tier in ("business", UNLIMITED):
        return False
    return True if known.tier == "pro" else None


def is_above_tier(asked: AskedRequest, known: Known) -> bool | None:
    """Whether a model needs more than the tier; profiles name a tier only if it is above business."""
    needed, tier = known.resource.needs_tier, known.tier
    if known.role == "admin" or is_below_business(asked, known) or tier == UNLIMITED:
        return False
    is_known = needed in _TIERS and tier in _TIERS
    return True if is_known and _TIERS.index(str(tier)) < _TIERS.index(str(needed)) else None


# --- what it names


def is_nowhere(asked: AskedRequest, known: Known) -> bool | None:
    """Whether nothing ever had this name."""
    found = known.resource
    if found.is_deleted or not asked.is_well_named:
        return False
    return None if found.exists is None else not found.exists


def is_private(asked: AskedRequest, known: Known) -> bool | None:
    """Whether a workflow that exists is not public."""
    found = known.resource
    is_there = found.exists is not False and not found.is_deleted and asked.is_well_named
    return both(is_there, None if found.is_public is None else not found.is_public)


def is_foreign(asked: AskedRequest, known: Known) -> bool | None:
    found = known.resource
    if found.exists is False or found.is_deleted or not asked.is_well_named:
        return False
    if found.owner is None or (known.user is None and found.owner != SOMEBODY):
        return None
    return found.owner != known.user


def is_foreign_and_private(asked: AskedRequest, known: Known) -> bool | None:
    """Whether it is another's, and neither public nor a template: who may read or run those is open."""
    found = known.resource
    is_certain = found.is_public is not True and found.is_template is False
    return both(True if is_certain else None, is_foreign(asked, known))


def is_foreign_to(*, admin: bool) -> Decision:
    """Whether it belongs to another account than that of an administrator, or of an ordinary user."""

    def decide(asked: AskedRequest, known: Known) -> bool | None:
        role = known.role if known.role or admin else "user"
        return both(None if role is None else (role == "admin") is admin, is_foreign(asked, known))

    return decide


def is_not_polled(asked: AskedRequest, known: Known) -> bool | None:
    """Whether an asynchronous run is asked of a model that is not polled; for workflows that is open."""
    if "async" not in asked.query or known.resource.exists is False or not asked.is_well_named:
        return False
    if not asked.is_async or asked.operation_id == "runWorkflow" or known.resource.is_polled is None:
        return None
    return not known.resource.is_polled


def has_ended(asked: AskedRequest, known: Known) -> bool | None:
    """Whether the execution has ended, or may have."""
    if known.resource.has_ended:
        return True
    return False if is_foreign(asked, known) or is_nowhere(asked, known) else None


# --- what it sends


def in_body(decide: Callable[[JSON], bool | None]) -> Decision:
    """Return a decision by the body: open if correct parsers disagree, or it is not declared as JSON."""

    def decide_by_body(asked: AskedRequest, _: Known) -> bool | None:
        is_undeclared = asked.sent is not None and not asked.is_json
        is_open = asked.sent is EXTREME or is_undeclared or not asked.is_body_known
        return None if is_open else decide(asked.sent)

    return decide_by_body


def is_object(sent: JSON) -> bool:
    return isinstance(sent, dict)


def _would_start(asked: AskedRequest) -> bool:
    return is_object(asked.sent) and is_object(asked.sent.get("inputs"))


def may_have_other_inputs(asked: AskedRequest, known: Known) -> bool | None:
    """Inputs of another type or name than the schema's may be refused: no source says that they are."""
    is_there = known.resource.exists is not False and asked.is_well_named
    return None if is_there and _would_start(asked) else False


def is_ordinary(document: JSON) -> bool:
    """Return whether every server takes a document: few plain words under documented names."""
    if not isinstance(document, dict):
        return False
    words = {name: value for name, value in document.items() if name in ("name", "description")}
    tags, rest = document.get("tags", []), document.keys() - words.keys() - {"tags", "publicPlayground"}
    texts = [*words.values(), *(tags if isinstance(tags, list) else [tags])]
    return (
        not rest
        and isinstance(document.get("publicPlayground", False), bool)
        and len(texts) <= 2 + len(words)
        and all(isinstance(each, str) and len(each) <= _SHORT and each.isprintable() for each in texts)
        and all(each.strip() for each in texts)
    )


def is_nameless(sent: JSON) -> bool:
    """Whether a document has no name, or one of spaces."""
    name = sent.get("name") if is_object(sent) else ""
    return is_object(sent) and (name is None or (isinstance(name, str) and not name.strip()))


def is_misshapen(sent: JSON) -> bool | None:
    """Whether a document is not an object; whether a server takes one that is not ordinary is its own."""
    if not is_object(sent):
        return True
    return False if is_ordinary(sent) or is_nameless(sent) else None


def has_other_type(asked: AskedRequest) -> bool:
    """Whether a body, sent or left out, is not declared as JSON."""
    takes_one = asked.operation is not None and asked.operation.request_schema is not None
    return not asked.is_json and (asked.body is not None or takes_one)


# --- what it costs, and when it comes


def is_unpaid(funds: str) -> Decision:
    """Whether the profile says that a paid run of the account ends so, and the run costs something.

    Numbers of credits settle nothing: others may use the account, and a price is the most that a run costs.
    """

    def decide(asked: AskedRequest, known: Known) -> bool | None:
        if any(each.endswith(("too-few-credits", "exhausted-grant")) for each in known.asserted):
            return False
        is_settled = known.funds in ("none", "exhausted") and _would_start(asked)
        is_paid = known.resource.is_paid
        return None if is_paid is None or not is_settled else is_paid and known.funds == funds

    return decide


def is_elsewhere(asked: AskedRequest, known: Known) -> bool | None:
    """Whether it goes to no documented operation; what is wrong with it is then for the sender to know."""
    return None if asked.operation is None and not known.asserted else False
