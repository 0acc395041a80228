"""Hooks of mkdocs.yml: the pages of docs/ keep the links and anchors with which they are read in the repository.

Pages of the repository's root become pages of the site. A link to a file that is no page becomes the file's name, or a
link to it where mkdocs.yml has a `repo_url`.
"""

from __future__ import annotations

import os.path
import re
from pathlib import Path, PurePosixPath
from typing import Any, Final

ROOT: Final = Path(__file__).parents[1]
ROOT_PAGES: Final = {name: f"project/{name.lower()}" for name in ("ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md")}
"""Pages of the repository's root, and where they are on the site."""

_LINK: Final = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\[\]]*\])*)\]\(([^)\s]+)\)")
_CODE: Final = re.compile(r"(^```.*?^```$|`[^`\n]*`)", re.DOTALL | re.MULTILINE)


def anchor(heading: str, separator: str = "-") -> str:
    """Return GitHub's anchor of a heading, by which our pages link to each other."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", separator)


def site_links(text: str, source: str, repository: str | None = None) -> str:
    """Return a page with links that hold on the site.

    Args:
        text: the page, Markdown.
        source: its path in the repository, such as "docs/ros.md".
        repository: address of the repository; None: links to files that are no pages become text.
    """
    parts = _CODE.split(text)
    parts[::2] = [_LINK.sub(lambda match: _site_link(match, source, repository), part) for part in parts[::2]]
    return "".join(parts)


def _site_link(match: re.Match[str], source: str, repository: str | None) -> str:
    image, words, address = match.groups()
    name, hash_sign, section = address.partition("#")
    if not name or re.match(r"[a-z]+:", name):
        return match[0]
    target = os.path.normpath(PurePosixPath(source).parent / name)
    page = ROOT_PAGES.get(target, target.removeprefix("docs/") if target.startswith("docs/") else None)
    if page is not None:
        here = ROOT_PAGES.get(source, source.removeprefix("docs/"))
        return f"{image}[{words}]({os.path.relpath(page, PurePosixPath(here).parent)}{hash_sign}{section})"
    if repository:
        return f"{image}[{words}]({repository.rstrip('/')}/blob/main/{target}{hash_sign}{section})"
    return words if words.strip("`") == target else f"{words} (`{target}`)"


def on_config(config: Any) -> Any:
    """Set the anchors of headings."""
    config.mdx_configs.setdefault("toc", {})["slugify"] = anchor
    return config


def on_files(files: Any, config: Any) -> Any:
    """Add the pages of the repository's root."""
    from mkdocs.structure.files import File  # type: ignore[import-not-found]

    for name, page in ROOT_PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / name).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Make the links of a page those of the site."""
    sources = {page: name for name, page in ROOT_PAGES.items()}
    source = sources.get(page.file.src_uri, f"docs/{page.file.src_uri}")
    return site_links(markdown, source, config.repo_url or None)
