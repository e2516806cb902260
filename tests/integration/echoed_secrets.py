"""Forms in which a server may echo a secret, and a search for them in what is kept."""

import base64
import json
import re
from collections.abc import Callable
from typing import Final
from urllib.parse import quote

FORMS: Final[dict[str, Callable[[str], str]]] = {
    "base64 after a name": lambda key: base64.b64encode(f"user:{key}".encode()).decode(),
    "hexadecimal": lambda key: key.encode().hex(),
    "escapes of bytes": lambda key: "".join(f"\\x{ord(each):02X}" for each in key),
    "percent signs twice": lambda key: "".join(f"%25{ord(each):02x}" for each in key),
    "HTML with zeros": lambda key: "".join(f"&#{ord(each):07};" for each in key),
    "without prefix": lambda key: f"key {key.removeprefix('knouds_live_')}!",
}
"""Encodings of a key that anyone can undo."""


def found_in(content: bytes, value: str) -> bool:
    """Return whether content shows a value: as it is, in another case, escaped, quoted, or in base64."""
    lower = _unescaped(content).lower()
    forms = {value, quote(value, safe=""), *(form(value) for form in FORMS.values())}
    spelled = {each for form in forms for each in (form, json.dumps(form)[1:-1])}
    if any(_unescaped(form.encode()).lower() in lower for form in spelled):
        return True
    return any(_in_base64(value, offset).encode() in content for offset in range(3))


def _unescaped(content: bytes) -> bytes:
    return re.sub(rb"\\+u00([0-9a-fA-F]{2})", lambda found: bytes.fromhex(found[1].decode()), content)


def _in_base64(value: str, offset: int) -> str:
    """Return the base64 of a value that begins at one of three offsets, without its edges."""
    encoded = base64.b64encode(b"\0" * offset + value.encode()).decode().rstrip("=")
    return encoded[4 if offset else 0 : -2]
