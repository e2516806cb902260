"""Needs for keys with a webhook, and for a receiver of deliveries."""

from collections.abc import Iterator
from typing import Final

from knouds_harness.targets.address import host_of, is_loopback
from knouds_harness.targets.needs import KeyAndResource, Need, Receiving
from knouds_harness.targets.needs.keys import key_of, people
from knouds_harness.targets.needs.runs import (
    ASYNC_RUN,
    affordable,
    is_paid,
    is_runnable,
    may_run,
    resources_of,
)
from knouds_harness.targets.profile import Control, Model, Persona, Target, Webhook, Workflow

_MOST_BYSTANDERS: Final = 4


def mints_webhooks(target: Target) -> bool:
    """Return whether keys can be minted whose deliveries reach a receiver on this machine, at any port."""
    return target.control is not None and is_loopback(host_of(target.base_url))


def _receivers(target: Target) -> Iterator[Control | Webhook]:
    if target.control and mints_webhooks(target):
        yield target.control
    elif target.webhook and target.webhook.receiver:
        yield target.webhook


REACHABLE_RECEIVER: Need[Control | Webhook] = Need(
    says="[webhook] whose url leads to this machine, with listen if a tunnel or proxy is in between "
    "(or a control plane on this machine, as the sandbox has)",
    fitting=_receivers,
)


def failing_async_run_of(target: Target, persona: Persona) -> Workflow | Model | None:
    failing = (each for each in resources_of(target, models_first=True) if each.fails and each.polled)
    return next(affordable(target, persona, failing), None)


def _webhook_key(says: str, *, receives: bool) -> Need[Receiving]:
    """Make the need for a key with the profile's webhook; if keys can be minted, any key will do."""

    def fitting(target: Target) -> Iterator[Receiving]:
        if mints_webhooks(target):
            for key, resource in ASYNC_RUN.fitting(target):
                yield Receiving(key, resource, key)
            return
        resources = [
            each for each in resources_of(target, models_first=True) if is_runnable(each) and each.polled
        ]
        for key in people(target):
            reader = key_of(target, key.user, "execution:read")
            if key.webhook and reader and key.holds("webhook:receive") == receives:
                for resource in affordable(target, key, resources):
                    yield Receiving(key, resource, reader)

    return Need(says=says, fitting=fitting, also=(ASYNC_RUN, REACHABLE_RECEIVER))


def runs_without_webhook(
    target: Target, own: KeyAndResource[Workflow | Model]
) -> list[KeyAndResource[Workflow | Model]]:
    """Return runs of keys without a webhook: of another account, and of several keys of the receiving one.

    Keys without webhook:receive come first: the dashboard may have a webhook for them, too. Several keys of
    an account run something only if that costs nothing.
    """
    found = [own, *ASYNC_RUN.fitting(target)]
    able = [each for each in found if not each.key.webhook and may_run(each.key, each.resource)]
    able.sort(key=lambda each: (each.key.holds("webhook:receive"), is_paid(each.resource)))
    by_key: dict[str, KeyAndResource[Workflow | Model]] = {}
    for each in able:
        by_key.setdefault(each.key.name, each)
    same = [each for each in by_key.values() if each.key.user == own.key.user]
    others = [each for each in by_key.values() if each.key.user != own.key.user]
    free = [each for each in same if not is_paid(each.resource)]
    return [*(free[:_MOST_BYSTANDERS] or same[:1]), *others[:1]]


RECEIVING = _webhook_key(
    "a key with webhook = true that holds webhook:receive and workflow:run or model:run, "
    "for a workflow or model with polled = true",
    receives=True,
)
NOT_RECEIVING = _webhook_key(
    "a key with webhook = true that holds workflow:run or model:run, but not webhook:receive, "
    "for a workflow or model with polled = true",
    receives=False,
)


def keys_with_another_secret(target: Target) -> list[Receiving]:
    """Return keys whose deliveries are signed with another secret than those of the first key.

    A faulty server may sign all deliveries with one secret, or those of an account. So keys come first that
    are not the first one of their account.
    """
    found = list(RECEIVING.fitting(target))
    first_by_user = {each.key.user: each.key for each in reversed(found)}
    later = [each for each in found if _signs_otherwise(target, each.key, first_by_user[each.key.user])]
    return [*later, *(each for each in found if _signs_otherwise(target, each.key, found[0].key))]


def _signs_otherwise(target: Target, key: Persona, other: Persona) -> bool:
    return target.webhook_of(key) != target.webhook_of(other)


def _receiving_workflows(target: Target) -> list[Receiving]:
    """Return workflows of the webhook key whose fields can be read; those without a generator first."""
    first = RECEIVING.find(target)
    found = [each for each in RECEIVING.fitting(target) if first and each.key == first.key]
    found = [each for each in found if isinstance(each.resource, Workflow)]
    return sorted(
        (each for each in found if each.reader.holds("workflow:read")),
        key=lambda each: getattr(each.resource, "has_generator", True),
    )


RECEIVING_WORKFLOW: Need[Receiving] = Need(
    says="a workflow of the account with the webhook, with polled = true, and a key that holds "
    "workflow:read and execution:read",
    fitting=_receiving_workflows,
    also=(RECEIVING,),
)
