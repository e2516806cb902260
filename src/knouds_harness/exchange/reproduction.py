"""A ``curl`` line that sends a request again, with keys left as shell variables."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable

from knouds_harness.exchange.evidence import Exchange

_MAX_BODY_BYTES = 8_000
_PSEUDONYM = re.compile(r"\{\{(?:key:)?(\$?[\w-]+)\}\}", re.ASCII)
_PRINTABLE = range(0x20, 0x7F)
_PLAIN = re.compile(r"[ -~]*")
_SAFE_IN_DOUBLE_QUOTES = re.compile(r'[^"$`\\!]*')
_ADDED_BY_THE_CLIENT = frozenset(
    {"host", "user-agent", "accept", "accept-encoding", "connection", "content-length"}
)


def curl(exchange: Exchange) -> str:
    """One line for a POSIX shell that sends the exchange's request again.

    Keys are variables, as ``$KNOUDS_KEY_FULL`` for persona ``full``. A body with bytes that no shell argument
    can hold comes through a pipe; one that is too long for a line is to be taken from the run's HAR file.
    """
    return _noted(*command(exchange))


def command(exchange: Exchange, fill: Callable[[str], str] = lambda text: text) -> tuple[str, str]:
    """The line without its note.

    Args:
        exchange: What to send again.
        fill: Puts ``shell_variable`` marks into the URL and into the body.

    Returns:
        The command, and what else there is to know of its body, if anything.
    """
    request = exchange.request
    words = ["curl", "-sS", "-i"]
    if request.method != "GET" or request.body is not None:
        words += ["-X", _quoted(request.method)]
    if re.search(r"[\[\]{}]", exchange.url):
        words.append("--globoff")
    if "/." in exchange.url:
        words.append("--path-as-is")
    words.append(_quoted(fill(exchange.url)))
    for name, value in exchange.sent_headers:
        if name.lower() not in _ADDED_BY_THE_CLIENT:
            words += ["-H", _quoted(f"{name}: {value}" if value else f"{name};")]
    if request.body is None:
        return " ".join(words), ""
    if not any(name.lower() == "content-type" for name, _ in exchange.sent_headers):
        words += ["-H", "'content-type:'"]  # curl would add one
    return _with_body(words, request.body, exchange.id, fill)


def shell_variable(name: str) -> str:
    """A mark that stands in a URL or body for what a variable of the shell holds."""
    return f"{{{{${name}}}}}"


def _noted(line: str, note: str) -> str:
    return f"{line} # {note}" if note else line


def _with_body(
    words: list[str], body: bytes, exchange_id: str, fill: Callable[[str], str]
) -> tuple[str, str]:
    if len(body) > _MAX_BODY_BYTES:
        words += ["--data-binary", f"@{exchange_id}.body"]
        return " ".join(words), f"its {len(body)} bytes: exchanges.har, {exchange_id}"
    try:
        text = body.decode("ascii")
    except UnicodeDecodeError:
        text = ""
    if body and (not text or not _PLAIN.fullmatch(text)):
        octal = "".join(chr(byte) if _is_literal(byte) else f"\\{byte:03o}" for byte in body)
        return f"printf -- '{octal}' | {' '.join([*words, '--data-binary', '@-'])}", ""
    return " ".join([*words, "--data-raw", _quoted(fill(text))]), ""


def _is_literal(byte: int) -> bool:
    """Whether this byte stands for itself both in single quotes and in printf's format."""
    return byte in _PRINTABLE and byte not in b"'\\%"


def _quoted(text: str) -> str:
    """Quote for the shell, pseudonyms turned into variables."""
    text = "".join(char if _PLAIN.fullmatch(char) else _percent(char) for char in text)
    pieces = _PSEUDONYM.split(text)
    if len(pieces) == 1:
        return shlex.quote(text)
    if all(_SAFE_IN_DOUBLE_QUOTES.fullmatch(piece) for piece in pieces[::2]):
        return '"' + "".join(_variable(p) if i % 2 else p for i, p in enumerate(pieces)) + '"'
    return "".join(
        f'"{_variable(p)}"' if i % 2 else shlex.quote(p) for i, p in enumerate(pieces) if i % 2 or p
    )


def _variable(name: str) -> str:
    if name.startswith("$"):
        return f"${{{name[1:]}}}"
    return f"${{KNOUDS_KEY_{re.sub('[^A-Z0-9]', '_', name.upper())}}}"


def _percent(char: str) -> str:
    return "".join(f"%{byte:02X}" for byte in char.encode("utf-8", "surrogatepass"))
