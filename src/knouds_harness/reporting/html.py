"""Renders a report as one HTML file that needs no network: it holds its style and its scripts."""

import base64
import hashlib
import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from knouds_harness.printable import printable
from knouds_harness.reporting.report import Code, Figure, Link, Piece, Report, Toned, Words, pieces_of, plain

_TEMPLATES = Path(__file__).parent / "templates"


def html(report: Report) -> str:
    """Render a report; all text that is not our own is escaped."""
    scripts = [_shipped(name) for name in report.scripts]
    style = _shipped("report.css")
    if report.charts is not None:
        style = _shipped("vendor/uPlot.min.css") + style
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            report=report,
            sections=report.on("html"),
            style=style,
            scripts=scripts,
            script_hashes=_script_hashes(scripts),
            charts=None if report.charts is None else _embedded(report.charts),
        )
    )


def _shipped(name: str) -> Markup:
    """A style or script of ours, or a vendored one: the only text that is not escaped."""
    return Markup((_TEMPLATES / name).read_text(encoding="utf-8"))  # noqa: S704 - ours, not a server's


def _embedded(data: object) -> Markup:
    """Return JSON for a script element; nothing in it can end the element."""
    text = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
    return Markup(text)  # noqa: S704 - escaped above


def _script_hashes(scripts: Iterable[str]) -> str:
    """Return the hashes of the scripts for the content security policy, which admits no others."""
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
    environment.filters["words"] = _words
    environment.filters["plain"] = plain
    environment.filters["kind"] = lambda block: type(block).__name__
    environment.filters["grouped"] = "{:,}".format
    return environment


def _words(words: Words) -> Markup:
    return Markup("").join(map(_piece, pieces_of(words)))


def _piece(piece: Piece) -> Markup:
    if isinstance(piece, Figure):
        made = _environment().get_template(piece.template).render(piece.values)
        return Markup(made)  # noqa: S704 - a template, which escapes
    text = printable(plain(piece), keep="\n\t")
    if isinstance(piece, Code):
        return Markup("<code>{}</code>").format(text) if text else Markup("")
    if isinstance(piece, Link):
        style = Markup(' class="badge {}"').format(piece.tone) if piece.tone else Markup("")
        return Markup('<a href="{}"{}>{}</a>').format(piece.to, style, text)
    if isinstance(piece, Toned):
        kind = f"badge {piece.tone}" if piece.is_badge else piece.tone
        return Markup('<span class="{}">{}</span>').format(kind, text)
    return Markup("").join(  # what stands in backticks is code
        Markup("<code>{}</code>").format(part) if index % 2 else part
        for index, part in enumerate(text.split("`"))
    )
