"""No import cycles: not through a third file, not inside a function, not for types alone."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("mambaseg_core", "mambaseg_ros")

Graph = Mapping[str, set[str]]
"""Each module's name, with the names of the modules it imports."""


def modules(root: Path) -> dict[str, Path]:
    """Return the file of each module of both packages, by its dotted name."""
    found = {}
    for path in sorted(path for package in PACKAGES for path in (root / package).rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(source: str, known: set[str]) -> set[str]:
    """Return the known modules that a file imports, anywhere in the file."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None, "relative imports are not read here"
            for alias in node.names:
                submodule = f"{node.module}.{alias.name}"
                found.add(submodule if submodule in known else node.module)
    return found & known


def graph_of(root: Path) -> Graph:
    files = modules(root)
    return {name: imported(path.read_text(), set(files)) for name, path in files.items()}


def reachable(graph: Graph, start: str) -> set[str]:
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        new = graph[waiting.pop()] - seen
        seen |= new
        waiting += new
    return seen


def circles(graph: Graph) -> list[list[str]]:
    """Return each largest set of modules that all reach one another."""
    reach = {name: reachable(graph, name) for name in graph}
    tied = {frozenset(other for other in reach[name] if name in reach[other]) for name in graph}
    return sorted(sorted(circle) for circle in tied if circle)


def test_no_import_circle() -> None:
    graph = graph_of(ROOT)
    assert len(graph) > 150
    assert circles(graph) == []


def test_circles_are_found() -> None:
    graph = {"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set(), "e": {"e"}}
    assert circles(graph) == [["b", "c"], ["e"]]
    source = "import x.y\ndef f():\n    from x import z, name\nif TYPE_CHECKING:\n    from x.w import T\n"
    assert imported(source, {"x", "x.y", "x.z", "x.w"}) == {"x", "x.y", "x.z", "x.w"}
