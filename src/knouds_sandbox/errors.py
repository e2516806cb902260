"""Errors of the user: the command prints the message and exits with code 2."""

import difflib
from collections.abc import Iterable
from typing import IO, Any

import click


class SandboxError(click.ClickException):
    """The sandbox cannot use an option, a file or a name."""

    exit_code = 2

    def show(self, file: IO[Any] | None = None) -> None:
        click.echo(f"error: {self.format_message()}", file=file, err=True)


class UnknownName(SandboxError):
    """A fault or a named choice does not exist; the message names the nearest."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        nearest = difflib.get_close_matches(name, known := list(known), n=1)
        hint = f'Did you mean "{nearest[0]}"?' if nearest else f"Known: {', '.join(known[:12])}."
        super().__init__(f'no {kind} "{name}". {hint}')
