"""Places in JSON: found by a pointer with ``*`` for any item, and changed in a copy."""

import copy
from collections.abc import Iterator, Sequence

Steps = tuple[str | int, ...]


def places(body: object, pointer: str) -> Iterator[Steps]:
    """Return the places that a pointer names: of each array only the first and the last item."""
    yield from _below(body, pointer.split("/")[1:], ())


def _below(value: object, rest: Sequence[str], steps: Steps) -> Iterator[Steps]:
    if not rest:
        yield steps
    elif rest[0] == "*" and isinstance(value, list) and value:
        for index in sorted({0, len(value) - 1}):
            yield from _below(value[index], rest[1:], (*steps, index))
    elif isinstance(value, dict) and rest[0] in value:
        yield from _below(value[rest[0]], rest[1:], (*steps, rest[0]))


def objects(body: object, steps: Steps = ()) -> Iterator[Steps]:
    """Return every object in a body: of each array only the first item."""
    if isinstance(body, dict):
        yield steps
        for name, value in body.items():
            yield from objects(value, (*steps, name))
    elif isinstance(body, list) and body:
        yield from objects(body[0], (*steps, 0))


def value_at(body: object, steps: Steps) -> object:
    for step in steps:
        body = body[step]  # type: ignore[index]  # steps lead through what was found
    return body


def replaced(body: object, steps: Steps, value: object) -> object:
    if not steps:
        return value
    changed = copy.deepcopy(body)
    value_at(changed, steps[:-1])[steps[-1]] = value  # type: ignore[index]
    return changed


def dropped(body: object, steps: Steps) -> object:
    changed = copy.deepcopy(body)
    del value_at(changed, steps[:-1])[steps[-1]]  # type: ignore[attr-defined]
    return changed


def pointer(steps: Steps) -> str:
    return "".join(f"/{step}" for step in steps)
