"""`pip install .` as a researcher runs it: no ROS, no source tree on the path.

It is built for the classic ABI, as under an older torch. All other tests run colcon's operators, built for the stable
ABI if this torch has it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
KEPT = ("mambaseg_core", "mambaseg_ros", "msg", "config", "csrc", "setup.py", "pyproject.toml", "README.md", "LICENSE")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the distribution alone into a folder."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("site")
    for name in KEPT:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
        else:
            shutil.copy(ROOT / name, source / name)
    words = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--target"]
    env = {**os.environ, "MAMBASEG_ABI": "classic", "MAMBASEG_REQUIRE_EXTENSION": "1"}
    result = subprocess.run([*words, str(target), str(source)], env=env, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return target


def run(site: Path, *words: str) -> str:
    env = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "AMENT_PREFIX_PATH")}
    result = subprocess.run(
        [sys.executable, *words],
        cwd=site,
        env={**env, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_every_file_of_the_python_folders_is_installed(site: Path) -> None:
    for package in ("mambaseg_core", "mambaseg_ros"):
        ours, installed = files_of(ROOT / package), files_of(site / package)
        assert installed == ours
        assert "py.typed" in ours


def files_of(folder: Path) -> set[str]:
    paths = (path for path in folder.rglob("*") if path.is_file() and path.suffix not in (".so", ".pyc"))
    return {path.relative_to(folder).as_posix() for path in paths}


def test_the_command_runs_from_the_installed_files(site: Path) -> None:
    assert "97.55 M" in run(site, str(site / "bin" / "mambaseg"), "info", "mambaseg_ddd17")


def test_the_command_spawns_processes(site: Path, tmp_path: Path) -> None:
    small = [
        "--second",
        "thermal",
        "--sequences",
        "1",
        "0",
        "--seconds",
        "0.1",
        "--image-size",
        "48x64",
        "--jobs",
        "2",
    ]
    assert "2 labelled pairs" in run(site, str(site / "bin" / "mambaseg"), "synth", str(tmp_path), *small)


def test_the_compiled_operators_are_installed_and_used(site: Path) -> None:
    code = """if True:
        import mambaseg_core as mc, torch
        x, p = torch.ones(1, 2, 3), torch.ones(1, 1, 1, 3)
        y = mc.ops.selective_scan(x, x, -torch.ones(2, 1), p, p, backend="cpu")
        print(mc.__file__, mc.ops.backends(), list(y.shape), torch.ops.mambaseg.vector_lanes())
    """
    said = run(site, "-c", code)
    assert said.startswith(str(site))
    assert "('cpu', 'reference') [1, 2, 3]" in said
    assert int(said.split()[-1]) >= 4


def test_message_definitions_and_configuration_come_along(site: Path) -> None:
    code = "import mambaseg_ros.bag.types as t, mambaseg_ros.resources as r; t.typestore(); print(r.share_folder())"
    folder = Path(run(site, "-c", code).strip())
    assert folder == site / "share" / "mambaseg_ros"
    files = {"fastdds.xml", "foxglove.json", "mambaseg.param.yaml", "mambaseg.rviz"}
    assert {path.name for path in (folder / "config").iterdir() if path.is_file()} == files
    for name in ("train", "label_maps"):
        files = {path.name for path in (ROOT / "config" / name).iterdir()}
        assert {path.name for path in (folder / "config" / name).iterdir()} == files
