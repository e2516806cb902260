"""The setup of a run: tool, target, document and checks, recorded so that a report needs nothing else."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Protocol

from knouds_harness.contract.document import Document, shipped_document
from knouds_harness.contract.operations import Fact
from knouds_harness.targets.profile import Target
from knouds_harness.targets.resources import Limits, Waiver


class DescribesCheck(Protocol):
    """What the record keeps of a check (checks live in a layer above this one)."""

    @property
    def id(self) -> str: ...
    @property
    def family(self) -> str: ...
    @property
    def sentence(self) -> str: ...
    @property
    def facts(self) -> tuple[str, ...]: ...


@dataclass(frozen=True, kw_only=True)
class RunPersona:
    """A key that the target's profile names; the words are those of ``Persona``."""

    name: str
    capabilities: tuple[str, ...]
    user: str
    tier: str
    role: str
    state: str
    credits: str | float


@dataclass(frozen=True, kw_only=True)
class RunTarget:
    """The target as its profile describes it, without its secrets.

    Attributes:
        missing: Reasons by name of what the profile names but this machine lacked, such as ``keys.pro``.
    """

    name: str
    base_url: str
    production: bool
    limits: Limits
    personas: Mapping[str, RunPersona]
    missing: Mapping[str, str]
    waivers: tuple[Waiver, ...]


@dataclass(frozen=True, kw_only=True)
class RunDocument:
    """The edition of the document that the run checked against."""

    title: str
    version: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class RunOperation:
    """An operation; one of the capabilities in ``needs`` is enough, and none is needed if it is empty."""

    id: str
    method: str
    path: str
    tag: str
    needs: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class RunCheck:
    """A check, and the promise that it checks in one sentence."""

    id: str
    family: str
    sentence: str
    facts: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class RunSetup:
    """The setup of a run, as recorded.

    Attributes:
        checks: Checks by id, in the order in which reports show them.
        host: The machine that it ran on, without its name; empty in older records.
        recordings: Names of the recordings of each fact; none in older records.
        selected: The facts that the run is about, in the document's order; None for all of them.
        faults: Faults of the sandbox; older records have none, and no ``examples``.
        legal: The seed of the sandbox's choices where no source decides; None for its own.
        between: The seed of what stood before the sandbox; None for nothing.
        examples: How many inputs each property was tried with; None if none was.
    """

    tool_version: str
    python_version: str
    command: tuple[str, ...]
    seed: int
    strict: bool
    target: RunTarget
    document: RunDocument
    facts: Mapping[str, Fact]
    operations: Mapping[str, RunOperation]
    checks: Mapping[str, RunCheck]
    host: str = ""
    recordings: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    selected: tuple[str, ...] | None = None
    faults: tuple[str, ...] = ()
    legal: str | None = None
    between: str | None = None
    examples: int | None = None


def run_setup(
    target: Target,
    *,
    seed: int,
    document: Document | None = None,
    checks: Iterable[DescribesCheck] = (),
    command: Sequence[str] = (),
    strict: bool = False,
    recordings: Mapping[str, tuple[str, ...]] | None = None,
    selected: Collection[str] | None = None,
    faults: Sequence[str] = (),
    legal: str | None = None,
    between: str | None = None,
    examples: int | None = None,
) -> RunSetup:
    """Make the setup of a run by this tool on this machine; it holds no secret.

    Defaults are the shipped document, and the command of this process.
    """
    document = document or shipped_document()
    return RunSetup(
        tool_version=version("knouds-harness"),
        python_version=platform.python_version(),
        host=f"{platform.platform()}, {os.cpu_count()} cores",
        command=tuple(command or sys.argv),
        seed=seed,
        strict=strict,
        target=_kept_target(target),
        document=RunDocument(title=document.title, version=document.version, sha256=document.sha256),
        facts=document.facts,
        operations={
            each.id: RunOperation(
                id=each.id, method=each.method, path=each.path, tag=each.tag, needs=each.alternatives
            )
            for each in document.operations
        },
        checks={
            each.id: RunCheck(id=each.id, family=each.family, sentence=each.sentence, facts=each.facts)
            for each in checks
        },
        recordings=recordings or {},
        selected=None if selected is None else tuple(fact for fact in document.facts if fact in selected),
        faults=tuple(faults),
        legal=legal,
        between=between,
        examples=examples,
    )


def _kept_target(target: Target) -> RunTarget:
    return RunTarget(
        name=target.name,
        base_url=target.base_url,
        production=bool(target.production),
        limits=target.limits,
        personas={
            each.name: RunPersona(
                name=each.name,
                capabilities=tuple(sorted(each.capabilities)),
                user=each.user,
                tier=each.tier,
                role=each.role,
                state=each.state,
                credits=each.credits,
            )
            for each in target.personas.values()
        },
        missing=target.missing,
        waivers=target.waivers,
    )
