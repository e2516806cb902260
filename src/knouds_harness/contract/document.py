"""Read the OpenAPI document into typed objects; report a broken one with the place of each flaw."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any, Final, TypeVar

import yaml

from knouds_harness.contract.nodes import DocumentFlaw, Node, check_citations
from knouds_harness.contract.operations import ErrorCode, Operation
from knouds_harness.contract.reading import read_error_code, read_fact, read_operation
from knouds_harness.contract.sources import DOCUMENT_SOURCES, Fact
from knouds_harness.errors import DocumentError
from knouds_harness.file_content import file_content
from knouds_harness.locations import document_path

_Read = TypeVar("_Read")

FIX_REMEDY: Final = "  Fix the document there; spec/README.md says how it is written."
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
_FLAWS_SHOWN = 20


@dataclass(frozen=True, kw_only=True, eq=False)  # compared by identity, so that it can be a key
class Document:
    """The contract.

    Attributes:
        raw: The document as parsed, for tools that take plain OpenAPI.
        session_only_paths: Paths where a GET with a key must not succeed.
    """

    raw: dict[str, Any]
    title: str
    version: str
    sha256: str
    operations: tuple[Operation, ...]
    facts: Mapping[str, Fact]
    error_codes: Mapping[str, ErrorCode]
    session_only_paths: tuple[str, ...]
    source: str = "the document"

    @cached_property
    def operation_by_id(self) -> Mapping[str, Operation]:
        return {operation.id: operation for operation in self.operations}

    def recognise(self, method: str, path: str) -> tuple[Operation, Mapping[str, str]] | None:
        """Find the operation that a request addresses.

        Args:
            method: HTTP method, in any case.
            path: Without query, as sent (percent-encoded).

        Returns:
            The operation and its decoded path values; None if the document has no such path or method.
        """
        for operation in self.operations:
            if operation.method == method.upper():
                values = operation.path_values(path)
                if values is not None:
                    return operation, values
        return None


def load_document(path: Path | None = None) -> Document:
    """Read the OpenAPI document.

    Raises:
        DocumentError: The file cannot be read, is not YAML, or breaks a rule of ``spec/README.md``. The
            message lists flaws with their places.
    """
    path = path or document_path()
    try:
        content = file_content(path)
    except OSError as problem:
        raise DocumentError(
            f"{path}: {problem.strerror or problem}\n  Name the file of an OpenAPI document."
        ) from problem
    try:
        raw = yaml.load(content, Loader=_LOADER)  # noqa: S506  both loaders are the safe one
    except (yaml.YAMLError, ValueError, RecursionError) as problem:  # 9,999 digits or levels
        raise DocumentError(
            f"{path}: not YAML: {' '.join(str(problem).split())}\n  Fix the document at that place."
        ) from problem
    flaws: list[DocumentFlaw] = []
    document = _read(Node(value=raw, root=raw), hashlib.sha256(content).hexdigest(), flaws)
    if document is None or flaws:
        lines = [f"{path}: {flaw}" for flaw in flaws[:_FLAWS_SHOWN]]
        if len(flaws) > _FLAWS_SHOWN:
            lines.append(f"… and {len(flaws) - _FLAWS_SHOWN} more flaws.")
        raise DocumentError("\n".join([*lines, FIX_REMEDY]))
    return replace(document, source=str(path))


@cache
def shipped_document() -> Document:
    """Return the document that ships with the harness; it is read once per process.

    Raises:
        DocumentError: As ``load_document`` does.
    """
    return load_document()


def _read(root: Node, sha256: str, flaws: list[DocumentFlaw]) -> Document | None:
    """Read as much as possible and add every flaw to ``flaws``; return None if a main section is unusable."""
    try:
        version = root.child("openapi").text()
        if not version.startswith("3.1."):
            raise root.child("openapi").flaw(f'must be a version 3.1, is "{version}"')
        facts_node, paths, info = root.child("x-facts"), root.child("paths"), root.child("info")
        codes_node = root.child("components").child("x-error-codes")
        title, contract_version = info.child("title").text(), info.child("version").text()
        session_only_paths = root.child("x-session-only-paths").texts()
        items = (facts_node.children(), codes_node.children(), paths.children())
    except DocumentFlaw as flaw:
        flaws.append(flaw)
        return None
    facts = {fact.id: fact for node in items[0] if (fact := _or_note(flaws, partial(read_fact, node)))}
    codes = {
        code.code: code for node in items[1] if (code := _or_note(flaws, partial(read_error_code, node)))
    }
    flaws.extend(check_citations(root, facts=facts, sources=DOCUMENT_SOURCES))
    operations: dict[str, Operation] = {}
    for path in items[2]:
        for node in _or_note(flaws, path.children) or ():
            if node.key not in _METHODS:
                continue
            operation = _or_note(flaws, partial(read_operation, node, path=path, codes=codes))
            if operation is not None and operation.id in operations:
                flaws.append(
                    node.child("operationId").flaw(f'"{operation.id}" is taken by another operation')
                )
            elif operation is not None:
                operations[operation.id] = operation
    return Document(
        raw=root.value,
        title=title,
        version=contract_version,
        sha256=sha256,
        operations=tuple(operations.values()),
        facts=facts,
        error_codes=codes,
        session_only_paths=session_only_paths,
    )


def _or_note(flaws: list[DocumentFlaw], read: Callable[[], _Read]) -> _Read | None:
    """Return what ``read`` returns; on a flaw, add it to ``flaws`` and return None."""
    try:
        return read()
    except DocumentFlaw as flaw:
        flaws.append(flaw)
        return None
