"""The site: its navigation has every page, its hooks keep links and anchors, its API reference every public name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import site_hooks as hooks
import yaml

import mambaseg_core as mc

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
SETTINGS = yaml.safe_load((ROOT / "mkdocs.yml").read_text())


def pages(entry: Any) -> Iterator[str]:
    """Yield the files of an entry of the navigation."""
    if isinstance(entry, str):
        yield entry
    for part in entry.values() if isinstance(entry, dict) else entry if isinstance(entry, list) else ():
        yield from pages(part)


def test_the_navigation_has_every_page_and_no_other() -> None:
    named = list(pages(SETTINGS["nav"]))
    there = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}
    decisions = {name for name in there if name.startswith("decisions/0")}
    assert len(named) == len(set(named))
    assert set(named) == (there - decisions) | set(hooks.ROOT_PAGES.values())


def test_dead_links_fail_the_build() -> None:
    assert SETTINGS["strict"] is True
    kinds = SETTINGS["validation"]
    assert set(kinds["links"].values()) == {"warn"}
    assert set(kinds["nav"].values()) == {"warn"}


def test_the_api_reference_has_every_public_name() -> None:
    text = "".join(path.read_text() for path in (DOCS / "api").glob("*.md"))
    named = re.findall(r"^::: mambaseg_core\.(\w+)$", text, re.MULTILINE)
    assert sorted(named) == sorted({*mc.__all__} - {"ops"})
    operators = re.findall(r"^::: mambaseg_core\.ops\.(\w+)$", text, re.MULTILINE)
    assert sorted(operators) == sorted(mc.ops.__all__)


@pytest.mark.parametrize(
    ("source", "link", "on_site"),
    [
        ("docs/ros.md", "[a](time.md#which-clocks-exist)", "[a](time.md#which-clocks-exist)"),
        ("docs/decisions/0003-released-layout-bound-to-one-size.md", "![a](../demo.jpg)", "![a](../demo.jpg)"),
        ("docs/ros.md", "[a](../ARCHITECTURE.md)", "[a](project/architecture.md)"),
        ("docs/api/data.md", "[a](../../CHANGELOG.md#x)", "[a](../project/changelog.md#x)"),
        ("ARCHITECTURE.md", "[a](docs/decisions/README.md)", "[a](../decisions/README.md)"),
        ("docs/training.md", "[a](../mambaseg_core/training/config.py)", "a (`mambaseg_core/training/config.py`)"),
        ("docs/ros.md", "[here](https://a.b/c.md) [b](#c)", "[here](https://a.b/c.md) [b](#c)"),
        ("docs/ros.md", "`[a](../x.py)`", "`[a](../x.py)`"),
    ],
)  # fmt: skip
def test_links_hold_on_the_site(source: str, link: str, on_site: str) -> None:
    assert hooks.site_links(link, source) == on_site


def test_files_are_linked_where_the_repository_has_an_address() -> None:
    linked = hooks.site_links("[a](../config/x.yaml)", "docs/ros.md", "https://host/us/mambaseg/")
    assert linked == "[a](https://host/us/mambaseg/blob/main/config/x.yaml)"


def test_anchors_are_those_of_github() -> None:
    assert hooks.anchor("A network: `bench model --repeats 9`") == "a-network-bench-model---repeats-9"
