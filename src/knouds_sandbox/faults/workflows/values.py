"""Faults: what is written comes back as something else."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Callable
from typing import Any

from knouds_sandbox.calls import HandlerCall
from knouds_sandbox.fault_points import Edit, Point
from knouds_sandbox.faults.editing import at, changed, on_success
from knouds_sandbox.faults.fault import fault
from knouds_sandbox.handlers.workflows import ChangedWorkflow, NewWorkflow


def _stored(operation: str, change: Callable[[Any], Any]) -> Edit:
    """Change every value that is about to be stored."""

    async def edit(_: HandlerCall, draft: NewWorkflow | ChangedWorkflow) -> None:
        draft.members = _mapped(draft.members, change)

    return at(Point.DRAFT, operation, edit)


def _mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    if isinstance(value, dict):
        value = {name: _mapped(each, change) for name, each in value.items()}
    elif isinstance(value, list):
        value = [_mapped(each, change) for each in value]
    return change(value)


def _of_text(change: Callable[[str], str]) -> Callable[[Any], Any]:
    return lambda value: change(value) if isinstance(value, str) else value


@fault("workflows.get-round-trips", is_subtle=True)
def create_composes_text() -> Edit:
    """A created workflow's texts are kept in Unicode's composed form."""
    return _stored("createWorkflow", _of_text(lambda text: unicodedata.normalize("NFC", text)))


@fault("workflows.get-round-trips", is_subtle=True)
def create_loses_text_beyond_the_first_plane() -> Edit:
    """A created workflow's characters beyond Unicode's first plane become question marks."""
    return _stored("createWorkflow", _of_text(lambda text: re.sub("[\U00010000-\U0010ffff]", "?", text)))


@fault("workflows.get-round-trips", is_subtle=True)
def create_rounds_numbers() -> Edit:
    """A created workflow's numbers are kept to six digits."""
    return _stored(
        "createWorkflow", lambda value: float(f"{value:.6g}") if isinstance(value, float) else value
    )


@fault("workflows.get-round-trips", is_subtle=True)
def create_loses_names_with_dots() -> Edit:
    """What nodes hold under a name with a dot is left out of a created workflow."""
    return _stored(
        "createWorkflow",
        lambda value: (
            {name: each for name, each in value.items() if "." not in name}
            if isinstance(value, dict)
            else value
        ),
    )


@fault("workflows.update-takes-subset", is_subtle=True)
def update_joins_white_space() -> Edit:
    """Of white space in an updated workflow's texts one blank is left."""
    return _stored("updateWorkflow", _of_text(lambda text: re.sub(r"\s+", " ", text)))


@fault("workflows.update-takes-subset", is_subtle=True)
def update_takes_digits_for_a_number() -> Edit:
    """An updated workflow's texts of digits lose their leading zeros."""
    return _stored("updateWorkflow", _of_text(lambda text: str(int(text)) if text.isdecimal() else text))


@fault("workflows.summary-fields", is_subtle=True)
def workflows_list_escapes_text() -> Edit:
    """The list shows descriptions escaped for HTML."""
    return on_success("listWorkflows", changed("*.description", lambda text: text and html.escape(text)))


@fault("schema.shape", is_subtle=True)
def schema_cuts_description() -> Edit:
    """Schemas show 255 characters of a description."""
    return on_success(
        "getWorkflowSchema getPublicWorkflowSchema", changed("description", lambda text: text and text[:255])
    )
