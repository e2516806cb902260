"""Shows a running load: a live view in a terminal, a line now and then elsewhere."""

from collections.abc import Iterator
from typing import Final, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from knouds_harness.runs.load_progress import LoadProgress
from knouds_harness.runs.operation_load import STATUSES, RequestStatus

_RECENT_S: Final = 5.0
_LINE_EVERY_S: Final = 5.0
_LATER_EVERY_S: Final = 30.0
_LATER_FROM_S: Final = 60.0
_STYLE_BY_TONE: Final = {"good": "green", "warn": "yellow", "note": "yellow", "bad": "red"}
_STYLE_BY_STATUS: Final = {each.value: _STYLE_BY_TONE[each.tone] for each in RequestStatus}


class LiveView:
    """Shows progress on a console while its context is open; use one whose file is standard error."""

    def __init__(self, console: Console, *, title: str) -> None:
        self._console = console
        self._title = title
        self._live = (
            Live(console=console, transient=True, auto_refresh=False) if console.is_terminal else None
        )
        self._next_line_s = 0.0
        self._has_warned = False
        self._told_doubts = 0
        self._shown: LoadProgress | None = None

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def show(self, progress: LoadProgress) -> None:
        """Show the progress; showing the same again costs nothing."""
        if progress == self._shown:
            return
        self._shown = progress
        if self._live:
            self._live.update(view(progress, title=self._title), refresh=True)
            return
        for doubt in progress.doubts[self._told_doubts :]:
            self.say(f"warning: {doubt}")
        self._told_doubts = len(progress.doubts)
        if progress.limits and not self._has_warned:
            self._has_warned = True
            self.say(_warning(progress))
        if progress.at_s >= self._next_line_s:
            every_s = _LINE_EVERY_S if progress.at_s < _LATER_FROM_S else _LATER_EVERY_S
            self._next_line_s = progress.at_s + every_s - progress.at_s % every_s
            if progress.at_s >= 1:
                self.say(line(progress))

    def say(self, sentence: str) -> None:
        self._console.print(Text(sentence), soft_wrap=True)


def line(progress: LoadProgress) -> str:
    return "; ".join([_time(progress), *(f"{name} {figure}" for name, figure in _figures(progress))])


def view(progress: LoadProgress, *, title: str) -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    done = min(1.0, max(0.0, progress.at_s / progress.duration_s))
    time = "starting" if progress.at_s < 0 else _time(progress)
    grid.add_row(time, ProgressBar(total=1.0, completed=done, width=32))
    for name, figure in _figures(progress):
        grid.add_row(name, figure)
        if name == "answers":
            for error in progress.errors:
                status = str(error.status_code) if error.status_code else "no answer"
                says = f"{error.count:,} {error.status}: {status} {error.code}".rstrip()
                grid.add_row("", Text(says, style=_STYLE_BY_STATUS[error.status]))
    parts: list[RenderableType] = [Text(title, style="bold"), grid]
    parts += [Text(f"warning: {doubt}", style="bold yellow") for doubt in progress.doubts]
    if progress.limits:
        parts.append(Text(_warning(progress), style="bold yellow"))
    parts.append(Text("Ctrl-C ends the run with a report", style="dim"))
    return Group(*parts)


def _figures(progress: LoadProgress) -> Iterator[tuple[str, str | Text]]:
    longest = f"the longest for {progress.longest_wait_s:.0f} s"
    if progress.ended_at_s is not None:
        if progress.waiting:
            yield "awaited", f"{progress.waiting:,} answers, {longest}"
        yield "answers", _answers(progress)
        return
    waiting = f", {progress.waiting:,} for over 1 s, {longest}" if progress.waiting else ""
    asked = f" ({progress.asked_per_s:,.0f} tasks/s asked for)" if progress.asked_per_s else ""
    rate = f"{progress.recent_per_s:,.1f} requests/s" if progress.requests else "no answer yet"
    yield "rate", f"{rate}{asked}"
    if progress.in_flight is None:
        yield "users", f"{progress.users:,}{waiting and f', of their requests{waiting[1:]}'}"
    else:
        yield "in flight", f"{progress.in_flight:,} of at most {progress.users:,}{waiting}"
    times = " ".join(
        f"{'max' if percent == 'max' else f'p{percent}'} {ms:,.{0 if ms >= 100 else 1}f}"
        for percent, ms in progress.percentiles_ms.items()
    )
    none = "none yet" if progress.at_s < _RECENT_S else "no recent ones"
    yield "times", f"{times} ms" if times else none
    yield "answers", _answers(progress)
    if progress.most_credits is not None:
        yield "credits", f"at most {progress.spent_credits:,.0f} of {progress.most_credits:,.0f}"
    late_ms = progress.lateness_p99_ms
    sending = "" if late_ms is None else f"sending {late_ms:.1f} ms, "
    lag = f"lag p99: {sending}loop {progress.loop_lag_p99_ms:.1f} ms"
    dropped = f", {progress.dropped:,} tasks not sent" if progress.dropped else ""
    yield "generator", f"CPU {progress.cpu_share:.0%} of a core, {lag}{dropped}"


def _warning(progress: LoadProgress) -> str:
    return f"warning: less is sent than was asked for: {' '.join(progress.limits)}"


def _time(progress: LoadProgress) -> str:
    if progress.ended_at_s is not None:
        return f"load ended after {min(progress.ended_at_s, progress.duration_s):.0f} s"
    phase = "warm-up" if progress.at_s < progress.warm_up_s else "load"
    return f"{phase} {min(progress.at_s, progress.duration_s):.0f}/{progress.duration_s:.0f} s"


def _answers(progress: LoadProgress) -> Text:
    text = Text()
    for status in STATUSES:
        count = progress.by_status.get(status, 0)
        if count or status == RequestStatus.OK:
            text.append(f"{', ' if text else ''}{count:,} {status}", style=_STYLE_BY_STATUS[status])
    return text
