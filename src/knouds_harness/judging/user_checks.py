"""User-defined facts and checks, besides those of the document and the harness."""

from __future__ import annotations

import os
import re
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Final

from knouds_harness.contract.operations import Fact, Source
from knouds_harness.errors import UsageError
from knouds_harness.exchange.evidence import Exchange
from knouds_harness.judging.claim import Check, Claim

USER: Final = "user"
"""The family of user checks, and the prefix of their fact ids."""
_NAME: Final = re.compile(r"[a-z0-9]+([.-][a-z0-9]+)*")


@dataclass(frozen=True, kw_only=True)
class UserChecks:
    """The user's facts and checks of a run."""

    facts: Mapping[str, Fact] = field(default_factory=dict)
    checks: Mapping[str, Check[[]]] = field(default_factory=dict)

    def joined(self, other: UserChecks) -> UserChecks:
        """Return the union of both."""
        return UserChecks(facts={**self.facts, **other.facts}, checks={**self.checks, **other.checks})


def fact(name: str, says: str) -> Fact:
    """Define a promise of your own.

    Args:
        name: Lowercase letters, digits, hyphens and dots; the id is ``user.NAME``.
        says: The promise in one sentence.

    Raises:
        ValueError: The name has other characters.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"{name!r} is not a valid name of a fact: use lowercase letters, digits, hyphens and dots"
        )
    return Fact(id=f"{USER}.{name}", says=says, source=Source.USER)


def check(*facts: Fact) -> Callable[[Callable[[Exchange], Iterator[Claim]]], Check[[]]]:
    """Turn a function that takes an exchange and yields claims about these facts into a check.

    It is called with every exchange, undocumented paths included, but not with webhook deliveries. It yields
    nothing if it does not apply. Reports show its docstring.
    """

    def decorate(judge: Callable[[Exchange], Iterator[Claim]]) -> Check[[]]:
        name = judge.__name__.replace("_", "-")
        return Check(id=f"{USER}.{name}", facts=tuple(each.id for each in facts), judge=judge)

    return decorate


def load_checks(path: Path) -> UserChecks:
    """Load the facts and checks that a Python file defines.

    Raises:
        UsageError: There is no such file, it fails, or it defines no check.
    """
    spec = spec_from_file_location(f"knouds_user_checks_{path.stem}", path)
    if spec is None or spec.loader is None or not os.path.isfile(path):  # noqa: PTH113 - bears any name
        raise UsageError(f"--checks {path}: no such Python file")
    module = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise UsageError(f"--checks {place_of(error, path)}") from error
    values = list(vars(module).values())
    checks = {each.id: each for each in values if isinstance(each, Check) and each.family == USER}
    facts = {each.id: each for each in values if isinstance(each, Fact) and each.source is Source.USER}
    unknown = [name for each in checks.values() for name in each.facts if name not in facts]
    if unknown:
        raise UsageError(f"--checks {path}: {unknown[0]} has no name in that file\n  Write NAME = fact(…).")
    if not checks:
        raise UsageError(f"--checks {path}: defines no check\n  docs/extending.md shows one.")
    return UserChecks(facts=facts, checks=checks)


def claims_of(each: Check[[]], exchange: Exchange) -> list[Claim]:
    """Return the claims of a user check.

    Raises:
        ValueError: It claims a fact that it does not name.
    """
    claims = list(each.judge(exchange))
    for claim in claims:
        if claim.fact not in each.facts:
            raise ValueError(f"{each.id} claims {claim.fact}, which @check does not name")
    return claims


def place_of(error: BaseException, path: Path | None = None) -> str:
    """Return file, line and message of an exception in user code."""
    if isinstance(error, SyntaxError):
        return f"{error.filename}:{error.lineno}: {error.msg}"
    frames = traceback.extract_tb(error.__traceback__)
    last = next((each for each in reversed(frames) if path is None or each.filename == str(path)), None)
    place = f"{last.filename}:{last.lineno}" if last else str(path)
    return f"{place}: {type(error).__name__}: {error}"
