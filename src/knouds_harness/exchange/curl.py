"""Write a ``curl`` line that sends a request again, with shell variables for keys."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import quote

from knouds_harness.exchange.alterations import Alteration
from knouds_harness.exchange.evidence import TRACE_HEADER, Exchange
from knouds_harness.exchange.redaction import KEY_OF_NOBODY, PLACEHOLDER
from knouds_harness.targets.profile import Target

_MAX_BODY_BYTES = 8_000
_MARK = "\0"  # encloses a shell expression; sent text never contains it
_LITERAL = frozenset(range(0x20, 0x7F)) - frozenset(b"'\\%")  # in single quotes and in printf's format
_REPEATED = re.compile(rb"(([!-&(),.-~][ -&(-~]{0,15}?)\2{99,})")
_NO_PROXY = ("--noproxy", "*")
_PLAIN = re.compile(r"[ -~]*")
_SAFE_IN_DOUBLE_QUOTES = re.compile(r'[^"$`\\!]*')
_ADDED_BY_THE_CLIENT = frozenset({"host", "connection", "content-length", TRACE_HEADER})
_USUAL = frozenset({"user-agent", "accept", "accept-encoding"})


@dataclass(frozen=True, kw_only=True)
class ShellNames:
    """Shell variables for a target's address and secrets; those that the profile names, if it does.

    Attributes:
        base_url_variable: The variable that holds the URL; empty if the profile has the URL itself.
        variable_by_label: Variables by the label of a secret in evidence, such as ``key:full``; one that is
            not in the profile gets a variable of its own.
        options: Options of curl for the target's certificates and its proxy. The environment's proxy is not
            used, as the harness uses only one that the profile names.
    """

    base_url: str = ""
    base_url_variable: str = ""
    variable_by_label: Mapping[str, str] = field(default_factory=dict)
    options: tuple[str, ...] = _NO_PROXY

    @classmethod
    def of(cls, target: Target) -> ShellNames:
        secrets = [persona.secret for persona in target.personas.values()]
        secrets += [each for each in (target.control and target.control.secret,) if each]
        secrets += target.http.secrets
        return cls(
            base_url=target.base_url,
            base_url_variable=target.base_url_env or "",
            variable_by_label={
                each.label: each.variable or f"KNOUDS_KEY_{_name(each.label)}" for each in secrets
            },
            options=_leading_to(target),
        )

    def variable(self, label: str) -> str:
        return self.variable_by_label.get(label, f"KNOUDS_OTHER_{_name(label)}")

    def having(self, label: str, variable: str) -> ShellNames:
        return replace(self, variable_by_label={**self.variable_by_label, label: variable})

    def addressed(self, url: str) -> str:
        """Return the URL with the variable in place of the base URL, if there is one."""
        if self.base_url_variable and self.base_url and url.startswith(self.base_url):
            return shell_variable(self.base_url_variable) + url.removeprefix(self.base_url)
        return url

    def used_by(self, exchange: Exchange) -> set[str]:
        """Return the variables that a command for this exchange may use, without those from ``fill``."""
        texts = (exchange.url, *(value for _, value in exchange.sent_headers))
        labels = {label for text in texts for label in PLACEHOLDER.findall(text)}
        if exchange.alteration:
            labels.add(exchange.alteration.label)
        marked = {part.strip("${}") for option in self.options for part in option.split(_MARK)[1::2]}
        return {self.variable(label) for label in labels} | marked


def curl(exchange: Exchange, names: ShellNames | None = None) -> str:
    """Return one line for a POSIX shell that sends the exchange's request again.

    Keys in headers are variables, such as ``$KNOUDS_KEY_FULL`` for persona ``full``, or the variable that the
    profile names. In the URL, only the profile's keys are. Placeholders in a body stay, as a server may have
    written them. A body with bytes that no shell argument can hold is piped, and so is a
    long one that repeats a part of it; another long one has to be taken from the run's HAR file.
    """
    names = names or ShellNames()
    line, note = command(exchange, names, names.addressed)
    return f"{line} # {note}" if note else line


def command(
    exchange: Exchange, names: ShellNames, fill: Callable[[str], str], *, options: tuple[str, ...] = ("-i",)
) -> tuple[str, str]:
    """Return the line, and a note about its body; the note may be empty."""
    request, alteration = exchange.request, exchange.alteration
    words = ["curl", "-sS", *options, *map(_quoted, names.options)]
    if request.body is not None or request.method not in {"GET", "HEAD"}:
        words += ["-X", _quoted(request.method)]
    elif request.method == "HEAD":
        words.append("--head")  # -X HEAD would wait for a body
    if re.search(r"[\[\]{}]", exchange.url):
        words.append("--globoff")
    if "/." in exchange.url:
        words.append("--path-as-is")
    left_out = _ADDED_BY_THE_CLIENT | (_USUAL - {name.lower() for name, _ in request.headers})
    words += ["--compressed"] * ("accept-encoding" not in left_out)  # so that curl decodes
    words.append(_quoted(fill(_with_secrets(exchange.url, names, alteration, are_declared=True))))
    for name, value in exchange.sent_headers:
        if name.lower() not in left_out:
            header = f"{name}: {value}" if value else f"{name};"
            words += ["-H", _quoted(_with_secrets(header, names, alteration))]
    return (" ".join(words), "") if request.body is None else _with_body(words, request.body, exchange, fill)


def _with_body(
    words: list[str], body: bytes, exchange: Exchange, fill: Callable[[str], str]
) -> tuple[str, str]:
    if not any(name.lower() == "content-type" for name, _ in exchange.sent_headers):
        words += ["-H", "'content-type:'"]  # curl would add one
    if (size := len(body)) > _MAX_BODY_BYTES:
        if printed := _printed_in_parts(body):
            return f"{printed} | {' '.join([*words, '--data-binary', '@-'])}", ""
        line = " ".join([*words, "--data-binary", f"@{exchange.id}.body"])
        return line, f"its {size} bytes: exchanges.har, {exchange.id}"
    text = body.decode("ascii", "replace")
    if not _PLAIN.fullmatch(text):
        return f"{_printed(body)} | {' '.join([*words, '--data-binary', '@-'])}", ""
    return " ".join([*words, "--data-raw", _quoted(fill(text))]), ""


def _leading_to(target: Target) -> tuple[str, ...]:
    http = target.http
    files = (("--cacert", http.ca_file), ("--cert", http.client_certificate), ("--key", http.client_key))
    options = [part for option, file in files if file for part in (option, str(file))]
    if http.via is None:
        return (*options, *_NO_PROXY)
    proxy = shell_variable(http.proxy_env) if http.proxy_env else http.via.url
    return (*options, "--noproxy", "", "--proxy", proxy)


def shell_variable(name: str) -> str:
    return f"{_MARK}${{{name}}}{_MARK}"


def _name(label: str) -> str:
    return re.sub("[^A-Z0-9]", "_", label.removeprefix("key:").upper())


def _with_secrets(
    text: str, names: ShellNames, alteration: Alteration | None, *, are_declared: bool = False
) -> str:
    """Replace placeholders by marked variables; if ``are_declared``, only those of the profile's secrets."""

    def mark(found: re.Match[str]) -> str:
        if are_declared and found[1] not in names.variable_by_label:
            return found[0]
        return f"{_MARK}{_expression(found[1], names, alteration)}{_MARK}"

    return PLACEHOLDER.sub(mark, text.replace(_MARK, "%00"))


def _printed(data: bytes) -> str:
    octal = "".join(chr(byte) if byte in _LITERAL else f"\\{byte:03o}" for byte in data)
    return f"printf -- '{octal}'"


def _printed_in_parts(body: bytes) -> str:
    """Return commands that print a long body of repeated parts; empty if it is long without them."""
    *parts, rest = _REPEATED.split(body)  # what stands before, the repetition, and its part, by threes
    if sum(map(len, parts[::3])) + len(rest) > _MAX_BODY_BYTES:
        return ""
    commands = []
    for before, repetition, part in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
        times = len(repetition) // len(part)
        commands += [_printed(before), f"yes '{part.decode()}' | head -n {times} | tr -d '\\n'"]
    return f"{{ {'; '.join([*commands, _printed(rest)])}; }}"


def _quoted(text: str) -> str:
    """Quote text for the shell, except the parts between marks."""
    pieces = text.split(_MARK)
    pieces[::2] = [_printable(each) for each in pieces[::2]]
    if len(pieces) == 1:
        return shlex.quote(pieces[0])
    if all(map(_SAFE_IN_DOUBLE_QUOTES.fullmatch, pieces[::2])):
        return f'"{"".join(pieces)}"'
    return "".join(f'"{p}"' if i % 2 else shlex.quote(p) for i, p in enumerate(pieces) if i % 2 or p)


def _expression(label: str, names: ShellNames, alteration: Alteration | None) -> str:
    if label == "key:altered" and alteration is not None:
        return alteration.expression(names.variable(alteration.label))
    default = f":-{KEY_OF_NOBODY}" if label == "key:unknown" else ""  # any unknown key will do
    return f"${{{names.variable(label)}{default}}}"


def _printable(text: str) -> str:
    return re.sub("[^ -~]", lambda found: quote(found[0], errors="surrogatepass"), text)
