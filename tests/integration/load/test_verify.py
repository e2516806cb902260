"""``load --verify``: a sound server keeps the contract under load, and each fault breaks it."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest
from checking import sampled
from example_targets import write_profile
from loading import PATIENT, load

from knouds_harness.errors import ExitCode
from knouds_harness.reporting.markdown import escaped
from knouds_harness.runs.load_results import Invariant
from knouds_sandbox.faults import FAULTS
from knouds_sandbox.serving import running_sandbox

pytestmark = pytest.mark.slow

CYCLES = ("async_cycles", "--rate", "15", "--duration", "2s")
WITHOUT_ENDS = (*CYCLES, "--", "--stop-timeout", "1")  # there is no execution with the id that all get
RUNS = ("sync_runs", "--rate", "40", "--duration", "1s")
ACROSS_THE_LIMIT = ("rate_limit", "--rate", "80", "--duration", "3s")  # a busy machine may not send all
CASES = {
    "async-execution-id-repeats": WITHOUT_ENDS,
    "execution-final-flips": CYCLES,
    "execution-regresses-now-and-then": CYCLES,
    "execution-cancel-request-not-shown": ("cancels", "--rate", "15", "--duration", "2s"),
    "update-shows-late-now-and-then": ("workflow_crud", "--rate", "15", "--duration", "2s"),
    "usage-lacks-every-tenth-run": RUNS,
    "usage-every-tenth-run-is-free": RUNS,
    "run-cost-as-text": RUNS,
    "rate-remaining-sticks-at-tens": ACROSS_THE_LIMIT,
    "rate-one-too-many": ACROSS_THE_LIMIT,
    "tier-pro-limit-is-99": ACROSS_THE_LIMIT,
    "rate-window-is-an-hour": ACROSS_THE_LIMIT,
    "rate-reset-slides": ("rate_limit", "--rate", "20", "--duration", "7s"),
    "rate-retry-after-is-half": ACROSS_THE_LIMIT,
    "rate-refusal-lacks-retry-after": ACROSS_THE_LIMIT,
}
FACT_BY_FAULT = {fault.id: fault.fact for fault in FAULTS}


def verified(folder, *arguments, **options):
    """Run load with --verify on a new sandbox, and without objectives, which are for a quiet machine."""
    none = folder / "objectives.toml"
    none.write_text("", encoding="utf-8")
    verify = () if "rate_limit" in arguments else ("--verify",)
    with running_sandbox(**options) as sandbox:
        profile = write_profile(folder, sandbox)
        without = ("--target", str(profile), "--objectives", str(none), *PATIENT, "--quiet")
        return load(folder / "runs", *verify, *without, *arguments)


def invariants(loaded):
    by_state: dict[str, list[Invariant]] = {"broken": [], "excused": [], "kept": [], "untested": []}
    for each in loaded.results.invariants:
        by_state[each.state].append(each)
    return by_state


def facts(found):
    return {each.fact for each in found}


@pytest.mark.parametrize("fault", sampled(list(CASES), every=16))
def test_fault_breaks_only_its_own_fact(tmp_path, fault):
    """The run ends with 1 and names the fact with an example, in every report."""
    loaded = verified(tmp_path, *CASES[fault], faults=(fault,))

    found = invariants(loaded)
    fact = FACT_BY_FAULT[fault]
    assert loaded.exit_code == ExitCode.BREACH
    assert facts(found["broken"]) == {fact}
    example = found["broken"][0].example
    assert example
    folder = loaded.record.folder
    assert loaded.out.strip().startswith(f"Contract broken under load  {fact}")
    for report in ("report.html", "report.md", "junit.xml"):
        assert fact in (folder / report).read_text(encoding="utf-8")
    assert escaped(example) in (folder / "report.md").read_text(encoding="utf-8")
    junit = ET.parse(folder / "junit.xml")  # noqa: S314 - our own
    (failure,) = junit.iterfind(".//testsuite[@name='invariants']//failure")
    assert example in failure.attrib["message"]


@pytest.mark.parametrize(
    "processes", [pytest.param((), marks=pytest.mark.nightly), ("--processes", "2")], ids=["alone", "workers"]
)
def test_sound_server_breaks_nothing(tmp_path, processes):
    """With one process or several; seen and unseen invariants are listed separately."""
    loaded = verified(tmp_path, "mixed", "--rate", "30", "--duration", "4s", "--seed", "1", *processes)

    found = invariants(loaded)
    assert found["broken"] == []
    assert loaded.exit_code in {ExitCode.KEPT, ExitCode.INVALID_MEASUREMENT}
    assert {
        "async.execution-id-is-fresh",
        "execution.edges",
        "execution.final-is-absorbing",
        "usage.run-has-a-row",
        "run.charge-equals-usage",
        "workflows.update-takes-subset",
        "workflows.delete-then-404",
    } <= facts(found["kept"])
    assert {"rate.remaining-falls", "rate.over-limit-is-429"} <= facts(found["untested"])


@pytest.mark.nightly
def test_breach_between_two_workers_is_found(tmp_path):
    loaded = verified(tmp_path, "--processes", "2", *WITHOUT_ENDS, faults=("async-execution-id-repeats",))

    assert loaded.exit_code == ExitCode.BREACH
    (broken,) = invariants(loaded)["broken"]
    assert broken.fact == "async.execution-id-is-fresh"
    assert broken.seen == broken.broken + 1


@pytest.mark.nightly
@pytest.mark.parametrize("seed", [1, 2])
def test_choices_on_open_points_fail_no_run(tmp_path, seed):
    """Servers may choose; assumptions that do not hold are excused."""
    loaded = verified(tmp_path, "mixed", "--rate", "30", "--duration", "3s", legal=f"{seed},limited=runs")

    assert invariants(loaded)["broken"] == []
    assert loaded.exit_code in {ExitCode.KEPT, ExitCode.INVALID_MEASUREMENT}
