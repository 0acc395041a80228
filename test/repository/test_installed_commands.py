"""The commands that colcon installs, besides `python -m`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SMALL = ["--benchmark", "--sequences", "0", "1", "--seconds", "0.1", "--image-size", "48x64", "--jobs", "2"]


@pytest.fixture
def prefix(colcon_prefix: Path | None) -> Path:
    if colcon_prefix is None:
        pytest.skip("colcon has not built the package: run `make test`, or colcon build and source")
    return colcon_prefix


def test_synth_runs_in_spawned_processes(prefix: Path, tmp_path: Path) -> None:
    words = [prefix / "bin" / "mambaseg", "synth", tmp_path, *SMALL]
    result = subprocess.run(words, capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "21 labelled images" in result.stdout  # three of each condition
    assert len(list(tmp_path.rglob("sequence.yaml"))) == 7


@pytest.mark.parametrize("command", ["bin/mambaseg", "lib/mambaseg_ros/segmentation_node"])
def test_a_process_that_a_command_spawns_does_not_run_it_again(prefix: Path, command: str) -> None:
    """A spawned process runs the main file once more, under this name."""
    code = f"import runpy; runpy.run_path({str(prefix / command)!r}, run_name='__mp_main__'); print('not run')"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert (result.returncode, result.stdout) == (0, "not run\n"), result.stdout + result.stderr
