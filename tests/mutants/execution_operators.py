"""Changes to what several recordings of one execution, or usage, say about runs."""

from collections.abc import Iterator

from mutants.mutant import Label, Mutant, breaks, keeps
from mutants.places import places, pointer, replaced, value_at

from knouds_harness.exchange.recording import Recording

_ANOTHER = "0f8c2c5e-7a52-4d6b-9d0e-3b1f5a9e6c21"
_PROVIDER_ID = "fal:fal-ai/kling"
_POLL_URL = "async.poll-url-leads-to-execution"
_SUBMIT = "async.submit-shape"
_PROCESSING = "async.submit-is-processing"
_FINAL = ("execution.final-is-absorbing", "execution.edges", "execution.cancel-after-end-changes-nothing")
_NO_PROVIDER = "usage.no-provider-ids"


def executions(recording: Recording) -> Iterator[Mutant]:
    """A poll must show the submitted execution, and what has ended must stay as it is."""
    body = recording.exchange.json_or_none()
    if recording.kind != "answer" or not isinstance(body, dict):
        return
    if "_async" in body:
        for place, value in (("executionId", _ANOTHER), ("pollUrl", f"/api/executions/{_ANOTHER}")):
            yield breaks(recording, "name another execution", {**body, place: value}, _POLL_URL, place=place)
        for value in (f"/executions/{body['executionId']}", "", body["executionId"]):
            changed = {**body, "pollUrl": value}
            yield breaks(recording, f"write {value!r}", changed, _POLL_URL, _SUBMIT, place="pollUrl")
        for status in ("completed", "queued", "cancel_requested"):
            changed = {**body, "status": status}
            yield breaks(recording, f"write {status!r}", changed, _PROCESSING, _SUBMIT, place="status")
    elif recording.operation == "getExecution" and recording.exchange.status == 200:
        another = {**body, "executionId": _ANOTHER}
        if recording.outcome in ("processing", "completed", "failed", "cancelled"):
            yield breaks(recording, "name another execution", another, _POLL_URL, place="executionId")
        if recording.outcome.startswith("still"):
            for status in ("processing", "cancel_requested", "cancelled"):
                changed = {**body, "status": status}
                yield breaks(recording, f"write {status!r}", changed, *_FINAL, place="status")


def usage(recording: Recording) -> Iterator[Mutant]:
    """No provider's names for models, and no workflow in the row of a direct run."""
    body = recording.exchange.json_or_none()
    if recording.kind != "answer" or recording.exchange.status != 200:
        return
    if recording.operation == "listUsageModels" and isinstance(body, dict):
        models = body["models"]
        provided = {"models": [*models, _PROVIDER_ID]}
        yield breaks(recording, "show a provider's id", provided, _NO_PROVIDER, place="models")
        twice = {"models": [*models, models[0]]}
        yield breaks(recording, "name one twice", twice, "usage.models-are-distinct", place="models")
        more = {"models": [*models, "new-model"]}
        yield keeps(recording, "name a new model", more, label=Label.ADDITIVE)
    if recording.operation != "listUsage" or not isinstance(body, dict):
        return
    for steps in places(body, "/rows/*"):
        row, at = value_at(body, steps), pointer(steps)
        assert isinstance(row, dict)
        for operator, member, value, *facts in (
            ("show a provider's id", "modelIds", [_PROVIDER_ID], _NO_PROVIDER),
            ("number the models", "modelIds", [7], _NO_PROVIDER, "usage.row-shape"),
            ("name a workflow", "workflowSlug", "portrait", "usage.slim-has-no-workflow"),
        ):
            if member == "modelIds" or row["source"] == "api-slim":
                changed = replaced(body, (*steps, member), value)
                yield breaks(recording, operator, changed, *facts, place=f"{at}/{member}")
        renamed = replaced(body, (*steps, "modelIds"), ["new-model"])
        yield keeps(recording, "name a new model", renamed, label=Label.ADDITIVE, place=at)
