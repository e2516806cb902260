"""Write a script of ``curl`` lines that sends again all the requests that a finding rests on."""

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from knouds_harness.contract.operations import Action
from knouds_harness.exchange.creation_record import SentName
from knouds_harness.exchange.curl import ShellNames, command, shell_variable
from knouds_harness.exchange.evidence import Exchange, is_final, status_in

_VARIABLE_BY_MEMBER: Final = {"slug": "slug", "executionId": "execution", "pollUrl": "poll_url"}
_VARIABLE_BY_CONTROL_MEMBER: Final = {"account": "account", "secret": "key"}
_LONGEST_PAUSE_S: Final = 10.0
_LONGEST_RUN_S: Final = 60.0
_CHANGES_BY_ITSELF: Final = frozenset({"getExecution", "cancelExecution", "listUsage", "listUsageModels"})
_MOST_AT_ONCE: Final = 16
_FEWEST_REPEATED: Final = 4
_VARIABLE: Final = re.compile(r"\$\{(\w+)\}")
_SHORTEST_PAUSE_S: Final = 0.05
_WITH_TIME: Final = ("-w", r"'\n(%{time_total} s)\n'")
AT_ONCE: Final = "Some requests are sent at the same time: what depends on their order shows only sometimes."
_STATUS_ALONE: Final = "'%{http_code} '"
_GIVEN: Final = r"""given() {  # only a plain name, or a path: it becomes part of a URL
  case "$1" in pollUrl) plain='\/api\/[a-zA-Z0-9_\/-]*' ;; *) plain='[a-zA-Z0-9_-]*' ;; esac
  printf '%s\n' "$answer" | grep -o "\"$1\" *: *\"[^\"]*\"" | sed -n "$2p" |
    cut -d '"' -f 4 | sed -n "/^$plain\$/p"
}"""


@dataclass(frozen=True, kw_only=True)
class ResponseValue:
    """A value from a response; of the members of this name in its text, the one at ``occurrence``, from 1."""

    variable: str
    value: str
    member: str
    occurrence: int


@dataclass(frozen=True, kw_only=True)
class SequencePart:
    """Consecutive requests: sent concurrently if ``is_at_once``, else one that is repeated, or alone."""

    steps: Sequence[Exchange]
    first: int
    is_at_once: bool = False


def script(
    steps: Sequence[Exchange],
    *,
    shows: str,
    shown_by: Exchange | None = None,
    names: ShellNames | None = None,
    why_not: str = "",
) -> str:
    """Return a script for any POSIX shell that sends these requests again, and prints numbered responses.

    Variables hold the base URL, keys (as in ``curl``), and each slug, execution, account and key
    from a response. Concurrent requests are sent concurrently, repeated ones in a loop. Before a request for
    an execution or usage, the script pauses as the run did. At the end it deletes workflows that are left.
    What they should show, and why they may not, is said at the top. The response to ``shown_by`` is printed.
    """
    names = names or ShellNames()
    last = steps[-1]
    base = names.base_url or last.url.partition("?")[0].removesuffix(last.request.path)
    writer = _Writer(base=base, names=names)
    lines: list[str] = []
    before = None
    parts = parts_of(steps, apart=shown_by.id if shown_by else None)
    for part in parts:
        if before is not None and pause_s(before, part.steps[0]) >= _SHORTEST_PAUSE_S:
            lines.append(f"sleep {pause_s(before, part.steps[0]):.1f}")
        lines += writer.part(part)
        before = part.steps[-1]
    for step, each in _left_over(steps, writer.known):
        token = SentName.of(step.request.body).token
        if not token or token not in each.value.lower():  # it may be another user's workflow
            lines.append("# A workflow may be left: its slug does not show the name that was sent.")
            continue
        lines.append("# Deletes what this script created.")
        sent = writer.sent(_deletion(step, each.value))
        lines.append(f'case "${each.variable}" in *{token}*) {sent} > /dev/null;; esac')
    if any(part.is_at_once for part in parts):
        why_not = f"{why_not} {AT_ONCE}".strip()
    lines = list(_needed(lines, writer.known))
    head = [f"# {_plain(shows)}", *([f"# {_plain(why_not)}"] if why_not else [])]
    return "\n".join(["sh -eu <<'END'", *head, *_head(steps, writer, lines), *lines, "END"])


@dataclass(kw_only=True)
class _Writer:
    """Writes the lines, and keeps the values that responses have given so far."""

    base: str
    names: ShellNames
    known: list[ResponseValue] = field(default_factory=list)

    def part(self, part: SequencePart) -> Iterator[str]:
        if part.is_at_once:
            yield from self._at_once(part)
        elif len(part.steps) > 1:
            yield from self._repeated(part)
        else:
            yield _said(part.first, part.steps[0])
            yield from self._shown(part.steps[0], self.sent(part.steps[0]))

    def sent(self, step: Exchange, *options: str) -> str:
        fill = self._followed if step.request.operation_id is None else self._filled
        line, note = command(step, self.names, fill, options=options or ("-i", *_WITH_TIME))
        return f"{line}  # {note}" if note else line

    def _at_once(self, part: SequencePart) -> Iterator[str]:
        yield "at_once=$(mktemp -d)"
        for number, step in enumerate(part.steps, part.first):
            yield f'({self.sent(step)}) > "$at_once/{number}" &'
        yield "wait"
        for number, step in enumerate(part.steps, part.first):
            yield _said(number, step)
            yield from self._shown(step, f'cat "$at_once/{number}"', is_sure=False)
        yield 'rm -r "$at_once"'

    def _repeated(self, part: SequencePart) -> Iterator[str]:
        """Write one curl that requests a URL with a range of fragments, which are never sent."""
        first, count = part.steps[0], len(part.steps)

        def many(text: str) -> str:
            return self._filled(text) + (f"#[1-{count}]" if text.startswith(self.base) else "")

        line, _ = command(first, self.names, many, options=("-o", "/dev/null", "-w", _STATUS_ALONE))
        yield f"echo {shlex.quote(f'--- {part.first} to {part.first + count - 1}. {_told(first)} each')}"
        yield f"{line}; echo"

    def _shown(self, step: Exchange, line: str, *, is_sure: bool = True) -> Iterator[str]:
        given = given_by(step, self.known)
        if not given:
            yield line
            return
        yield f"answer=$({line})"
        yield "printf '%s\\n' \"$answer\""
        for each in given:
            yield f"{each.variable}=$(given {each.member} {each.occurrence})"
            if is_sure:  # of concurrent requests, another may succeed
                yield f': "${{{each.variable}:?the answer has no {each.member}}}"'
            if each.member == "secret":
                self.names = self.names.having(each.value.strip("{}"), each.variable)
        self.known += given

    def _followed(self, text: str) -> str:
        """Return the text with a variable for a whole path that a response gave."""
        for each in self.known:
            if text == self.base + each.value:
                return shell_variable("base") + shell_variable(each.variable)
        return self._filled(text)

    def _filled(self, text: str) -> str:
        """Return the text with variables for the base URL, and for given values that are a whole segment."""
        if text.startswith(self.base):
            path, mark, query = text.removeprefix(self.base).partition("?")
            for each in self.known:
                path = re.sub(rf"/{re.escape(each.value)}(?=/|$)", f"/{shell_variable(each.variable)}", path)
                query = re.sub(rf"(?<==){re.escape(each.value)}(?=&|$)", shell_variable(each.variable), query)
            return f"{shell_variable('base')}{path}{mark}{query}"
        for each in self.known:
            text = text.replace(f'"{each.value}"', f'"{shell_variable(each.variable)}"')
        return text


def _needed(lines: Sequence[str], known: Sequence[ResponseValue]) -> Iterator[str]:
    """Yield the lines, except those that extract a value that no request uses."""
    text = "\n".join(lines)
    idle = {each.variable for each in known if not re.search(rf"\$\{{?{each.variable}\b(?!:\?)", text)}
    for line in lines:
        taken = re.match(r"(\w+)=\$\(given |: \"\$\{(\w+):\?", line)
        if taken is None or (taken[1] or taken[2]) not in idle:
            yield line


def _head(steps: Sequence[Exchange], writer: _Writer, lines: Sequence[str]) -> Iterator[str]:
    cost_credits = sum(step.request.cost_credits for step in steps)
    if cost_credits:
        yield f"# Costs up to {cost_credits:g} credits."
    yield f'base="${{{writer.names.base_url_variable or "KNOUDS_BASE_URL"}:-{writer.base}}}"'
    own = {"base", *(each.variable for each in writer.known)}
    used = {name for step in steps for name in writer.names.used_by(step)} - own
    for variable in dict.fromkeys(_VARIABLE.findall("\n".join(lines))):
        if variable in used:  # any other is text of a server
            yield f': "${{{variable}:?export it first}}"'
    if any("=$(given " in line for line in lines):
        yield _GIVEN


def _left_over(
    steps: Sequence[Exchange], known: Sequence[ResponseValue]
) -> Iterator[tuple[Exchange, ResponseValue]]:
    """Yield the workflows that were created and not deleted, each with the exchange that created it."""
    deleted = {
        (step.request.persona, step.request.path_values.get("slug"))
        for step in steps
        if step.request.operation_id == "deleteWorkflow"
    }
    for step in steps:
        if step.request.operation_id == "createWorkflow":
            for each in known:
                is_made_here = f'"{each.value}"' in step.body.decode("utf-8", "replace")
                if is_made_here and (step.request.persona, each.value) not in deleted:
                    yield step, each


def _deletion(creation: Exchange, slug: str) -> Exchange:
    request = replace(creation.request, method="DELETE", body=None)
    headers = tuple(pair for pair in creation.sent_headers if pair[0].lower() != "content-type")
    return replace(creation, request=request, url=f"{creation.url}/{slug}", sent_headers=headers)


def _told(step: Exchange) -> str:
    request = step.request
    what = request.operation_id or f"{request.method} {request.path}"
    sender = f" as {request.persona}" if request.persona else " without a key"
    who = "" if step.is_control else sender
    execution = f", {status_in(step)}" if status_in(step) else ""
    return _plain(f"{what}{who}, in the run {step.status or step.failure}{execution}")


def _said(number: int, step: Exchange) -> str:
    return f"echo {shlex.quote(f'--- {number}. {_told(step)}')}"


def _plain(text: str) -> str:
    """Return text of a server or profile as a single line that is safe in a comment."""
    return re.sub("[^ -~]", "?", " ".join(text.split()))


def given_by(step: Exchange, known: Sequence[ResponseValue] = ()) -> list[ResponseValue]:
    """Return the values that a response gives and that are not known yet."""
    body = step.json_or_none()
    is_giving = step.request.action in (Action.WRITE, Action.RUN) and step.is_success
    variables = _VARIABLE_BY_CONTROL_MEMBER if step.is_control else _VARIABLE_BY_MEMBER
    given: list[ResponseValue] = []
    for member, name in variables.items() if is_giving and isinstance(body, dict) else ():
        value = body.get(member)
        values = re.findall(rf'"{member}" *: *"([^"]*)"', step.body.decode("utf-8", "replace"))
        is_known = value in [each.value for each in known] or value in step.request.path_values.values()
        if value in values and not is_known:
            variable = f"{name}{1 + sum(each.variable.startswith(name) for each in known)}"
            occurrence = 1 + values.index(value)
            given.append(ResponseValue(variable=variable, value=value, member=member, occurrence=occurrence))
    return given


def parts_of(steps: Sequence[Exchange], *, apart: str | None = None) -> list[SequencePart]:
    """Split steps into parts to send alone, concurrently or in a loop; ``apart`` is an id to keep alone."""
    parts: list[SequencePart] = []
    at = 0
    while at < len(steps):
        count = _count_at_once(steps, at)
        if not (is_at_once := 1 < count <= _MOST_AT_ONCE):
            alike = _count_alike(steps, at, apart)
            count = alike if alike >= _FEWEST_REPEATED else 1
        parts.append(SequencePart(steps=steps[at : at + count], first=at + 1, is_at_once=is_at_once))
        at += count
    return parts


def _count_at_once(steps: Sequence[Exchange], start: int) -> int:
    """Count the steps, from ``start`` on, that were sent before any of them got a response; stop early."""
    end, first_answered_at = start + 1, steps[start].ended_at
    most = min(len(steps), start + _MOST_AT_ONCE + 1)
    while end < most and steps[end].started_at < first_answered_at:
        first_answered_at = min(first_answered_at, steps[end].ended_at)
        end += 1
    return end - start


def _count_alike(steps: Sequence[Exchange], start: int, apart: str | None) -> int:
    """Count the repetitions of a step; one whose response gives a value for later requests is none."""
    end = start
    while (
        end < len(steps)
        and steps[end].id != apart
        and steps[end].request.operation_id not in _CHANGES_BY_ITSELF
        and _request_of(steps[end]) == _request_of(steps[start])
        and not given_by(steps[end])
        and not re.search(r"[\[\]{}]", steps[end].url)  # curl would expand it
    ):
        end += 1
    return end - start


def _request_of(step: Exchange) -> object:
    return step.url, step.asked_headers, step.request.method, step.request.body, step.status


def pause_s(earlier: Exchange, later: Exchange) -> float:
    """Return the pause between two requests in seconds, at most 10 s, or 60 s until an execution has ended.

    Only executions and usage change by themselves, so other requests need no pause.
    """
    if later.request.operation_id not in _CHANGES_BY_ITSELF:
        return 0.0
    longest_s = _LONGEST_RUN_S if is_final(status_in(later)) else _LONGEST_PAUSE_S
    return min(max(0.0, (later.started_at - earlier.ended_at).total_seconds()), longest_s)
