"""Secrets, which do not show when printed, and reading them from where a profile says."""

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Final

from pydantic import Field, InstanceOf

from knouds_harness.files import file_text
from knouds_harness.targets.profile_format import NOT_IN_FILE, Flag, Problem, Text, without_value


class Secret:
    """A secret that shows a pseudonym if it is printed, formatted or logged.

    Not a dataclass: hypothesis and debuggers print the fields of dataclasses, whatever ``__repr__`` says.

    Attributes:
        label: The pseudonym in evidence: ``key:full`` shows as ``{{key:full}}``.
        variable: The environment variable that holds it; empty if it comes from elsewhere.
    """

    __slots__ = ("_value", "label", "variable")

    def __init__(self, value: str, label: str, variable: str = "") -> None:
        self._value = value
        self.label = label.replace("{", "").replace("}", "")  # the name may come from a control plane
        self.variable = variable

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and (self._value, self.label) == (other._value, other.label)

    def __hash__(self) -> int:
        return hash((self._value, self.label))

    def reveal(self) -> str:
        """Return the secret itself, for the header that sends it; never write it to a file."""
        return self._value

    def __repr__(self) -> str:
        return f"{{{{{self.label}}}}}"

    __str__ = __repr__


NO_SECRET: Final = Secret("", "")
SecretValue = Annotated[InstanceOf[Secret], NOT_IN_FILE, Field(default=NO_SECRET)]


@dataclass(frozen=True, kw_only=True)
class SecretSource:
    """Where a secret is stored, which is never the profile itself; a file is relative to its folder."""

    secret_env: Text | None = None
    secret_file: Text | None = None
    optional: Flag = False


_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")


@dataclass(frozen=True)
class Form:
    """The format of a secret, and what the user can do if one is missing ``{where}``."""

    pattern: re.Pattern[str]
    says: str
    if_absent: str


KEY = Form(
    re.compile(r"[!-~]{16,256}"),
    "the value there is not a secret: secrets have 16 to 256 printable characters and no spaces",
    "Set it, or mark [{where}] optional = true, or remove it: "
    "the checks that need it then count as untested.",
)
SIGNING_SECRET = replace(KEY, if_absent="Set it, or remove the line: then the secret of [webhook] is used.")
HEADER_VALUE = Form(
    re.compile(r"[!-~][ -~]{6,4094}[!-~]"),  # a shorter one would redact too much
    "the value there is not a secret: secret headers have 8 to 4,096 printable characters",
    "Set it, or remove the header from [http].",
)


class _UnusableError(Exception):
    """What is wrong with a secret, and what to do; no remedy if it is not where the profile says."""

    def __init__(self, says: str, remedy: str = "") -> None:
        super().__init__(says)
        self.remedy = remedy


@dataclass(kw_only=True)
class SecretReader:
    """Reads the secrets of one profile and notes what is wrong with them.

    Attributes:
        missing: Optional secrets that are absent: place to reason.
    """

    environ: Mapping[str, str]
    folder: Path
    problems: list[Problem] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)
    _place_by_value: dict[str, str] = field(default_factory=dict, repr=False)

    def read(self, source: SecretSource, *, where: str, label: str, form: Form = KEY) -> Secret | None:
        """Read the secret of one table; if it is absent or unusable, note that and return None."""
        try:
            return Secret(self._usable(self._value(source), where, form), label, source.secret_env or "")
        except _UnusableError as error:
            if source.optional and not error.remedy:
                self.missing[where] = str(error)
            else:
                remedy = error.remedy or form.if_absent.format(where=where)
                self.problems.append(Problem(where=where, says=str(error), remedy=remedy))
        return None

    def file_named(self, name: str) -> Path:
        """Resolve a file name of the profile; an unknown user such as ``~nobody`` is left as it is."""
        with suppress(RuntimeError):
            return self.folder / Path(name).expanduser()
        return self.folder / name

    def _value(self, source: SecretSource) -> str:
        if source.secret_env is not None and source.secret_file is not None:
            raise _UnusableError("has both secret_env and secret_file", "Keep one of them.")
        if source.secret_env is not None:
            return self._value_of_variable(source.secret_env)
        if source.secret_file is not None:
            return self._value_of_file(self.file_named(source.secret_file))
        raise _UnusableError(
            "does not say where its secret is",
            'Add secret_env = "NAME_OF_A_VARIABLE" or secret_file = "path/of/a/file".',
        )

    def _value_of_variable(self, variable: str) -> str:
        if not _VARIABLE.fullmatch(variable):
            raise _UnusableError(
                "secret_env does not name an environment variable",
                "Write the variable's name (capital letters, digits, underscores), never the secret itself.",
            )
        value = self.environ.get(variable, "").strip()
        if not value:
            raise _UnusableError(without_value(variable, self.environ))
        return value

    @staticmethod
    def _value_of_file(file: Path) -> str:
        try:
            value = file_text(file).strip()
        except OSError as error:
            raise _UnusableError(f"secret file {file} cannot be read: {error.strerror}") from None
        except ValueError:  # not text, or not a file name
            raise _UnusableError(f"secret file {str(file)!r} cannot be read as text") from None
        if not value:
            raise _UnusableError(f"secret file {file} is empty")
        return value

    def _usable(self, value: str, where: str, form: Form) -> str:
        if not form.pattern.fullmatch(value):
            raise _UnusableError(form.says, "Copy the secret again, whole and without quotes.")
        twin = self._place_by_value.setdefault(value, where)
        if twin != where:
            raise _UnusableError(
                f"holds the same secret as {twin}", "Give each its own secret, or remove one of them."
            )
        return value
