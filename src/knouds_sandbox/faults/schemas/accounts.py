"""Faults: the shape of whoami, usage, pricing and health."""

from knouds_sandbox.fault_points import Edit
from knouds_sandbox.faults.editing import (
    changed,
    on_answer,
    on_success,
    refused,
    sent_as,
    with_status,
    with_value,
    without,
)
from knouds_sandbox.faults.fault import fault
from knouds_sandbox.faults.resource_edits import (
    USAGE_OPERATIONS,
    ignoring,
    on_rows,
    on_usage,
    selecting,
    user_where,
)
from knouds_sandbox.handlers.usage import RowFilter


def _show_internal_ids(selection: RowFilter) -> None:
    selection.shows_internal_ids = True


@fault("usage.page-shape")
def usage_lacks_total() -> Edit:
    """Usage has no total."""
    return on_usage(without("total"))


@fault("usage.row-shape")
def usage_row_lacks_request_id() -> Edit:
    """A row has no requestId."""
    return on_usage(without("rows.*.requestId"))


@fault("usage.row-shape")
def usage_row_created_at_epoch() -> Edit:
    """A row's createdAt is a number."""
    return on_rows(lambda run: {"createdAt": int(run.created_unix_s * 1000)})


@fault("usage.row-status-closed")
def usage_row_status_is_done() -> Edit:
    """The row of an ended run has the status done."""
    return on_rows(lambda run: {"status": "done"} if run.ended_unix_s else {})


@fault("usage.source-closed")
def usage_row_source_is_api() -> Edit:
    """A row's source is api."""
    return on_usage(with_value("rows.*.source", "api"))


@fault("usage.slim-has-no-workflow")
def usage_slim_names_a_workflow() -> Edit:
    """The row of a direct model run names a workflow."""
    return on_usage(changed("rows.*.workflowSlug", lambda slug: slug or "direct"))


@fault("usage.no-provider-ids")
def usage_shows_provider_ids() -> Edit:
    """Usage shows provider-internal model ids."""
    return selecting(_show_internal_ids, USAGE_OPERATIONS)


@fault("usage.no-provider-ids", is_subtle=True)
def usage_models_shows_provider_ids() -> Edit:
    """Usage models shows provider-internal ids; rows do not."""
    return selecting(_show_internal_ids, "listUsageModels")


@fault("usage.models-are-distinct")
def usage_models_repeat() -> Edit:
    """Usage models repeats ids."""
    return on_success("listUsageModels", changed("models", lambda ids: sorted(ids + ids)))


@fault("usage.models-are-distinct", is_subtle=True)
def usage_models_lacks_the_last() -> Edit:
    """Usage models leaves out the last model."""
    return on_success("listUsageModels", changed("models", lambda ids: ids[:-1]))


@fault("usage.models-are-distinct")
def usage_models_of_everyone() -> Edit:
    """Usage models lists everyone's models."""
    return ignoring("owner", operations="listUsageModels")


@fault("whoami.user-object")
def whoami_lacks_email() -> Edit:
    """The user has no email."""
    return on_success("getWhoami", without("user.email"))


@fault("whoami.user-object", is_subtle=True)
def whoami_lacks_email_without_capabilities() -> Edit:
    """whoami shows no email to a key without capabilities."""
    return user_where(lambda key: not key.capabilities, without("user.email"))


@fault("whoami.role-closed")
def whoami_role_in_capitals() -> Edit:
    """whoami's role is in capitals."""
    return on_success("getWhoami", changed("user.role", str.upper))


@fault("whoami.role-closed", is_subtle=True)
def whoami_admin_is_superuser() -> Edit:
    """The role of an administrator is superuser."""
    return user_where(lambda key: key.account.is_admin, with_value("user.role", "superuser"))


@fault("whoami.tier-is-string")
def whoami_tier_as_number() -> Edit:
    """whoami's tier is a number."""
    return on_success("getWhoami", with_value("user.tier", 4))


@fault("whoami.approved-is-true")
def whoami_approved_as_text() -> Edit:
    """whoami's approved is a string."""
    return on_success("getWhoami", with_value("user.approved", "true"))


@fault("ground.status-is-documented")
def whoami_is_203() -> Edit:
    """whoami answers 203."""
    return on_success("getWhoami", with_status(203))


@fault("pricing.is-public-json")
def pricing_is_404() -> Edit:
    """Public pricing gets a 404."""
    return on_answer("getPublicPricing", refused(404, "NOT_FOUND", "There is no such route."))


@fault("health.is-public-json")
def health_is_text() -> Edit:
    """Health is plain text."""
    return on_answer("getHealth", sent_as(b"ok", "text/plain; charset=utf-8"))
