"""Secrets, read from where a profile says they are."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from knouds_harness.target.personas import Secret
from knouds_harness.target.problems import Problem
from knouds_harness.target.profile_format import SecretSource

_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")
_USABLE = re.compile(r"[!-~]{16,256}")


@dataclass(kw_only=True)
class SecretReader:
    """Reads the secrets of one profile and remembers what was wrong with them.

    Attributes:
        environ: Where environment variables are looked up.
        folder: What relative file names start from: the profile's folder.
        problems: Secrets that are needed and cannot be used.
        missing: Secrets that are optional and absent: place to reason.
    """

    environ: Mapping[str, str]
    folder: Path
    problems: list[Problem] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)
    _place_by_value: dict[str, str] = field(default_factory=dict, repr=False)

    def read(self, source: SecretSource, *, where: str, label: str) -> Secret | None:
        """Read the secret of one table; None where it is missing or unusable, which is then noted."""
        if (source.secret_env is None) == (source.secret_file is None):
            both = source.secret_env is not None
            return self._problem(
                where,
                "has both secret_env and secret_file" if both else "does not say where its secret is",
                "Keep one of them."
                if both
                else 'Add secret_env = "NAME_OF_A_VARIABLE" or secret_file = "path/of/a/file".',
            )
        if source.secret_env is not None:
            return self.read_variable(
                source.secret_env, where=where, label=label, is_optional=source.optional
            )
        file = self.folder / Path(source.secret_file or "").expanduser()
        try:
            value = file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not text"
            return self._absent(where, f"secret file {file} cannot be read: {reason}", source.optional)
        return self._checked(value, where, label, f"what {file} holds")

    def read_variable(
        self, variable: str, *, where: str, label: str, is_optional: bool = False
    ) -> Secret | None:
        """Read the secret in one environment variable; None where it is missing or unusable, which is then noted."""
        if not _VARIABLE.fullmatch(variable):
            return self._problem(
                where,
                "does not name an environment variable",
                "Write the variable's name, capital letters, digits and underscores; never the secret itself.",
            )
        value = self.environ.get(variable, "").strip()
        if not value:
            return self._absent(where, f"environment variable {variable} is not set", is_optional)
        return self._checked(value, where, label, f"what environment variable {variable} holds")

    def _absent(self, where: str, says: str, is_optional: bool) -> None:  # noqa: FBT001 -- private, read beside its callers
        if is_optional:
            self.missing[where] = says
            return
        self._problem(
            where,
            says,
            f"Set it, or mark [{where}] optional = true, or remove it: the checks that need it then count as untested."
            if "." in where or where == "webhook"
            else "Set it.",
        )

    def _checked(self, value: str, where: str, label: str, holder: str) -> Secret | None:
        if not _USABLE.fullmatch(value):
            return self._problem(
                where,
                f"{holder} cannot be a secret of this API: those are 16 to 256 printable characters without spaces",
                "Copy the secret again, whole and without quotes.",
            )
        twin = self._place_by_value.setdefault(value, where)
        if twin != where:
            return self._problem(
                where, f"holds the same secret as {twin}", "Give each its own key, or remove one of them."
            )
        return Secret(value, label)

    def _problem(self, where: str, says: str, remedy: str) -> None:
        self.problems.append(Problem(where=where, says=says, remedy=remedy))
