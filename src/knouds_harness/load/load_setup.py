"""What a load run is made from, in every process of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from knouds_harness.load.options import LoadOptions
from knouds_harness.load.workload.input_lines import InputFile
from knouds_harness.load.workload.preflight import NOT_LOOKED, Preflight
from knouds_harness.load.workload.workload import Workload
from knouds_harness.targets.profile import Target

NO_TARGET: Final = "name a target: --target sandbox, or another profile in targets/"


@dataclass(frozen=True, kw_only=True)
class LoadSetup:
    """What a run is made from; without a target there is no workload."""

    options: LoadOptions
    target: Target | None = None
    workload: Workload | None = None
    inputs: InputFile | None = None
    ahead: Preflight = NOT_LOOKED
