"""Changes to what several recordings of one execution, or usage, say about runs."""

from collections.abc import Iterator

from mutants.mutant import Label, Mutant, breach, no_breach, saying
from mutants.places import places, pointer, replaced, value_at

from knouds_harness.exchange.recording import Recording

_ANOTHER = "0f8c2c5e-7a52-4d6b-9d0e-3b1f5a9e6c21"
_PROVIDER_ID = "fal:fal-ai/kling"


def executions(recording: Recording) -> Iterator[Mutant]:
    """A poll must show the submitted execution, and what has ended must stay as it is."""
    body = recording.exchange.json_or_none()
    if recording.kind != "answer" or not isinstance(body, dict):
        return
    if "_async" in body:
        for place, value in (("executionId", _ANOTHER), ("pollUrl", f"/api/executions/{_ANOTHER}")):
            yield _breach(recording, "name another execution", {**body, place: value}, place, _POLL_URL)
        for value in (f"/executions/{body['executionId']}", "", body["executionId"]):
            yield _breach(
                recording, f"write {value!r}", {**body, "pollUrl": value}, "pollUrl", _POLL_URL, _SUBMIT
            )
        for status in ("completed", "queued", "cancel_requested"):
            changed = {**body, "status": status}
            yield _breach(recording, f"write {status!r}", changed, "status", _PROCESSING, _SUBMIT)
    elif recording.operation == "getExecution" and recording.exchange.status == 200:
        another = {**body, "executionId": _ANOTHER}
        if recording.outcome in ("processing", "completed", "failed", "cancelled"):
            yield _breach(recording, "name another execution", another, "executionId", _POLL_URL)
        if recording.outcome.startswith("still"):
            for status in ("processing", "cancel_requested", "cancelled"):
                changed = {**body, "status": status}
                yield _breach(recording, f"write {status!r}", changed, "status", *_FINAL)


def usage(recording: Recording) -> Iterator[Mutant]:
    """No provider's names for models, and no workflow in the row of a direct run."""
    body = recording.exchange.json_or_none()
    if recording.kind != "answer" or recording.exchange.status != 200:
        return
    if recording.operation == "listUsageModels" and isinstance(body, dict):
        models = body["models"]
        provided = {"models": [*models, _PROVIDER_ID]}
        yield _breach(recording, "show a provider's id", provided, "models", _NO_PROVIDER)
        twice = {"models": [*models, models[0]]}
        yield _breach(recording, "name one twice", twice, "models", "usage.models-are-distinct")
        more = saying(recording, {"models": [*models, "new-model"]})
        yield no_breach(more, "name a new model", label=Label.ADDITIVE)
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
                yield _breach(recording, operator, changed, f"{at}/{member}", *facts)
        more = saying(recording, replaced(body, (*steps, "modelIds"), ["new-model"]))
        yield no_breach(more, "name a new model", label=Label.ADDITIVE, place=at)


_POLL_URL = "async.poll-url-leads-to-execution"
_SUBMIT = "async.submit-shape"
_PROCESSING = "async.submit-is-processing"
_FINAL = ("execution.final-is-absorbing", "execution.edges", "execution.cancel-after-end-changes-nothing")
_NO_PROVIDER = "usage.no-provider-ids"


def _breach(recording: Recording, operator: str, body: object, place: str, *facts: str) -> Mutant:
    return breach(saying(recording, body), operator, *facts, place=place)
