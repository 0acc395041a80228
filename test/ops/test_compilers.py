"""The C++ sources compile for another processor and with another compiler, where such compilers are installed."""

from __future__ import annotations

import runpy
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def setup(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return the names in setup.py, which runs with `--name` only."""
    pytest.importorskip("setuptools")
    monkeypatch.setattr("sys.argv", ["setup.py", "--name"])
    monkeypatch.chdir(ROOT)
    return runpy.run_path("setup.py")


def compile_file(setup: dict[str, Any], command: str, source: Path, *options: str) -> None:
    if shutil.which(command) is None:
        pytest.skip(f"{command} is not installed")
    flags = [*setup["FLAGS"], "-Wall", "-Werror", *setup["ISA_FLAGS"].get(source.name, []), *setup["torch_flags"]()[0]]
    done = subprocess.run([command, *flags, *options, str(source)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{source.name}:\n{done.stderr[:2000]}"


@pytest.mark.slow
@pytest.mark.parametrize("command", ["aarch64-linux-gnu-g++", "clang++"])
def test_every_source_compiles_without_a_warning(setup: dict[str, Any], command: str, tmp_path: Path) -> None:
    others = setup["ISA_FLAGS"] if command.startswith("aarch64") else {}
    sources = [path for path in sorted((ROOT / "csrc" / "cpu").glob("*.cpp")) if path.name not in others]
    assert len(sources) >= 4
    for source in sources:
        compile_file(setup, command, source, "-c", "-o", str(tmp_path / "object.o"))


@pytest.mark.slow
def test_the_plain_kernels_become_neon_instructions(setup: dict[str, Any], tmp_path: Path) -> None:
    assembly = tmp_path / "plain.s"
    source = ROOT / "csrc" / "cpu" / "kernels_plain.cpp"
    compile_file(setup, "aarch64-linux-gnu-g++", source, "-S", "-o", str(assembly))
    assert assembly.read_text().count("fmla\tv") > 100
