"""What every HTML report is made with: the templates, and the style and scripts that are put into them."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from knouds_harness.printable import printable

_TEMPLATES = Path(__file__).parent / "templates"


def page(template: str, **values: object) -> str:
    """A template, filled in; whatever is not ours is escaped."""
    return _environment().get_template(template).render(values)


def shipped(name: str) -> Markup:
    """A style or script of ours, or a vendored one: the only text that is not escaped."""
    return Markup((_TEMPLATES / name).read_text(encoding="utf-8"))  # noqa: S704 - ours, not a server's


def embedded(data: object) -> Markup:
    """JSON that stands in a script element, which nothing in it can end."""
    text = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
    return Markup(text)  # noqa: S704 - escaped above


def script_hashes(scripts: Iterable[str]) -> str:
    """The only scripts that a page may run, as its content security policy names them."""
    hashes = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    return " ".join(f"'sha256-{each}'" for each in hashes)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=lambda value: printable(value, keep="\n\t") if type(value) is str else value,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["prose"] = _prose
    environment.filters["grouped"] = "{:,}".format
    environment.filters["credits"] = "{:,.10g}".format
    return environment


def _prose(sentence: str) -> Markup:
    """A sentence of the document, with what stands in backticks set as code."""
    parts = sentence.split("`")
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if index % 2 else part for index, part in enumerate(parts)
    )
