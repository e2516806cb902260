"""What one account may use, with a key of another account."""

from collections.abc import Iterator
from typing import Any

from knouds_harness.targets.needs.keys import listed, people
from knouds_harness.targets.needs.need import KeyAndResource, Need, ResourceAndStranger, permissions
from knouds_harness.targets.needs.runs import ASYNC_RUN, CHEAPEST_RUN, MODEL_RUN
from knouds_harness.targets.needs.workflows import FILED_WORKFLOW
from knouds_harness.targets.profile import Target


def and_stranger(need: Need[KeyAndResource[Any]], *capabilities: str) -> Need[ResourceAndStranger]:
    """What the need asks for, and a key of another account that meets these requirements."""

    def fitting(target: Target) -> Iterator[ResourceAndStranger]:
        keys = people(target, *capabilities)
        for own in need.fitting(target):
            for stranger in reversed(keys):
                if stranger.user != own.key.user:
                    yield ResourceAndStranger(own, stranger)

    what = f"whose key holds {listed(capabilities)}" if capabilities else "with an active key"
    return Need(says=f"a second account {what}", fitting=fitting, besides=(need, *permissions(capabilities)))


FILED_AND_STRANGER = and_stranger(FILED_WORKFLOW, "workflow:read", "workflow:write")
READ_BY_STRANGER = and_stranger(ASYNC_RUN, "execution:read")
CANCELLED_BY_STRANGER = and_stranger(ASYNC_RUN, "execution:cancel")


def _other_way_round(need: Need[ResourceAndStranger]) -> Need[ResourceAndStranger]:
    """The same of another account than the one that is found first."""

    def fitting(target: Target) -> Iterator[ResourceAndStranger]:
        first = need.find(target)
        return (each for each in need.fitting(target) if first and each.own.key.user != first.own.key.user)

    return Need(says=need.says, fitting=fitting, besides=need.besides)


OTHER_READ_BY_STRANGER = _other_way_round(READ_BY_STRANGER)
OTHER_CANCELLED_BY_STRANGER = _other_way_round(CANCELLED_BY_STRANGER)
MODEL_RUN_AND_STRANGER = and_stranger(MODEL_RUN)
RUN_AND_STRANGER = and_stranger(CHEAPEST_RUN)
OTHER_RUN_AND_STRANGER = _other_way_round(RUN_AND_STRANGER)
