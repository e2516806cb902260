"""Whether deliveries arrive once, are signed, and agree with polling.

The exchange of these checks is the delivery (a request of the target), or the last poll of the execution.
"""

from collections.abc import Iterator
from typing import Final

from knouds_harness.contract.operations import FINAL
from knouds_harness.contract.shapes import as_json, delivery_mismatches
from knouds_harness.exchange.evidence import JSON, Exchange, body_of, is_final, members_of, status_in
from knouds_harness.exchange.webhooks import HEADER, WINDOW_S, Signature, payload_of
from knouds_harness.judging.claim import Claim, check, member_is, mismatch_claim
from knouds_harness.targets.needs.webhooks import NOT_RECEIVING, RECEIVING

_NEEDS = (RECEIVING,)
_MADE: Final = ("images", "videos", "audios", "text")
_WHERE = f"header {HEADER}"


@check("async.webhook-delivery-shape", needs=_NEEDS)
def announced(exchange: Exchange) -> Iterator[Claim]:
    """A submit by a key with a webhook and webhook:receive says that delivery is configured."""
    delivery = body_of(exchange).get("webhookDelivery")
    if isinstance(delivery, dict) and isinstance(delivery.get("configured"), bool):
        expected, where = "configured: true, as the key has a webhook", "/webhookDelivery/configured"
        yield Claim(expected, "configured: false", holds=delivery["configured"], where=where)


@check("webhook.one-per-ended-execution", needs=_NEEDS)
def one_each(exchange: Exchange, *, taken: int) -> Iterator[Claim]:
    """Each ended execution is delivered once, not counting deliveries that the receiver refused.

    ``taken`` is the number of deliveries of the polled execution that the receiver accepted.
    """
    if status_in(exchange) in FINAL:
        observed = f"{taken} deliveries" if taken else "no delivery in time"
        yield Claim("one delivery", observed, holds=taken == 1)


@check("webhook.one-per-ended-execution", needs=_NEEDS)
def of_an_execution(exchange: Exchange, *, poll: Exchange) -> Iterator[Claim]:
    """A delivery with the right signature names an execution that its account can find.

    ``poll`` is a poll of that execution by a key of the account.
    """
    if poll.status in (200, 404):
        observed = f"{as_json(exchange.request.members.get('executionId'))}, which is a 404 for its key"
        yield Claim("an execution of the account", observed, holds=poll.status == 200, where="/executionId")


@check("webhook.signature-header", needs=_NEEDS, applies=lambda case: case.exchange.is_delivery)
def signature_header(exchange: Exchange) -> Iterator[Claim]:
    """A delivery has the header X-Knouds-Signature: t=<unix seconds>,v1=<hex>."""
    header = _header(exchange)
    observed = "no such header" if header is None else as_json(header)
    holds = Signature.read(header or "") is not None
    yield Claim("t=<unix seconds>,v1=<64 hexadecimal digits>", observed, holds=holds, where=_WHERE)


@check("webhook.signature-covers-raw-body", needs=_NEEDS, applies=lambda case: case.exchange.is_delivery)
def signature_fits(exchange: Exchange, *, raw: bytes, secret: str) -> Iterator[Claim]:
    """The signature is the HMAC-SHA256 of the time and the raw body, with the key's secret.

    ``raw`` are the body's bytes as received, before redaction.
    """
    signature = Signature.read(_header(exchange) or "")
    if signature is not None:
        expected, holds = "HMAC-SHA256(secret, <t>.<raw body>)", signature.covers(raw, secret=secret)
        yield Claim(expected, "another digest", holds=holds, where=_WHERE)


@check("webhook.timestamp-is-fresh", needs=_NEEDS, applies=lambda case: case.exchange.is_delivery)
def fresh_timestamp(exchange: Exchange) -> Iterator[Claim]:
    """The signature's time is in seconds and within 300 s of the delivery."""
    signature = Signature.read(_header(exchange) or "")
    if signature is not None:
        received_unix_s = exchange.started_at.timestamp()
        expected, holds = f"within {WINDOW_S} s of {received_unix_s:.0f}", signature.is_fresh(received_unix_s)
        yield Claim(expected, f"{signature.at_unix_s}", holds=holds, where=_WHERE)


@check(
    "webhook.payload-shape",
    "webhook.event-fits-ending",
    "async.execution-id-is-uuid",
    "usage.no-provider-ids",
    "whoami.id-is-string",
    needs=_NEEDS,
    applies=lambda case: case.exchange.is_delivery,
)
def payload(exchange: Exchange) -> Iterator[Claim]:
    """A delivery has the documented members."""
    mismatches = delivery_mismatches(payload_of(exchange.request.body))
    yield from map(mismatch_claim, mismatches)
    if not mismatches:
        yield Claim("the documented shape", "the same", holds=True, fact="webhook.payload-shape")


@check("webhook.event-fits-ending", needs=_NEEDS)
def event(exchange: Exchange, *, ending: str | None) -> Iterator[Claim]:
    """The event names the final status of the execution.

    ``ending`` is the final status that polling showed.
    """
    delivered = exchange.request.members
    if ending is not None and delivered.get("event") is not None:
        wanted = f"execution.{ending}"
        yield member_is(delivered, "event", f"{wanted}, as polling says", holds=delivered["event"] == wanted)


@check("webhook.agrees-with-poll", needs=_NEEDS)
def agrees(exchange: Exchange, *, poll: Exchange, submitted: Exchange) -> Iterator[Claim]:
    """A delivery says what polling says: status, result or error, and the submit's requestId."""
    delivered, polled = exchange.request.members, body_of(poll)
    if status_in(poll) not in FINAL:
        return
    code, polled_code = (members_of(each.get("error")).get("code") for each in (delivered, polled))
    made, polled_result = (members_of(each.get("result")) for each in (delivered, polled))
    kinds = [each for each in _MADE if each in polled_result and "result" in delivered]
    pairs = [
        ("/status", delivered.get("status"), polled.get("status")),
        ("/requestId", delivered.get("requestId"), body_of(submitted).get("requestId")),
        ("/error/code", code, polled_code),
    ]
    pairs += [
        (f"/result/{each}", _unsigned(made.get(each, "nothing")), _unsigned(polled_result[each]))
        for each in kinds
    ]
    for where, said, shown in pairs:
        if said is not None and shown is not None:
            yield Claim(f"{as_json(shown)}, as polling says", as_json(said), holds=said == shown, where=where)


@check("webhook.payload-shape", needs=_NEEDS)
def describes(
    exchange: Exchange, *, user_id: str | None, model_id: str | None = None, workflow_slug: str | None = None
) -> Iterator[Claim]:
    """A delivery names the account as whoami does, and the workflow or model that was run."""
    delivered = exchange.request.members
    if user_id is not None and isinstance(delivered.get("userId"), str):
        is_same = delivered["userId"] == user_id
        yield member_is(delivered, "userId", f"{user_id}, as whoami says", holds=is_same)
    if workflow_slug is not None and "workflowSlug" in delivered:
        is_same = delivered["workflowSlug"] == workflow_slug
        yield member_is(delivered, "workflowSlug", f"{workflow_slug}: it was run", holds=is_same)
    model_ids = delivered.get("modelIds")
    if model_id is not None and isinstance(model_ids, list):
        expected = f"{model_id} among them: it was run"
        yield member_is(delivered, "modelIds", expected, holds=model_id in model_ids)


@check("webhook.needs-receive-capability", needs=(*_NEEDS, NOT_RECEIVING))
def none_without_capability(exchange: Exchange, *, came: int, later_delivered: bool) -> Iterator[Claim]:
    """A key without webhook:receive gets no delivery.

    The exchange is the last poll of an execution of such a key, ``came`` the number of its deliveries.
    ``later_delivered`` says that deliveries of executions that ended later have arrived, so that this one's
    would have arrived too.
    """
    yield from _undelivered(exchange, "no delivery", came=came, later_delivered=later_delivered)


@check("webhook.one-per-ended-execution", needs=_NEEDS)
def none_without_webhook(exchange: Exchange, *, came: int, later_delivered: bool) -> Iterator[Claim]:
    """Runs of a key without a webhook are delivered to no key, of its account or another.

    The arguments are those of ``none_without_capability``.
    """
    expected = "no delivery: the key has no webhook"
    yield from _undelivered(exchange, expected, came=came, later_delivered=later_delivered)


def _undelivered(exchange: Exchange, expected: str, *, came: int, later_delivered: bool) -> Iterator[Claim]:
    if came or (later_delivered and status_in(exchange) in FINAL):
        yield Claim(expected, f"{came} deliveries", holds=came == 0)


@check("webhook.agrees-with-poll", needs=_NEEDS)
def shown_at_once(exchange: Exchange, *, delivered: Exchange) -> Iterator[Claim]:
    """When a delivery arrives, a poll shows the final status that it names.

    The exchange is a poll that was sent as soon as the delivery had arrived.
    """
    told, shown = delivered.request.members.get("status"), status_in(exchange)
    if is_final(told) and shown is not None:
        expected = f"{told}, as its delivery said before"
        yield member_is(body_of(exchange), "status", expected, holds=shown == told)


@check("webhook.retries-refused-delivery", needs=_NEEDS)
def retried(_: Exchange, *, attempts: int) -> Iterator[Claim]:
    """A delivery that the receiver refused comes again.

    ``attempts`` is the number of deliveries of the execution; the first was refused.
    """
    if attempts:
        yield Claim("another attempt", "none in time", holds=attempts > 1)


def _header(exchange: Exchange) -> str | None:
    values = [value for name, value in exchange.sent_headers if name.lower() == HEADER.lower()]
    return ", ".join(values) if values else None


def _unsigned(made: JSON) -> JSON:
    """Cut the query off URLs: it may hold a signature that is new each time."""
    if isinstance(made, list):
        return [_unsigned(each) for each in made]
    is_url = isinstance(made, str) and made.startswith(("http://", "https://"))
    return made.partition("?")[0] if is_url else made
