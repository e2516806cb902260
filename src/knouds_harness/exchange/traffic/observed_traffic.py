"""Make exchanges, without secrets, of what others sent: a client under test, or clients of a sandbox."""

import itertools
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import parse_qsl

from knouds_harness.contract.document import shipped_document
from knouds_harness.exchange.evidence import KEY_HEADER, Exchange, Pairs, Request
from knouds_harness.exchange.redaction import HIDDEN, Redactor
from knouds_harness.exchange.traffic.traffic_redaction import is_secret_name
from knouds_harness.targets.personas import Secret


class ObservedTraffic:
    """Numbers what was observed, and replaces each key by its name.

    Args:
        keys: Known keys by name; further ones are called ``client-1``, ``client-2`` and so on.
    """

    def __init__(self, keys: Mapping[str, str] | None = None) -> None:
        self._document = shipped_document()
        self._redactor = Redactor()
        self._name_by_key: dict[str, str] = {}
        self._numbers = itertools.count(1)
        for name, value in (keys or {}).items():
            self._know(value, name)

    def _know(self, key: str, name: str) -> None:
        self._name_by_key[key] = name
        self._redactor.add(Secret(key, f"key:{name}"))

    def exchange(
        self,
        *,
        method: str,
        base_url: str,
        target: str,
        headers: Pairs,
        body: bytes,
        status: int | None,
        answer_headers: Pairs,
        answer_body: bytes,
        began_unix_s: float,
        elapsed_ms: float,
        failure: str = "not answered",
        names_keys: bool = False,
    ) -> Exchange:
        """Return one exchange; header names are in lower case, ``target`` is path and query as sent.

        With ``names_keys`` a key that is not known yet gets a name; otherwise it is hidden.
        """
        key = dict(headers).get(KEY_HEADER)
        if names_keys and key and key not in self._name_by_key:
            self._know(key, f"client-{len(self._name_by_key) + 1}")
        sent = tuple(
            (name, HIDDEN if is_secret_name(name) and value not in self._name_by_key else value)
            for name, value in headers
        )
        path, _, query = target.partition("?")
        found = self._document.recognise(method, path)
        request = Request(
            method=method,
            path=path,
            query=tuple(parse_qsl(query, keep_blank_values=True)),
            headers=tuple(pair for pair in sent if pair[0] != KEY_HEADER),
            body=body or None,
            operation_id=found[0].id if found else None,
            persona=self._name_by_key.get(key or ""),
            path_values=found[1] if found else {},
        )
        return Exchange(
            id=f"x{next(self._numbers):05d}",
            request=self._redactor.request(request),
            url=self._redactor.text(base_url + target),
            sent_headers=self._redactor.pairs(sent),
            status=status,
            headers=self._redactor.pairs(answer_headers),
            body=self._redactor.content(answer_body),
            started_at=datetime.fromtimestamp(began_unix_s, UTC),
            elapsed_ms=elapsed_ms,
            failure=None if status else failure,
        )
