"""``knouds-harness sandbox --har``: write what the sandbox receives and answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from knouds_harness.errors import RunRecordError

if TYPE_CHECKING:
    from knouds_sandbox.observed import Headers, ObservedExchange


@contextmanager
def writing_har(
    path: Path, base_url: str, keys: Mapping[str, str]
) -> Iterator[Callable[[ObservedExchange], None]]:
    """Open a HAR file; yields what adds an exchange to it, with every secret replaced by its name.

    Raises:
        RunRecordError: The file cannot be written.
    """
    from knouds_harness.exchange.traffic.har import HarWriter
    from knouds_harness.exchange.traffic.traffic_redaction import ObservedTraffic

    traffic = ObservedTraffic(keys)
    try:
        writer = HarWriter(path)
    except OSError as error:
        raise RunRecordError(f"--har {path}: cannot be written: {error.strerror}") from error

    def add(seen: ObservedExchange) -> None:
        exchange = traffic.exchange(
            method=seen.method,
            base_url=base_url,
            target=seen.target.decode("latin-1"),
            headers=_texts(seen.headers),
            body=bytes(seen.body),
            status=seen.status or None,
            answer_headers=_texts(seen.answer_headers),
            answer_body=bytes(seen.answer_body),
            began_unix_s=seen.began_unix_s,
            elapsed_ms=seen.elapsed_ms,
        )
        writer.add(exchange)

    with writer:
        yield add


def _texts(headers: Headers) -> tuple[tuple[str, str], ...]:
    return tuple((name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in headers)
