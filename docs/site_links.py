"""Hooks of MkDocs: a page that lists the decisions, and links to what is no page of the site.

Such a link leads to the repository if ``extra.source`` names it; else its text stays. A link to nothing is
left as it is, so that ``mkdocs build --strict`` fails.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Final

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT: Final = Path(__file__).parents[1]
DECISIONS: Final = "docs/decisions/"
LINK: Final = re.compile(r"(?<!!)\[(?P<text>[^\]]+)\]\((?P<path>[^):#]+)(?P<heading>#[^)]*)?\)")


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the list of decisions."""
    pages = sorted(path.name for path in (ROOT / DECISIONS).glob("*.md"))
    lines = [f"- [{name.removesuffix('.md').replace('-', ' ').capitalize()}]({name})" for name in pages]
    content = "\n".join(["# Decisions", "", "Why things are as they are.", "", *lines, ""])
    files.append(File.generated(config, f"{DECISIONS}README.md", content=content))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links to folders and code to where they can be read."""
    folder = posixpath.dirname(page.file.src_uri)

    def lead(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(folder, link["path"]))
        if files.get_file_from_path(target):
            return link[0]
        if files.get_file_from_path(f"{target}/README.md"):
            return f"[{link['text']}]({link['path']}/README.md)"
        if not (ROOT / target).exists():
            return link[0]
        source = config.extra["source"]
        return f"[{link['text']}]({source}/{target})" if source else link["text"]

    return LINK.sub(lead, markdown)
