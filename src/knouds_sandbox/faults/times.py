"""Faults: timestamps are wrong."""

from datetime import datetime, timedelta

from knouds_sandbox.answers import OutgoingAnswer
from knouds_sandbox.fault_points import Edit, fault
from knouds_sandbox.faults.editing import on_document, on_rows


@fault("workflows.updated-at-is-iso", on_document, is_subtle=True)
def times_updated_at_in_local_time(answer: OutgoingAnswer) -> None:
    """updatedAt is two hours ahead: a local time that claims to be UTC."""
    ahead = datetime.fromisoformat(answer.body["updatedAt"]) + timedelta(hours=2)
    answer.body["updatedAt"] = ahead.isoformat()


@fault("usage.row-shape", is_subtle=True)
def times_duration_is_the_end() -> Edit:
    """The durationMs of a row is the time when its run ended, in milliseconds."""
    return on_rows(lambda run: {"durationMs": round((run.ended_unix_s or 0) * 1000)})
