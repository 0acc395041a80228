"""Only `mambaseg_core.files` writes files, only `mambaseg_core.pictures` encodes images (CONTRIBUTING.md)."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
BY_HAND = {
    **dict.fromkeys(("write_text", "write_bytes", "rename", "mkdtemp"), "mambaseg_core/files.py"),
    **dict.fromkeys(("imread", "imwrite", "imdecode", "imencode", "VideoWriter"), "mambaseg_core/pictures.py"),
}
"""The one file that may call a method."""
SWITCH = ("mambaseg_core/bench/model.py", "write_text")  # in /proc, no file


def calls_by_hand(source: str, name: str = "") -> set[str]:
    """Return the methods of `BY_HAND` that a file calls against the rule; imported functions are no methods."""
    calls = (node.func for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    found = {function.attr for function in calls if isinstance(function, ast.Attribute)}
    return {method for method in found if BY_HAND.get(method, name) != name and (name, method) != SWITCH}


def test_no_module_does_it_by_hand() -> None:
    paths = [path for folder in ("mambaseg_core", "mambaseg_ros") for path in sorted((ROOT / folder).rglob("*.py"))]
    found = {
        name: calls_by_hand((ROOT / name).read_text(), name)
        for name in (path.relative_to(ROOT).as_posix() for path in paths)
    }
    assert {name: calls for name, calls in found.items() if calls} == {}
    assert len(found) > 150


def test_the_rule_sees_violations() -> None:
    assert calls_by_hand("path.write_text('a'); cv2.imread('a')") == {"write_text", "imread"}
    assert calls_by_hand("cv2.imdecode(a); a.write_bytes(b)", "mambaseg_core/pictures.py") == {"write_bytes"}
    assert not calls_by_hand("write_text(path, 'a'); 'a'.replace('b', 'c')")
