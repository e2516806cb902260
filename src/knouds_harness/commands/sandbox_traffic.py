"""``knouds-harness sandbox --har``: write what the sandbox receives and answers."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

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
    from knouds_harness.contract.document import shipped_document
    from knouds_harness.exchange.evidence import KEY_HEADER, Exchange, Request
    from knouds_harness.exchange.redaction import HIDDEN, Redactor
    from knouds_harness.exchange.traffic.har import HarWriter
    from knouds_harness.exchange.traffic.traffic_redaction import is_secret_name
    from knouds_harness.targets.personas import Secret

    document = shipped_document()
    redactor = Redactor(Secret(value, f"key:{name}") for name, value in keys.items())
    name_by_key = {value: name for name, value in keys.items()}
    numbers = itertools.count(1)
    try:
        writer = HarWriter(path)
    except OSError as error:
        raise RunRecordError(f"--har {path}: cannot be written: {error.strerror}") from error

    def add(seen: ObservedExchange) -> None:
        target = seen.target.decode("latin-1")
        sent = tuple(
            (name, HIDDEN if is_secret_name(name) and value not in name_by_key else value)
            for name, value in _texts(seen.headers)
        )
        sent_path, _, query = target.partition("?")
        found = document.recognise(seen.method, sent_path)
        key = dict(sent).get(KEY_HEADER)
        request = Request(
            method=seen.method,
            path=sent_path,
            query=tuple(parse_qsl(query, keep_blank_values=True)),
            headers=tuple(pair for pair in sent if pair[0] != KEY_HEADER),
            body=bytes(seen.body) or None,
            operation_id=found[0].id if found else None,
            persona=name_by_key.get(key or ""),
            path_values=found[1] if found else {},
        )
        exchange = Exchange(
            id=f"x{next(numbers):05d}",
            request=redactor.request(request),
            url=redactor.text(base_url + target),
            sent_headers=redactor.pairs(sent),
            status=seen.status or None,
            headers=redactor.pairs(_texts(seen.answer_headers)),
            body=redactor.content(bytes(seen.answer_body)),
            started_at=datetime.fromtimestamp(seen.began_unix_s, UTC),
            elapsed_ms=seen.elapsed_ms,
            failure=None if seen.status else "not answered",
        )
        writer.add(exchange)

    with writer:
        yield add


def _texts(headers: Headers) -> tuple[tuple[str, str], ...]:
    return tuple((name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in headers)
