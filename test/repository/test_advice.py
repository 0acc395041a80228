"""Options that errors name exist: in some command, and those of recordings in every command that opens one."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest
import typer

from mambaseg_ros.cli import app

ROOT = Path(__file__).parents[2]
OPENING = (("info",), ("convert", "events-to-video"), ("bag", "convert"))
"""Commands that open recordings of any format."""


def options(words: tuple[str, ...]) -> set[str]:
    command: Any = typer.main.get_command(app)
    for word in words:
        command = command.commands[word]
    return {option for parameter in command.params for option in parameter.opts}


def all_options() -> set[str]:
    found: set[str] = set()
    waiting: list[Any] = [typer.main.get_command(app)]
    while waiting:
        command = waiting.pop()
        waiting += getattr(command, "commands", {}).values()
        found |= {option for parameter in command.params for option in parameter.opts}
    return found


def named(source: str) -> set[str]:
    """Return the options that the errors of a file name; of other programs' only what stands alone."""
    raised = [node for node in ast.walk(ast.parse(source)) if isinstance(node, (ast.Raise, ast.Assign, ast.Return))]
    texts = (
        part.value
        for node in raised
        for part in ast.walk(node)
        if isinstance(part, ast.Constant) and isinstance(part.value, str)
    )
    return {option for text in texts for option in re.findall(r"(?<![\w-])--[a-z][a-z-]+\b", text)}


@pytest.mark.parametrize("command", OPENING, ids=" ".join)
def test_what_recordings_ask_for_can_be_given(command: tuple[str, ...]) -> None:
    paths = sorted((ROOT / "mambaseg_core/recordings").rglob("*.py"))
    asked = {option for path in paths for option in named(path.read_text())}
    assert {"--height", "--width"} <= asked
    assert asked - options(command) == set()


def test_every_option_in_an_error_exists() -> None:
    known = all_options() | {
        "--clock",
        "--ntasks",
        "--ntasks-per-node",
        "--always",
        "--dirty",
        "--abbrev",
        "--cameras",  # of segmentation_node, as the next
        "--ros-args",
    }  # of other programs
    folders = (ROOT / "mambaseg_core", ROOT / "mambaseg_ros")
    unknown = {
        path.name: asked - known
        for folder in folders
        for path in sorted(folder.rglob("*.py"))
        if (asked := named(path.read_text())) - known
    }
    assert unknown == {}


def test_an_option_in_an_error_is_found() -> None:
    assert named("raise ValueError(f'{a}: give --height and --no-such')") == {"--height", "--no-such"}
