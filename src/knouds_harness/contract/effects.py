"""What a request may do, however a server reads it.

Frameworks and proxies differ in what they make of a request: they decode a path once or twice, merge its
slashes, resolve its dots, ignore its case, or take method and path from a header. So a request is read in
each of these ways, and may do whatever the most harmful reading does.
"""

import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import groupby
from typing import Final, NamedTuple
from urllib.parse import unquote

from knouds_harness.contract.document import shipped_document
from knouds_harness.contract.operations import Action, Operation

Pairs = Sequence[tuple[str, str]]

_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_BY_HARM: Final = (Action.RUN, Action.WRITE, Action.CANCEL, Action.READ)
_LONGEST: Final = 4000
_MOST_FORMS: Final = 200

# Names of headers and query parameters, in lower case, with "_" written as "-".
_NAMES_METHOD: Final = re.compile(r"(?!access-control-).*method")
_NAMES_PATH: Final = re.compile(r".*(?:ur[il]|path|rewrite|prefix|route|script-name)\b")
_NAMES_SERVER: Final = re.compile(
    r".*\bhost|forwarded|(?:proxy-)?connection|content-length|expect|http2-settings|keep-alive|te|trailer"
    r"|transfer-encoding|upgrade"
)

# In a path whose percent-encoding is undone: what some server takes for the end of a name or of the path.
_DIVIDES: Final = re.compile("[;?#%\\\\\ufffd\udc80-\udcff\x00-\x1f\x7f]")
_PLAIN: Final = re.compile(r"(?:/[a-z0-9-]+)+")


def _unquoted(path: str) -> str:
    """Undo percent-encoding by bytes: those of one character may be encoded to different depths."""
    return (
        unquote(path, errors="surrogateescape")
        .encode(errors="surrogateescape")
        .decode(errors="surrogateescape")
    )


_STEPS: Final[tuple[Callable[[str], str], ...]] = (
    _unquoted,
    str.casefold,
    lambda path: path.replace("\\", "/"),
    lambda path: re.sub("/{2,}", "/", path),
    lambda path: re.sub(r"/\.(?=/|$)", "", path),
    lambda path: re.sub(r"(?:^|/(?!\.\./)[^/]*)/\.\.(?=/|$)", "", path, count=1),
    lambda path: re.split("[?#\0]", path)[0],
    lambda path: re.sub(";[^/]*", "", path),
    lambda path: re.sub(r"(?<=/)\s+(?=[^/])|(?<=[^/\s.])[\s.]+(?=/)|[\s.]+$", "", path),
    lambda path: path.rstrip("/"),
    lambda path: re.sub(r"\.\w{1,5}$", "", path),  # a suffix for the format
    lambda path: path[max(0, path.find("/api/")) :],  # a prefix or a host before it
    lambda path: unicodedata.normalize("NFKC", path),
    lambda path: re.sub("(?<=[^/])[^\0-\x7f]+|[^\0-\x7f]+(?=[^/])", "", unicodedata.normalize("NFKD", path)),
)


class Reading(NamedTuple):
    """What a server may take a request for: an operation, by id, and the name in its path, if it has one."""

    operation: str
    action: Action
    name: str


@dataclass(frozen=True, kw_only=True)
class Effect:
    """What a request may do.

    Attributes:
        readings: The operations that a server may take it for.
        is_documented: Whether no server could take it for anything else.
        is_bounded: Whether it is one request to this server: no header moves its end or names another server.
        actions: The kinds of action that it may be; an unknown request may write, unless its method is safe.
    """

    readings: frozenset[Reading]
    is_documented: bool
    is_bounded: bool
    actions: frozenset[Action]

    @property
    def action(self) -> Action:
        return next(each for each in _BY_HARM if each in self.actions)

    def may_be(self, operation_id: str) -> bool:
        return any(each.operation == operation_id for each in self.readings)

    def names(self, action: Action) -> frozenset[str]:
        """Return the workflows, models or executions on which it may take this action."""
        return frozenset(each.name for each in self.readings if each.action is action and each.name)


def effect_of(method: str, target: str, headers: Pairs = ()) -> Effect:
    """Return what a request may do.

    ``target`` is path and query as they are sent, without the base URL; headers of the profile are left out.
    """
    path, _, query = target.partition("?")
    parameters = re.split("[&;]", _decoded(query)) if query else ()
    names = [_plain_name(name) for name, _ in headers]
    others = [value for name, (_, value) in zip(names, headers, strict=True) if _NAMES_PATH.fullmatch(name)]
    is_overridden = any(map(_NAMES_METHOD.match, names)) or any(
        _NAMES_METHOD.match(_plain_name(each.partition("=")[0])) for each in parameters
    )
    is_bounded = not any(map(_NAMES_SERVER.fullmatch, names))
    return _effect(method, path, tuple(others), is_overridden=is_overridden, is_bounded=is_bounded)


def may_override(header: str) -> bool:
    """Return whether a server may take the method or path of a request from a header of this name."""
    name = _plain_name(header)
    return bool(_NAMES_METHOD.match(name) or _NAMES_PATH.fullmatch(name))


@lru_cache(maxsize=4096)
def _effect(
    method: str, path: str, others: tuple[str, ...], *, is_overridden: bool, is_bounded: bool
) -> Effect:
    readings: set[Reading] = set()
    is_documented, is_known = is_bounded and not is_overridden and not others, False
    forms = _forms(path, *others)
    for form in forms or ():
        by_method = dict(_readings_of(form))
        meant = by_method.get("GET" if method == "HEAD" else method)
        if is_overridden or not (meant or method == "OPTIONS"):
            readings.update(by_method.values())
        elif meant:
            readings.add(meant)
        is_known |= bool(by_method if is_overridden else meant)
        is_documented &= meant is not None and not _DIVIDES.search(_unquoted(form))
    actions = {each.action for each in readings}
    if not is_known:
        actions.add(Action.READ if method in _SAFE and not is_overridden else Action.WRITE)
    return Effect(
        readings=frozenset(readings),
        is_documented=is_documented,
        is_bounded=is_bounded and forms is not None,
        actions=frozenset(actions),
    )


def _readings_of(path: str) -> Iterator[tuple[str, Reading]]:
    for operation in _operations_by_depth().get(path.count("/"), ()):
        values = operation.path_values(path)
        if values is not None:
            yield operation.method, Reading(operation.id, operation.action, "".join(values.values()))


@cache
def _operations_by_depth() -> Mapping[int, Sequence[Operation]]:
    operations = sorted(shipped_document().operations, key=_depth)
    return {depth: tuple(group) for depth, group in groupby(operations, key=_depth)}


def _depth(operation: Operation) -> int:
    return operation.path.count("/")


def _forms(*paths: str) -> set[str] | None:
    """Return what servers may make of a path, by any of the steps in any order; None if that is too much."""
    forms = set(paths)
    if len(paths) == 1 and _PLAIN.fullmatch(paths[0]) and paths[0].startswith("/api/"):
        return forms
    if sum(map(len, paths)) > _LONGEST:
        return None
    left = list(paths)
    while left:
        form = left.pop()
        new = {step(form) for step in _STEPS} - forms
        forms |= new
        left += new
        if len(forms) > _MOST_FORMS:
            return None
    return forms


def _plain_name(name: str) -> str:
    return name.strip().lower().replace("_", "-")


def _decoded(text: str) -> str:
    while (once := unquote(text)) != text:
        text = once
    return text
