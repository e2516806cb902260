"""Of a random sequence that broke something, the shortest that still does, within bounds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Final

from knouds_harness.conformance.generation.minimising import shorten
from knouds_harness.conformance.generation.workflow_sequences import Scene, SequenceStep, SeveralKeys

MOST_S: Final = 15.0
MOST_REQUESTS: Final = 500


def shorten_broken(scene: Scene, *, clock: Callable[[], float] = time.monotonic) -> None:
    """Play what was broken again and again with less, within bounds; the shortest is kept in the record."""
    if scene.broken_check is None:
        return
    sought, until_s = scene.broken_check, clock() + MOST_S
    most_sent = scene.tester.sent + MOST_REQUESTS
    shortest = shorten(
        scene.broken,
        breaks=lambda steps: _breaks(steps, scene, sought),
        simpler=_simpler,
        is_enough=lambda: clock() >= until_s or scene.tester.sent >= most_sent,
    )
    _breaks(shortest, scene, sought)  # once without a look at anything else


def _breaks(steps: Sequence[SequenceStep], scene: Scene, sought: str) -> bool:
    """Whether playing these steps breaks the check; those about what was not created are passed over."""
    machine = SeveralKeys(scene, sought=sought)
    scene.broken_check = None
    try:
        machine.begin()
        for step in steps:
            slugs = {number: slug for slug, number in machine.created_in.items()}
            arguments = dict(step.arguments)
            if "slug" in arguments:
                if arguments["slug"] not in slugs:
                    continue
                arguments["slug"] = slugs[arguments["slug"]]
            machine.number = step.number
            getattr(machine, step.rule)(**arguments)
    except AssertionError:
        pass
    finally:
        machine.teardown()
    return scene.broken_check == sought


def _simpler(step: SequenceStep) -> Iterator[SequenceStep]:
    """The step with one member of what it sends left out."""
    for name, value in step.arguments.items():
        for member in value if isinstance(value, dict) else ():
            rest = {each: value[each] for each in value if each != member}
            if rest or step.rule == "create":
                yield replace(step, arguments={**step.arguments, name: rest})
