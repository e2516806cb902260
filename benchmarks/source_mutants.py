"""Which small edits to the sandbox's own source a check notices.

    python benchmarks/source_mutants.py [--sample N] [--seed N] [--mutant ID]... [--jobs N]

Edits one place of what a request passes (routing, access, handlers, state, what these call) and runs
``knouds-harness check --quick --fail-fast`` on that sandbox, then the full check for what that leaves alone.
A mutant that breaks the sandbox or a fact is killed; any other is a survivor, which ``source_mutants.toml``
has to name: as *equivalent* (no request shows it), *undocumented* (no page says what is right there) or *gap*
(a check is missing). Exits with 1 for a gap and for a survivor that has no name.
"""

from __future__ import annotations

import argparse
import ast
import os
import random
import shutil
import sys
import tempfile
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

from mutation import TOO_LONG, Checked, check, in_parallel

import knouds_sandbox

SOURCE: Final = Path(knouds_sandbox.__file__).parent
NAMED: Final = Path(__file__).with_suffix(".toml")
FILES: Final = ("routing/*", "access/*", "handlers/*", "state/*", "bodies", "engine")
NOT_PASSED: Final = {"access/network.py", "handlers/control.py", "routing/preferences.py", "state/store.py"}
EDITED: Final[dict[type[ast.AST], type[ast.AST]]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.And: ast.Or,
    ast.Or: ast.And,
}
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """One edit.

    Attributes:
        path: Of the file, within the package.
        function: With its class.
        node: Number of what is edited, among what runs with the function.
        edit: Number of the edit, among those of the node.
        line: As it was.
    """

    path: str
    function: str
    node: int
    edit: int
    line: str

    def text(self) -> str:
        """The file as it is then."""
        tree = ast.parse((SOURCE / self.path).read_text(encoding="utf-8"))
        node = list(walked(dict(functions_of(tree))[self.function]))[self.node]
        _, edit = list(edits_of(node))[self.edit]
        edit()
        return ast.unparse(ast.fix_missing_locations(tree))


def edits_of(node: ast.AST) -> Iterator[tuple[str, Callable[[], object]]]:
    """What can be changed at a node, each with its kind; an edit changes the tree in place."""
    if isinstance(node, ast.Compare):
        for place, operator in enumerate(node.ops):
            yield "compare", partial(node.ops.__setitem__, place, EDITED[type(operator)]())
    elif isinstance(node, ast.BoolOp | ast.BinOp) and type(node.op) in EDITED:
        yield "operator", partial(setattr, node, "op", EDITED[type(node.op)]())
    elif isinstance(node, ast.If | ast.IfExp | ast.While):
        yield "negate", partial(setattr, node, "test", ast.UnaryOp(ast.Not(), node.test))
    elif isinstance(node, ast.Constant) and isinstance(node.value, int):
        value = not node.value if isinstance(node.value, bool) else node.value + 1
        yield "constant", partial(setattr, node, "value", value)
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call | ast.Await):
        yield "leave out", partial(setattr, node, "value", ast.Constant(None))


def walked(node: ast.AST) -> Iterator[ast.AST]:
    """What runs with a function: all but annotations and decorators."""
    yield node
    for name, value in ast.iter_fields(node):
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and name not in {"annotation", "returns", "decorator_list"}:
                yield from walked(child)


def functions_of(tree: ast.Module) -> Iterator[tuple[str, Function]]:
    """The functions of a file and the methods of its classes, by name."""
    for each in tree.body:
        if isinstance(each, Function):
            yield each.name, each
        elif isinstance(each, ast.ClassDef):
            yield from ((f"{each.name}.{it.name}", it) for it in each.body if isinstance(it, Function))


def mutants_of(path: str) -> Iterator[tuple[str, Mutant]]:
    """Every mutant of a file, by ``FILE:FUNCTION:KIND:NUMBER``."""
    source = (SOURCE / path).read_text(encoding="utf-8")
    lines = source.splitlines()
    for name, function in functions_of(ast.parse(source)):
        numbers: Counter[str] = Counter()
        for place, node in enumerate(walked(function)):
            for at, (kind, _) in enumerate(edits_of(node)):
                numbers[kind] += 1
                line = lines[getattr(node, "lineno", function.lineno) - 1].strip()
                mutant = Mutant(path=path, function=name, node=place, edit=at, line=line)
                yield f"{path}:{name}:{kind}:{numbers[kind]}", mutant


def judge(mutant: Mutant) -> Checked:
    """Check a sandbox with one mutant: quickly, then in full if that shows nothing."""
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / SOURCE.name
        shutil.copytree(SOURCE, package, ignore=shutil.ignore_patterns("__pycache__"))
        (package / mutant.path).write_text(mutant.text(), encoding="utf-8")
        for depth in ("--quick", "--fail-fast"), ("--fail-fast",):
            checked = check(*depth, "--seed", "1", python_path=folder)
            if checked.checks_by_fact or checked.trouble:
                break
    return checked


def show(checked: Checked) -> str:
    """One mutant in half a line."""
    if checked.trouble == TOO_LONG:
        return "no verdict: took too long"
    killed = ", ".join(checked.checks_by_fact) or checked.trouble
    return f"killed ({killed})" if killed else "SURVIVED"


def main() -> int:
    """Draw, judge, and say what has no name."""
    parser = argparse.ArgumentParser(description="Which edits to the sandbox a check notices.")
    parser.add_argument("--sample", type=int, default=40, metavar="N", help="so many mutants (default: 40)")
    today = datetime.now(UTC).date().toordinal()
    parser.add_argument("--seed", type=int, default=today, help="draws them (default: another each day)")
    parser.add_argument("--mutant", action="append", default=[], metavar="ID", help="only this; repeatable")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help="at a time")
    options = parser.parse_args()
    files = {file.relative_to(SOURCE).as_posix() for each in FILES for file in SOURCE.glob(f"{each}.py")}
    mutant_by_id = dict(each for path in sorted(files - NOT_PASSED) for each in mutants_of(path))
    named = tomllib.loads(NAMED.read_text(encoding="utf-8"))
    drawn = options.mutant or random.Random(options.seed).sample(list(mutant_by_id), options.sample)
    print(f"{len(drawn)} of {len(mutant_by_id)} mutants, seed {options.seed}", flush=True)
    mutants = {each: mutant_by_id[each] for each in drawn}
    judged = dict(zip(mutants, in_parallel(mutants, do=judge, show=show, jobs=options.jobs), strict=True))
    survivors = [name for name, each in judged.items() if not each.checks_by_fact and not each.trouble]
    by_facts = sum(bool(each.checks_by_fact) for each in judged.values())
    too_long = sum(each.trouble == TOO_LONG for each in judged.values())
    broken = len(judged) - by_facts - len(survivors) - too_long
    print(
        f"\n{by_facts} killed by a fact, {broken} keep the sandbox from working, "
        f"{len(survivors)} survive, {too_long} took too long"
    )
    kinds = {each: named.get(each, {}).get("is", "NOT NAMED") for each in survivors}
    for name, kind in kinds.items():
        print(f"{kind}: {name}\n    {mutants[name].line}")
    gone = sorted(named.keys() - mutant_by_id.keys())
    for name in gone:
        print(f"named, and no longer there: {name}")
    return 1 if gone or not set(kinds.values()) <= {"equivalent", "undocumented"} else 0


if __name__ == "__main__":
    sys.exit(main())
