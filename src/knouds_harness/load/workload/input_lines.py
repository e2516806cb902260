"""``--inputs``: the file with the inputs of runs, and which of its lines comes next."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from random import Random
from typing import Any, Final, NoReturn

from gevent.event import Event

from knouds_harness.errors import UnknownName, UsageError
from knouds_harness.load.arrivals.schedule import Share
from knouds_harness.load.options import ORDERS
from knouds_harness.load.workload.accounts import (
    RUN_MODEL,
    RUN_WORKFLOW,
    AccountKeys,
    InputLine,
    Runnable,
    RunRequest,
)
from knouds_harness.targets.needs.runs import RunNeed
from knouds_harness.targets.profile import Model, Target, Workflow

MOST_LINES: Final = 100_000
MOST_BYTES: Final = 100_000_000
_MOST_PROBLEMS: Final = 10
_KINDS: Final = {"workflow": RUN_WORKFLOW, "model": RUN_MODEL}
_COST: Final = "cost_credits"
_MEMBERS: Final = (*_KINDS, "inputs", _COST)
_AMOUNT: Final = re.compile(r"\s*[+-]?[\d.,]+\s*\w{0,3}\s*")
_EXAMPLE: Final = '{"workflow": "SLUG", "inputs": {}}'


@dataclass(frozen=True, kw_only=True)
class InputFile:
    """A valid file of inputs."""

    path: Path
    lines: tuple[InputLine, ...]
    digest: str

    def described(self, order: str) -> str:
        return f"{self.path.name}, {len(self.lines):,} lines, {order}, sha256 {self.digest[:12]}"


def read_input_file(path: Path, target: Target) -> InputFile:
    """Read a file of inputs: JSON Lines (``.jsonl``), or CSV with a header (``.csv``)."""
    if path.suffix not in {".jsonl", ".csv"}:
        raise UsageError(
            f"{path}: --inputs reads .jsonl and .csv files\n"
            "  Write a line there for each run; --mix says how often each task comes."
        )
    if not path.is_file():
        raise UsageError(f"{path}: no such file\n  Name a .jsonl or .csv file.")
    try:
        content = path.read_bytes() if path.stat().st_size <= MOST_BYTES else None
        if content is None or content.count(b"\n") > MOST_LINES + 1:  # with a header
            raise UsageError(
                f"{path}: --inputs takes at most {MOST_LINES:,} lines and {MOST_BYTES / 1e6:,.0f} MB\n"
                "  Take a part of it: lines come again once all have come."
            )
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise UsageError(f"{path}: is not UTF-8\n  Convert it.") from None
    raw = list(_csv_members(text) if path.suffix == ".csv" else _json_members(text))
    if not raw:
        raise UsageError(f"{path}: has no lines\n  Write one for each run: {_EXAMPLE}")
    lines: list[InputLine] = []
    problems: list[str] = []
    for number, members in raw:
        try:
            lines.append(_line(number, members, target))
        except ValueError as problem:
            problems.append(f"{path}:{number}: {problem}")
    _raise_all(problems)
    return InputFile(path=path, lines=tuple(lines), digest=hashlib.sha256(content).hexdigest())


def refuse_idle_lines(file: InputFile, used: Iterable[RunRequest]) -> None:
    """Refuse lines that no task takes; ``used`` is all that the tasks can run."""
    taken = {each.what for each in used}
    _raise_all(
        [
            f"{file.path}:{line.number}: no task of this scenario can run {line.name}\n"
            "  A task needs a key that may run it, credits, a price, and polled = true if runs are followed."
            for line in file.lines
            if line.what not in taken
        ]
    )


def _may_cost_more(inputs: Mapping[str, Any], resource: Workflow | Model) -> bool:
    """Return whether the profile's price, which is for its own inputs, may not hold for these.

    Numbers, switches and lists may multiply a price, as may amounts that are written as text (``10s``); words
    do not. Those left out take defaults, which the profile does not name.
    """
    return _amounts(inputs) != _amounts(resource.inputs)


def _amounts(inputs: Mapping[str, Any]) -> Mapping[str, Any]:
    return {
        name: value
        for name, value in inputs.items()
        if not isinstance(value, str) or _AMOUNT.fullmatch(value)
    }


class InputSequence:
    """Chooses the next line of a file, in one process.

    Accounts and tasks that can run the same workflows and models share one order, so that a line comes again
    only after all others. Several processes divide that order between them.
    """

    def __init__(self, lines: Sequence[InputLine], *, order: str, seed: int) -> None:
        self._lines = lines if order == ORDERS[0] else Random(str(seed)).sample(lines, len(lines))
        self._share = Share()
        self._is_shared = Event()
        self._orders: dict[frozenset[Runnable], Iterator[InputLine]] = {}
        self._by_need: dict[tuple[AccountKeys, RunNeed[Any]], _Source] = {}

    def take_share(self, share: Share) -> None:
        self._share = share
        self._is_shared.set()

    def next(self, account: AccountKeys, need: RunNeed[Any]) -> RunRequest:
        """Return what an account runs next for a task; wait until there is a share."""
        self._is_shared.wait()
        asked = account, need
        if asked not in self._by_need:
            self._by_need[asked] = self._source(account.run_requests(need))
        lines, request_by_what = self._by_need[asked]
        line = next(lines)
        run_request = request_by_what[line.what]
        told = run_request.price_credits if line.cost_credits is None else line.cost_credits
        cost = run_request.cost_credits if told is None else told
        return replace(run_request, inputs=line.inputs, cost_credits=cost)

    def _source(self, run_requests: Iterable[RunRequest]) -> _Source:
        by_what = {each.what: each for each in run_requests}
        runnable = frozenset(by_what)
        if runnable not in self._orders:
            fitting = [line for line in self._lines if line.what in runnable]
            turns = count(self._share.index, self._share.workers)
            self._orders[runnable] = (fitting[turn % len(fitting)] for turn in turns)
        return self._orders[runnable], by_what


_Source = tuple[Iterator[InputLine], Mapping[Runnable, RunRequest]]


def _json_members(text: str) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                yield number, json.loads(line, parse_constant=_refuse_constant)
            except (ValueError, RecursionError) as error:
                yield number, f"is not JSON: {error}"


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


def _csv_members(text: str) -> Iterator[tuple[int, Any]]:
    rows = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        header = rows.fieldnames or []
        columns = set(header)
        if header and ("" in columns or len(columns) < len(header) or not _KINDS.keys() & columns):
            yield 1, "is not a header\n  Write workflow or model, then a column for each input, each once."
            return
        for cells in rows:
            if None in cells or None in cells.values():
                yield rows.line_num, "has not as many cells as the header"
                continue
            members = {name: _of_cell(cells.pop(name)) for name in _MEMBERS if cells.get(name)}
            of_columns = {name: _of_cell(cell) for name, cell in cells.items() if cell}
            yield rows.line_num, members | {"inputs": members.get("inputs", of_columns)}
    except csv.Error as error:
        yield rows.line_num, f"is not CSV: {error}"


def _of_cell(text: str) -> Any:  # noqa: ANN401 - JSON
    """Read a cell as JSON, or as text if it is not JSON."""
    with suppress(ValueError, RecursionError):
        return json.loads(text, parse_constant=_refuse_constant)
    return text


def _line(number: int, members: Any, target: Target) -> InputLine:  # noqa: ANN401 - of any file
    """Make a line of what was read, or raise ``ValueError`` that says what is wrong."""
    if isinstance(members, str):
        raise ValueError(members)  # noqa: TRY004 - a problem that reading has found
    members = members if isinstance(members, Mapping) else {}
    unknown = [each for each in members if each not in _MEMBERS]
    if unknown:
        raise ValueError(str(UnknownName("member", unknown[0], _MEMBERS)))
    kind, *others = [each for each in _KINDS if each in members] or [""]
    name, inputs, cost = members.get(kind), members.get("inputs"), members.get(_COST)
    if not kind or others or not isinstance(inputs, Mapping):
        raise ValueError(f"is not an object with a workflow or a model, and inputs\n  Write {_EXAMPLE}")
    known = target.workflows if kind == "workflow" else target.models
    if not isinstance(name, str) or name not in known:
        raise ValueError(f"{UnknownName(kind, str(name), known)}\n  Or add it to {target.source}.")
    if cost is None and not target.is_built_in and _may_cost_more(inputs, known[name]):
        raise ValueError(
            f"the price of {name} is for other inputs: these differ from the profile's in more than words\n"
            f"  Add {_COST}, the most that this run costs."
        )
    if not (cost is None or (type(cost) in {int, float} and 0 <= cost < float("inf"))):
        raise ValueError(f"{_COST}: {cost!r} is not a price\n  Write a number of credits, or leave it out.")
    return InputLine(number=number, operation=_KINDS[kind], name=name, inputs=inputs, cost_credits=cost)


def _raise_all(problems: Sequence[str]) -> None:
    if problems:
        more = len(problems) - _MOST_PROBLEMS
        shown = [*problems[:_MOST_PROBLEMS], *([f"and {more:,} lines more"] if more > 0 else [])]
        raise UsageError("\n".join(shown))
