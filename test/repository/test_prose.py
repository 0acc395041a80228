"""Summaries of functions begin with a verb: what ruff's D401 does not know is refused here by its first word."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("mambaseg_core", "mambaseg_ros", "benchmarks", "tools", "launch")
NO_VERBS = {
    *("A", "All", "An", "As", "Both", "Each", "Either", "Every", "From", "How", "If", "In", "Its", "No", "None", "Not"),
    *("Nothing", "Of", "On", "One", "Our", "Some", "That", "The", "Those", "Two", "What", "When", "Where", "Whether"),
    *("Which", "Why", "With", "Without"),
}


def bad_summaries(source: str) -> Iterator[str]:
    """Yield the summaries of functions, without properties, that cannot begin with a verb."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.FunctionDef) or any("property" in ast.unparse(x) for x in node.decorator_list):
            continue
        first = (ast.get_docstring(node) or "Return").split()[0].rstrip(".,:;")
        if first in NO_VERBS or not first[0].isupper() or not first.isalpha():
            yield f"{node.name}: {first}"


@pytest.mark.parametrize("folder", FOLDERS)
def test_summaries_begin_with_a_verb(folder: str) -> None:
    paths = sorted((ROOT / folder).rglob("*.py"))
    assert paths
    assert {path.name: found for path in paths if (found := list(bad_summaries(path.read_text())))} == {}


def test_what_is_no_verb_is_found() -> None:
    functions = 'def f():\n    """{} x."""\n'
    assert list(bad_summaries(functions.format("[B, H]"))) == ["f: [B"]
    assert list(bad_summaries(functions.format("What"))) == ["f: What"]
    assert not list(bad_summaries(functions.format("Return")))
