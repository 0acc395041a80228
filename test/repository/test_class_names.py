"""The names of the public classes of both packages are unique, so that no reader confuses two classes."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parents[2]


def twins(sources: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Return the public classes that are defined in several of the named sources."""
    places = defaultdict(list)
    for name, source in sources:
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(name)
    return {name: found for name, found in places.items() if len(found) > 1}


def test_no_two_public_classes_share_a_name() -> None:
    paths = [path for package in ("mambaseg_core", "mambaseg_ros") for path in (ROOT / package).rglob("*.py")]
    found = twins((path.relative_to(ROOT).as_posix(), path.read_text()) for path in paths)
    assert found == {}


def test_twins_are_found() -> None:
    one, two = "class View: ...\nclass _Part: ...\n", "class _Part: ...\nif True:\n    class View: ...\n"
    assert twins([("one", one), ("two", two)]) == {"View": ["one", "two"]}
