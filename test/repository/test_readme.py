"""The commands and code of the README exist and run."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.DOTALL)


def test_the_blocks_are_those_that_the_tests_below_run() -> None:
    assert [kind for kind, _ in BLOCKS] == ["bash", "bash", "bash", "python"]
    assert BLOCKS[1][1].split("\n")[0].startswith("make demo")
    assert BLOCKS[1][1].split("\n")[1].startswith("make test")


def test_make_knows_the_targets_that_the_readme_and_ci_name() -> None:
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    named = re.findall(r"make ([a-z]+)", README + (ROOT / ".ci" / "run").read_text())
    assert len(named) >= 5
    assert set(named) <= set(targets)


def test_files_that_the_ros_commands_name_exist() -> None:
    names = re.findall(r"src/mambaseg/([\w./]+)", README)
    assert len(names) >= 2
    for name in names:
        assert (ROOT / name).is_file(), name


def test_the_commands_run_one_after_the_other(tmp_path: Path, colcon_prefix: Path | None) -> None:
    """Run the commands as written, from the installed package, on a small recording and benchmark, for two steps."""
    lines = [line for line in BLOCKS[2][1].splitlines() if line.startswith("mambaseg ")]
    (tmp_path / "config").symlink_to(ROOT / "config")
    header = b"% evt 2.0\n% geometry 64x48\n% end\n"
    (tmp_path / "recording.raw").write_bytes(header + np.array([0x80000001, 0x10005003, 0x00005003], "<u4").tobytes())
    small = ["loop.steps=2", "loop.batch=1", "data.size=[32, 48]", "data.crop=[32, 48]", "data.workers=0"]
    more = {
        "synth": ["--sequences", "1", "1", "--seconds", "0.3", "--image-size", "48x64", "--jobs", "2"],
        "train": [word for value in small for word in ("--set", value)],
    }
    command = [sys.executable, "-m", "mambaseg_ros"] if colcon_prefix is None else [str(colcon_prefix / "bin/mambaseg")]
    for line in lines:
        words = line.split("#")[0].split()[1:]
        result = subprocess.run(
            [*command, *words, *more.get(words[0], [])], cwd=tmp_path, capture_output=True, text=True, timeout=600
        )
        assert result.returncode == 0, line + result.stdout + result.stderr
        assert result.stdout.strip(), line
    assert [line.split()[1] for line in lines] == ["info", "info", "synth", "train", "eval", "predict"]
    assert (tmp_path / "out" / "eval" / "report.html").stat().st_size > 10_000
    assert (tmp_path / "out" / "night" / "overlay.mp4").is_file()


def test_the_python_block_runs() -> None:
    rng = np.random.default_rng(0)
    names = {
        "x": rng.integers(0, 346, 1000),
        "y": rng.integers(0, 260, 1000),
        "t_ns": np.sort(rng.integers(0, 50_000_000, 1000)),
        "p": rng.integers(0, 2, 1000),
        "image": rng.integers(0, 255, (260, 346), np.uint8),
    }
    code = BLOCKS[3][1]
    load = "mc.load_released_state_dict(model, state_dict)"
    assert load in code  # the authors' file cannot be shipped; test/models tests that loader
    code = "\n".join(line for line in code.splitlines() if not line.startswith(load))
    exec(compile(code, "README.md", "exec"), names)
    assert names["mask"].ids.shape == (200, 346)
    assert names["mask"].ids.dtype == np.uint8
