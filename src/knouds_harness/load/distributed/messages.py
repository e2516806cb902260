"""What master and workers of a load run tell each other, besides what Locust's own messages say."""

from typing import Final

SHARE: Final = "knouds-share"
"""Master to worker: ``start_unix_s``, ``index``, ``workers``: its share of what all do."""

ASK_CREDITS: Final = "knouds-ask-credits"
"""Worker to master: ``needed`` (credits that it must have now, 0 for any), ``what`` for (in words)."""

CREDITS: Final = "knouds-credits"
"""The answer: ``granted``, which may be 0."""

STOP: Final = "knouds-stop"
"""Worker to master: end the run early, for a ``reason``, with an ``exit_code``."""

ASK_FINAL_REPORT: Final = "knouds-ask-final-report"
"""Master to worker: finish what is in flight, and report once more."""

IS_FINAL: Final = "knouds_is_final"
"""In a worker's report: nothing more is to be counted."""

HEALTH: Final = "knouds_health"
"""In a worker's report: how it does."""

SAMPLES: Final = "knouds_samples"
"""In a worker's report: exchanges that were not kept."""

OBSERVATIONS: Final = "knouds_observations"
"""In a worker's report: what it saw of runs, executions and rate limits."""

SENT_AT: Final = "knouds_sent_at_unix_s"
"""In a worker's report: its clock."""

SILENCE_S: Final = 10.0
"""A worker that has not heard its master for so long stops; Locust's master takes a silent worker for lost
after some four seconds."""
