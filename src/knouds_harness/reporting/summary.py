"""``summary.json``: a run in figures, for programs."""

import json
from dataclasses import asdict
from typing import Any

from knouds_harness.reporting.check import fact_status
from knouds_harness.reporting.check.headline import headline
from knouds_harness.reporting.comparison.check_comparison import CheckComparison
from knouds_harness.reporting.comparison.texts import contents_of_check
from knouds_harness.reporting.comparison.texts import headline as headline_of_change
from knouds_harness.reporting.load.headline import load_headline
from knouds_harness.runs.findings import Finding
from knouds_harness.runs.load_record import load_file_format
from knouds_harness.runs.load_results import LoadResults
from knouds_harness.runs.record import RunRecord

_FORMAT = "knouds-harness summary"
_FORMAT_VERSION = 1
_MEMBERS = (
    *("fingerprint", "verdict", "waived_by", "fact", "check", "operation", "persona", "status", "code"),
    *("where", "expected", "observed", "trace_id", "count"),
)
"""Members of a finding with the same name."""


def summary(record: RunRecord, change: CheckComparison | None = None) -> str:
    """Summarize a run as JSON text, with what changed against its baseline, if it has one."""
    load = record.load
    # A load run judges invariants, which are in its own part.
    rows = [] if load else fact_status.fact_rows(record)
    verdict = load_headline(record, load) if load else headline(record, rows, change)
    contents = {
        "format": _FORMAT,
        "format_version": _FORMAT_VERSION,
        "run": record.folder.resolve().name,
        "kind": record.kind,
        "outcome": record.outcome,
        "exit_code": record.exit_code,
        "verdict": f"{verdict.title}: {verdict.detail}",
        "note": record.note,
        "started_at": record.started_at.isoformat(),
        "duration_s": round(record.duration_s, 3),
        "target": {"name": record.setup.target.name, "base_url": record.setup.target.base_url},
        "document": asdict(record.setup.document),
        "tool_version": record.setup.tool_version,
        "python_version": record.setup.python_version,
        "command": list(record.setup.command),
        "seed": record.setup.seed,
        "strict": record.setup.strict,
        "counts": {
            "exchanges": record.counts.exchanges,
            "answers": dict(record.counts.answers),
            "claims_passed": record.counts.passed,
            "claims_failed": record.counts.failed,
            "cost_credits": record.counts.cost_credits,
            "facts": {status.value: count for status, count in fact_status.status_counts(rows).items()},
            **({"pairs": asdict(record.counts.pairs)} if record.counts.pairs else {}),
            "selected_facts": sum(row.is_selected for row in rows),
            "tests": {
                row.check: {
                    **{name: getattr(row, name) for name in ("passed", "failed", "skipped")},
                    "duration_s": round(row.duration_s, 3),
                }
                for row in fact_status.family_rows(record)
            },
        },
        "facts": {row.fact.id: row.status.value for row in rows},
        "findings": [_finding(record, finding) for finding in record.findings],
        "drift": [
            {name: getattr(each, name) for name in ("where", "observed", "operations", "count")}
            for each in fact_status.drift_of(record)
        ],
        "untested": fact_status.untested_rows(record),
        "endless": list(record.endless),
        "waivers": [
            {
                "names": str(row.waiver),
                "reason": row.waiver.reason,
                "expires": row.waiver.expires.isoformat(),
                "state": row.state,
            }
            for row in fact_status.waiver_rows(record)
        ],
        "gaps": list(record.gaps),
        **({"load": _load(load)} if load else {}),
        **({"change": _change(change)} if change else {}),
    }
    return json.dumps(contents, indent=2, ensure_ascii=False) + "\n"


def _load(load: LoadResults) -> dict[str, Any]:
    """Return the contents of ``load.json`` without the members that name its format."""
    contents: dict[str, Any] = load_file_format().dump_python(load, mode="json")
    return {name: value for name, value in contents.items() if not name.startswith("format")}


def _change(change: CheckComparison) -> dict[str, Any]:
    verdict = headline_of_change(change)
    contents = {"against": change.against, "verdict": f"{verdict.title}: {verdict.detail}"}
    return contents | contents_of_check(change)


def _finding(record: RunRecord, finding: Finding) -> dict[str, Any]:
    members = {name: getattr(finding, name) for name in _MEMBERS}
    return {"fails_run": record.fails(finding), **members, "exchange": finding.exchange_id}
