"""Simulated providers: cost, latency, result and failure rate of each model.

Everything is drawn from the seed and the number of the run, so a fresh sandbox gives the same results.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any

_MEDIA_URL = "https://media.sandbox.example"
_MAX_IMAGES = 8
_MAX_SECONDS = 60
_DEFAULT_SECONDS = 5
_JOB_S_WITHOUT_LATENCY = 0.3
_SPREAD = 0.3


@dataclass(frozen=True, slots=True)
class ProviderModel:
    """One model of the catalogue.

    ``medium`` is the member of the result that it fills. ``credits_per_unit`` is charged per ``unit``: image,
    second or call. ``median_s`` is that of a lognormal latency.
    """

    name: str
    medium: str
    unit: str
    credits_per_unit: int
    median_s: float
    _: KW_ONLY
    is_polled: bool = False
    is_enabled: bool = True
    least_tier: str = "business"
    always_fails: bool = False

    def units(self, inputs: Mapping[str, Any]) -> int:
        if self.unit == "image":
            return _whole(inputs, ("count", "numImages"), default=1, most=_MAX_IMAGES)
        if self.unit == "second":
            return _whole(inputs, ("seconds", "duration"), default=_DEFAULT_SECONDS, most=_MAX_SECONDS)
        return 1

    def cost_credits(self, inputs: Mapping[str, Any]) -> int:
        return self.credits_per_unit * self.units(inputs)


_MODELS = (
    # name, medium, unit, credits per unit, median in seconds
    ProviderModel("nano-banana-2", "images", "image", 6, 4.0),
    ProviderModel("seedream-v5", "images", "image", 8, 6.0),
    ProviderModel("kling-v3-i2v", "videos", "second", 10, 45.0),
    ProviderModel("kling-o3-ref2v", "videos", "second", 12, 60.0),
    ProviderModel("kling-v3-motion", "videos", "second", 11, 50.0),
    ProviderModel("claude-sonnet", "text", "call", 3, 2.5),
    ProviderModel("seedance-2-0-full-access", "videos", "second", 14, 70.0, is_polled=True),
    ProviderModel("gpt-image-2", "images", "image", 15, 20.0, is_polled=True),
    ProviderModel("suno-v5", "audios", "call", 20, 40.0, is_polled=True),
    ProviderModel("retired-model", "images", "image", 5, 5.0, is_enabled=False),
    ProviderModel("enterprise-model", "images", "image", 25, 8.0, least_tier="enterprise"),
    ProviderModel("failing-model", "images", "image", 5, 3.0, is_polled=True, always_fails=True),
)
MODELS: Mapping[str, ProviderModel] = {model.name: model for model in _MODELS}


@dataclass(frozen=True, kw_only=True, slots=True)
class Latency:
    """How long providers take.

    ``fixed_s`` is None for the models' own distributions. With 0, only asynchronous jobs take a moment, so
    that they can be polled and cancelled in flight.
    """

    fixed_s: float | None = 0.0
    time_scale: float = 1.0

    def job_s(self, models: Sequence[ProviderModel], draw: random.Random, *, is_async: bool) -> float:
        """Return the seconds until the slowest of these models is done."""
        if self.fixed_s is None:
            seconds = max(
                (draw.lognormvariate(0, _SPREAD) * model.median_s for model in models), default=0.05
            )
        elif is_async and not self.fixed_s:
            seconds = _JOB_S_WITHOUT_LATENCY
        else:
            seconds = self.fixed_s
        return seconds * self.time_scale


def results(
    calls: Sequence[tuple[ProviderModel, int]], inputs: Mapping[str, Any], request_id: str
) -> dict[str, Any]:
    """Return what the models make: URLs by medium, or text."""
    texts = [value for value in inputs.values() if isinstance(value, str)]
    if not calls:
        return {"text": texts}
    made: dict[str, Any] = {}
    for model, units in calls:
        if model.medium == "text":
            made.setdefault("text", []).append(f"{model.name} on: {' '.join(texts)}")
            continue
        count = units if model.unit == "image" else 1
        urls = made.setdefault(model.medium, [])
        urls += [f"{_MEDIA_URL}/{request_id}/{model.name}-{len(urls) + i}" for i in range(count)]
    return made


def _whole(inputs: Mapping[str, Any], names: Sequence[str], *, default: int, most: int) -> int:
    value = next((inputs[name] for name in names if name in inputs), default)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return default
    return int(max(1, min(value, most)))
