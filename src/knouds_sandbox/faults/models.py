"""Faults: which models an account may run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from knouds_sandbox.answers import OutgoingAnswer
from knouds_sandbox.fault_points import Edit, Point
from knouds_sandbox.faults.editing import AnswerEdit, Edits, at, on_refusal, refused, where, with_value
from knouds_sandbox.faults.fault_types import Subtle, Table
from knouds_sandbox.handlers.runs import INVALID_NAME
from knouds_sandbox.providers import MODELS, ProviderModel
from knouds_sandbox.state.accounts import Account

FAULTS: Table = {
    "model.unknown-is-404": {
        "model-unknown-is-plain-404": "An unknown model is a plain 404.",
        "model-unknown-is-invalid-slug": "An unknown model is an INVALID_SLUG.",
    },
    "model.disabled-is-404": {
        "model-disabled-runs": "A disabled model runs.",
        "model-disabled-is-403": "A disabled model is a 403.",
    },
    "model.above-tier-is-403": {
        "model-tier-ignored": "A model above the account's tier runs.",
        "model-above-tier-is-404": "A model above the account's tier is a 404.",
    },
    "model.run-under-business-is-403": {
        "model-run-under-business": "A pro account runs models.",
        "model-run-under-business-is-402": "A model run of a pro account is a 402.",
    },
    "model.async-not-supported-is-400": {
        "model-async-for-all": "Every model runs asynchronously.",
        "model-async-for-text": Subtle("Text models run asynchronously."),
    },
}

INVALID_SLUG = refused(400, "INVALID_SLUG", INVALID_NAME)
MODEL_NOT_FOUND = refused(404, "MODEL_NOT_FOUND", "There is no such model.")


def _on_model_404(is_meant: Callable[[str], bool], edit: AnswerEdit) -> Edit:
    edit = where(lambda answer: is_meant(answer.path_params["internalName"]), edit)
    return on_refusal(edit, "runModel", code="MODEL_NOT_FOUND")


def _on_tier(edit: AnswerEdit, *, is_direct: bool) -> Edit:
    """Edit the refusal of every direct run, or of one model, for the account's tier."""

    def is_meant(answer: OutgoingAnswer) -> bool:
        return answer.key is not None and answer.key.account.reaches("business") != is_direct

    return on_refusal(where(is_meant, edit), "runModel", code="MODEL_TIER_REQUIRED")


def _model(change: Callable[[ProviderModel], ProviderModel]) -> Edit:
    return at(Point.MODEL, "runModel", lambda _, model: change(model) if model else None)


def _account(change: Callable[[Account], Account]) -> Edit:
    """Judge the tier of another account than the one that runs."""
    return at(Point.TIER, "runModel", lambda _, account: change(account))


EDITS: Edits = {
    "model-unknown-is-plain-404": _on_model_404(
        lambda name: name not in MODELS, with_value("code", "NOT_FOUND")
    ),
    "model-unknown-is-invalid-slug": _on_model_404(lambda name: name not in MODELS, INVALID_SLUG),
    "model-disabled-runs": _model(lambda model: replace(model, is_enabled=True)),
    "model-disabled-is-403": _on_model_404(
        lambda name: name in MODELS, refused(403, "MODEL_DISABLED", "The model is disabled.")
    ),
    "model-tier-ignored": _model(lambda model: replace(model, least_tier="free")),
    "model-above-tier-is-404": _on_tier(MODEL_NOT_FOUND, is_direct=False),
    "model-run-under-business": _account(
        lambda account: account if account.reaches("business") else replace(account, tier="business")
    ),
    "model-run-under-business-is-402": _on_tier(refused(402, "INSUFFICIENT_CREDITS"), is_direct=True),
    "model-async-for-all": _model(lambda model: replace(model, is_polled=True)),
    "model-async-for-text": _model(
        lambda model: replace(model, is_polled=model.is_polled or model.medium == "text")
    ),
    "tier-gate-holds-administrators": _account(
        lambda account: replace(account, role="user", tier="free") if account.is_admin else account
    ),
}
