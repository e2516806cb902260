"""``compare.json``: a comparison for programs."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

from knouds_harness.reporting.comparison.check_comparison import CheckComparison
from knouds_harness.reporting.comparison.load_comparison import LoadComparison
from knouds_harness.reporting.comparison.texts import Comparison, headline
from knouds_harness.runs.findings import Finding

FORMAT: Final = "knouds-harness comparison"
FORMAT_VERSION: Final = 1


def comparison_json(comparison: Comparison) -> str:
    """Write a comparison as JSON text."""
    contents = {"format": FORMAT, "format_version": FORMAT_VERSION, **comparison_contents(comparison)}
    return json.dumps(contents, indent=2, ensure_ascii=False) + "\n"


def comparison_contents(comparison: Comparison) -> dict[str, Any]:
    """What there is to say of a comparison; changes are shares, and intervals pairs."""
    verdict = headline(comparison)
    contents: dict[str, Any] = {
        "verdict": f"{verdict.title}: {verdict.detail}",
        "exit_code": int(comparison.exit_code),
        "notes": list(comparison.notes),
    }
    more = load_contents(comparison) if isinstance(comparison, LoadComparison) else _check(comparison)
    return contents | more


def load_contents(comparison: LoadComparison) -> dict[str, Any]:
    """What there is to say of runs of load."""
    return {
        "kind": "load",
        "scenario": comparison.scenario,
        "baseline": [run.run for run in comparison.baseline],
        "candidate": [run.run for run in comparison.candidate],
        "left_out": list(comparison.left_out),
        "confidence_of_each_interval": comparison.confidence,
        "newly_broken_facts": list(comparison.newly_broken),
        "objectives_missed": [asdict(each) for each in comparison.missed],
        "changes": [
            {
                "operation": row.operation,
                "measure": row.measure,
                "verdict": row.verdict,
                "is_gate": row.is_gate,
                "tolerance": row.tolerance,
                "baseline": row.baseline,
                "candidate": row.candidate,
                "change": row.change.estimate if row.change else None,
                "interval": [row.change.low, row.change.high] if row.change else None,
                "noise": row.change.noise if row.change else None,
                "is_noise_seen": row.change.is_noise_seen if row.change else None,
                "smallest_visible": row.change.visible if row.change else None,
                "reason": row.reason,
            }
            for row in comparison.rows
        ],
    }


def _check(comparison: CheckComparison) -> dict[str, Any]:
    return {
        "kind": "check",
        "baseline": comparison.baseline.run,
        "candidate": comparison.candidate.run,
        "regressions": _findings(comparison.regressions),
        "new": _findings(comparison.new),
        "gone": _findings(comparison.gone),
        "not_looked_for": _findings(comparison.not_looked_for),
        "still": _findings(comparison.still),
        "lost": list(comparison.lost),
        "facts": [{"fact": each.fact, "before": each.before, "now": each.now} for each in comparison.facts],
    }


def _findings(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    return [
        {
            "fingerprint": each.fingerprint,
            "verdict": each.verdict,
            "fact": each.fact,
            "operation": each.operation,
            "expected": each.expected,
            "observed": each.observed,
        }
        for each in findings
    ]
