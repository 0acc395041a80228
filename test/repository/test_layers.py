"""Import layers (ARCHITECTURE.md): each folder imports only from those below it; the core does not import ROS."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROS = ("rclpy", "mambaseg_ros", "sensor_msgs", "std_msgs", "launch", "launch_ros", "cv_bridge")

# as in ARCHITECTURE.md, lowest last; modules of one layer may import each other only within one folder
LAYERS = [
    {"extension", "files", "memory", "module_parts", "raster", "tensor_files"},
    {"pictures"},
    {"events", "weights"},
    {"ops", "labels", "cameras", "recordings"},
    {"preprocessing"},
    {"models", "data"},
    {"fused"},
    {"profile", "precision", "synth", "tracing"},
    {"checkpoint", "engines", "graphs"},
    {"inference"},
    {"evaluation", "export"},
    {"training"},
    {"bench"},
    {"cli"},
]
LEVEL = {room: level for level, rooms in enumerate(LAYERS) for room in rooms}


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def core_files() -> list[Path]:
    return sorted(path for path in (ROOT / "mambaseg_core").rglob("*.py") if path.parent.name != "__pycache__")


def violations(name: str, modules: set[str]) -> list[str]:
    """Return the imports of a core file that break the rule; name is relative to mambaseg_core."""
    room = Path(name).parts[0].removesuffix(".py")
    found = [module for module in modules if module.split(".")[0] in ROS]
    for module in modules:
        parts = module.split(".")
        if room == "__init__" or parts[0] != "mambaseg_core" or len(parts) < 2 or parts[1] not in LEVEL:
            continue
        same_level = LEVEL[parts[1]] == LEVEL[room] and parts[1] != room
        if LEVEL[parts[1]] > LEVEL[room] or same_level:
            found.append(module)
    return found


@pytest.mark.parametrize("path", core_files(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_the_core_imports_only_downward_and_no_ros(path: Path) -> None:
    assert violations(path.relative_to(ROOT / "mambaseg_core").as_posix(), imports(path)) == []


def test_the_rule_sees_violations() -> None:
    assert violations("events/array.py", {"mambaseg_core.models.presets"})
    assert violations("data/dsec.py", {"mambaseg_core.models"})
    assert violations("models/mambaseg/encoder.py", {"rclpy.node"})
    assert not violations("models/mambaseg/encoder.py", {"mambaseg_core.ops", "torch"})
    assert len(core_files()) > 20


def test_every_room_has_a_level() -> None:
    rooms = {path.relative_to(ROOT / "mambaseg_core").parts[0].removesuffix(".py") for path in core_files()}
    assert rooms - {"__init__"} == set(LEVEL)


def test_architecture_md_draws_these_layers() -> None:
    rule = (ROOT / "ARCHITECTURE.md").read_text().partition("Layer rule:")[2].split("\n\n")[1]
    assert [set(line.strip().split(", ")) for line in rule.splitlines()] == LAYERS[::-1]
