"""What master and workers of a load run tell each other, besides what Locust's own messages say."""

from __future__ import annotations

from typing import Final

SHARE: Final = "knouds-share"
"""Master to worker: ``start_unix_s``, ``from_s``, ``index``, ``workers``: its part of what all do."""

ASK_SHARE: Final = "knouds-ask-share"
"""Worker to master: it gave its share up while it did not hear the master, and hears it again."""

ASK_CREDITS: Final = "knouds-ask-credits"
"""Worker to master: ``needed`` (credits that it must have now, 0 for any), ``what`` for (in words)."""

CREDITS: Final = "knouds-credits"
"""The answer: ``granted``, which may be 0."""

STOP: Final = "knouds-stop"
"""Worker to master: end the run early, for a ``reason``, with an ``exit_code``."""

END: Final = "knouds-end"
"""Master to worker: finish what is in flight, and send the last report."""

HEALTH: Final = "knouds_health"
"""In a worker's report: how it does."""

IS_LAST: Final = "knouds_is_last"
"""In a worker's report: no other will bring anything."""

SENT_AT: Final = "knouds_sent_at_unix_s"
"""In a worker's report: its clock."""

SILENCE_S: Final = 4.0
"""A worker that has not heard the master for so long begins nothing.

Locust's master takes it for lost more than four seconds after its last heartbeat, and the others serve its
share from ``TAKE_OVER_S`` later.
"""

TAKE_OVER_S: Final = 1.0
"""From telling workers of new shares until those count: for the message to reach each."""
