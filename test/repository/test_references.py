"""Every link in the Markdown files has a target; every file and section named in any text here exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from site_hooks import anchor

ROOT = Path(__file__).parents[2]
MADE = {"build", "install", "log", "out", "__pycache__"}
HIDDEN = {".github", ".ci"}  # all other hidden folders are caches
KINDS = {".md", ".py", ".txt", ".xml", ".cmake", ".in", ".h", ".cpp", ".sh", ".msg", ".yaml", ".yml", ".toml", ".cff"}


def is_made(name: str) -> bool:
    """Return whether a file or folder of that name is built, or a cache."""
    return name in MADE or (name.startswith(".") and name not in HIDDEN)


FOLDERS = sorted(path.name for path in ROOT.iterdir() if path.is_dir() and not is_made(path.name))
LINK = re.compile(r"\]\(([^)\s]+)\)")
FILE = re.compile(
    rf"(?<![\w/.-])((?:{'|'.join(map(re.escape, FOLDERS))})/[\w./-]*\w\.(?:md|py|sh|txt|xml|yaml|yml|cpp|h|msg))\b"
)
PAGE = re.compile(r"(?<![\w/.-])([A-Z]{5,}\.md)\b")
SECTION = re.compile(r"(docs/[\w/-]+\.md|README|CONTRIBUTING|ARCHITECTURE)(?:\.md)?, [\"']([^\"']+)[\"']")
SECTION_HERE = re.compile(r"\(\"([A-Z][^\"]+)\"\)")
DECISION = re.compile(r"decisions?[/ ](\d{4})\b")


def files() -> list[Path]:
    """Return all text files of the repository, without built ones."""
    found = [path for folder in ("", *FOLDERS) for path in (ROOT / folder).glob("**/*" if folder else "*")]
    kept = [path for path in found if path.is_file() and not any(map(is_made, path.relative_to(ROOT).parts))]
    return sorted(path for path in kept if path.suffix in KINDS and path != Path(__file__))


def flat(text: str) -> str:
    """Join the text to one line, without comment prefixes and without backslashes before quotes."""
    return re.sub(r"\s*\n\s*(?:#+ |// |\* )?\s*", " ", text).replace("\\", "")


def headings(path: Path) -> list[str]:
    prose = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.DOTALL | re.MULTILINE)
    return [heading.strip() for heading in re.findall(r"^#+ (.*)$", prose, re.MULTILINE)]


def anchors(path: Path) -> set[str]:
    """Return GitHub's anchors of a page's headings."""
    return {anchor(heading) for heading in headings(path)}


def has_section(path: Path, name: str) -> bool:
    """Return whether a heading is, or begins with, that name."""
    return any(re.match(rf"{re.escape(name)}(?!\w)", heading) for heading in headings(path))


def dangling(path: Path) -> list[str]:
    """Return the references of a file whose target does not exist."""
    text = path.read_text()
    line, missing = flat(text), []
    for name in FILE.findall(line) + PAGE.findall(line):
        if not (ROOT / name).exists() and not (path.parent / name).exists():
            missing.append(name)
    for page, section in SECTION.findall(line):
        target = ROOT / (page if page.endswith(".md") else f"{page}.md")
        if not target.exists() or not has_section(target, section):
            missing.append(f'{page}, "{section}"')
    for number in DECISION.findall(line):
        if not list((ROOT / "docs" / "decisions").glob(f"{number}-*.md")):
            missing.append(f"decision {number}")
    if path.suffix == ".md":
        missing += [f'"{name}"' for name in SECTION_HERE.findall(line) if not has_section(path, name)]
        missing += [link for link in LINK.findall(text) if not link_leads_somewhere(path, link)]
    return missing


def link_leads_somewhere(page: Path, link: str) -> bool:
    if re.match(r"[a-z]+:", link):  # a link to another site
        return True
    name, _, section = link.partition("#")
    target = page.parent / name if name else page
    return target.exists() and (not section or section in anchors(target))


@pytest.mark.parametrize("folder", ["", *FOLDERS])
def test_everything_that_is_referred_to_exists(folder: str) -> None:
    of_folder = [path for path in files() if (path.relative_to(ROOT).parts[:-1] or ("",))[0] == folder]
    found = {path.relative_to(ROOT).as_posix(): missing for path in of_folder if (missing := dangling(path))}
    assert found == {}


EXAMPLE = """\
# Page

## The one section

[a](#the-one-section) [b](page.md#the-one-section) [c](other.md) [d](#none)
See docs/ros.md, "Topics", docs/ros.md, "No such
section", README, "On a ROS 2 machine", ("The one section"), ("Another one"), CONTRIBUTING.md, NOTHING.md,
docs/nothing.md, tools/demo.py and test/nothing.py; decisions/0001, decision 9999.

```bash
# no heading
```
[e](#no-heading)
"""


def test_the_rules_see_what_dangles(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(EXAMPLE)
    assert dangling(page) == [
        "docs/nothing.md",
        "test/nothing.py",
        "NOTHING.md",
        'docs/ros.md, "No such section"',
        "decision 9999",
        '"Another one"',
        "other.md",
        "#none",
        "#no-heading",
    ]
    assert sum(path.suffix == ".md" for path in files()) > 15
