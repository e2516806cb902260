"""Steps: what was sent before an answer and may have led to it."""

from __future__ import annotations

from knouds_harness.conformance.statuses import body_of
from knouds_harness.exchange.evidence import Exchange


class Steps:
    """What belongs together of all that is sent: one execution's requests, or those of a sequence."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._sequence: list[Exchange] = []
        self._is_in_sequence = False
        self._about_execution: dict[str, list[Exchange]] = {}

    def begin_sequence(self) -> None:
        """From here on, each request may be what the next ones depend on."""
        self._sequence, self._is_in_sequence = [], True

    def end_sequence(self) -> None:
        """From here on, each request stands for itself again."""
        self._sequence, self._is_in_sequence = [], False

    def note(self, exchange: Exchange) -> None:
        """Take an exchange in, in the order of sending."""
        if self._is_in_sequence:
            self._sequence.append(exchange)
        execution_id = exchange.request.path_values.get("id")
        submitted_id = body_of(exchange).get("executionId")
        if execution_id is not None:
            if execution_id in self._about_execution:
                self._about_execution[execution_id].append(exchange)
        elif isinstance(submitted_id, str):
            self._about_execution[submitted_id] = [exchange]

    def of(self, exchange: Exchange) -> tuple[Exchange, ...]:
        """What shows an answer again: all that led to it, itself among it.

        Of an execution that was cancelled, what polls showed after it too, which is what cancelling is about.
        """
        sent = self._about_execution.get(exchange.request.path_values.get("id", ""), self._sequence)
        if exchange not in sent:
            return (exchange,)
        is_cancel = exchange.request.operation_id == "cancelExecution"
        return tuple(sent if is_cancel else sent[: sent.index(exchange) + 1])
