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
    """A fault or a named choice does not exist; the message names the nearest, or what lists all."""

    def __init__(self, kind: str, name: str, known: Iterable[str], *, listed_by: str = "") -> None:
        nearest = difflib.get_close_matches(name, known := list(known), n=1)
        all_known = f"All {len(known)}: {listed_by}" if listed_by else f"Known: {', '.join(known)}."
        hint = f'Did you mean "{nearest[0]}"?' if nearest else all_known
        super().__init__(f'no {kind} "{name}". {hint}')
