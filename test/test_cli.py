"""The `mambaseg` command as a user types it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.mark.parametrize(
    "words",
    [
        *(("train",), ("eval",), ("predict",), ("export",), ("convert", "checkpoint")),
        *(("synth",), ("info",), ("bench", "model")),
        *(("convert", "ev-inf"), ("convert", "events-to-video")),
        *(("bag", "convert"), ("bag", "segment"), ("bag", "play"), ("bag", "record"), ("bag", "pictures")),
    ],
    ids=" ".join,
)
def test_every_command_has_a_help_with_an_example(mambaseg: Callable[..., Any], words: tuple[str, ...]) -> None:
    result = mambaseg(*words, "--help")
    assert result.returncode == 0, result.stdout
    assert f"Example: mambaseg {' '.join(words)}" in result.stdout


@pytest.mark.parametrize(
    ("name", "numbers"),
    [("mambaseg_ddd17", ("97.55 M", "32.42 G", "1.05 G")), ("mambaseg_dsec", ("256.18 M", "154.02 G", "4.17 G"))],
)
def test_info_counts_honestly(mambaseg: Callable[..., Any], name: str, numbers: tuple[str, ...]) -> None:
    """Every model's line at once is what the README's own command prints (test/repository/test_readme.py)."""
    result = mambaseg("info", name)
    assert result.returncode == 0, result.stdout
    for number in numbers:
        assert number in result.stdout


def test_an_unknown_model_lists_the_known_in_one_sentence(mambaseg: Callable[..., Any]) -> None:
    result = mambaseg("info", "mambaseg_huge")
    assert result.returncode == 1
    assert "mambaseg_huge" in result.stdout
    assert "mambaseg_dsec" in result.stdout
    assert result.stdout.count("\n") == 1


def test_a_folder_that_is_no_recording_says_what_was_found(mambaseg: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").touch()
    result = mambaseg("bag", "convert", tmp_path, tmp_path / "bag")
    assert result.returncode == 1
    assert "holiday.jpg" in result.stdout
    assert "events_txyp.npy" in result.stdout
    assert not (tmp_path / "bag").exists()


@pytest.mark.parametrize("name", ["[red]x", "x[/red]", "a:smile:b", "a[b]c\\", "x\udcff"])
def test_paths_are_printed_as_they_are(mambaseg: Callable[..., Any], tmp_path: Path, name: str) -> None:
    """They may look like the console's own markup, or be no Unicode, which is shown as Python writes it."""
    source, out = tmp_path / f"{name}.csv", tmp_path / name
    source.parent.mkdir(exist_ok=True)
    source.write_text("".join(f"{t} {t % 8} 1 1\n" for t in range(1000, 2000)))
    words = ("bag", "convert", source, out, "--height", 8, "--width", 8, "--columns", "txyp", "--time-unit", "us")
    printed = name.encode(errors="backslashreplace").decode()
    result = mambaseg(*words)
    assert result.returncode == 0, result.stdout
    assert f"{printed}: 0 images" in result.stdout.replace("\n", "")
    again = mambaseg(*words)
    assert again.returncode == 1
    assert f"{printed} exists already" in again.stdout


def test_a_command_that_needs_ros_says_so_where_there_is_none(tmp_path: Path) -> None:
    (tmp_path / "rclpy.py").write_text("raise ModuleNotFoundError('No module named rclpy', name='rclpy')\n")
    paths = [str(tmp_path), os.environ.get("PYTHONPATH", "")]
    words = [sys.executable, "-m", "mambaseg_ros", "bag", "play", "somewhere"]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "COLUMNS": "200"}
    result = subprocess.run(words, capture_output=True, text=True, timeout=300, env=env)
    assert result.returncode == 1
    assert "cannot import rclpy; this command needs ROS 2" in result.stdout
    assert "Traceback" not in result.stdout + result.stderr
