"""An installation goes on without torch or a compiler, with one message."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def build(target: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    places = ["--build-lib", str(target / "lib"), "--build-temp", str(target / "temp")]
    return subprocess.run(
        [sys.executable, "setup.py", "-q", "build_ext", *places],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )


def test_without_a_compiler_the_build_goes_on(tmp_path: Path) -> None:
    pytest.importorskip("setuptools")
    done = build(tmp_path, CC="/nonexistent/cc", CXX="/nonexistent/c++")
    assert done.returncode == 0
    assert done.stderr.count("the compiled operators were NOT built (CompileError") == 1
    assert "Install torch and g++ >= 11 here" in done.stderr
    assert not list(tmp_path.rglob("*.so"))


def test_without_torch_the_build_goes_on(tmp_path: Path) -> None:
    pytest.importorskip("setuptools")
    (tmp_path / "torch.py").write_text("raise ImportError('no torch here')\n")
    done = build(tmp_path, PYTHONPATH=str(tmp_path))
    assert done.returncode == 0
    assert done.stderr.count("the compiled operators were NOT built (ImportError: no torch here)") == 1


def test_a_failure_is_an_error_where_the_extension_is_required(tmp_path: Path) -> None:
    pytest.importorskip("setuptools")
    done = build(tmp_path, CC="/nonexistent/cc", CXX="/nonexistent/c++", MAMBASEG_REQUIRE_EXTENSION="1")
    assert done.returncode != 0


@pytest.mark.parametrize("abi", ["stable", "classic"])
def test_the_abi_is_chosen_by_torchs_version(abi: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both are built and loaded: colcon takes the default, and test/repository/test_install.py the classic one."""
    pytest.importorskip("setuptools")
    monkeypatch.setattr("sys.argv", ["setup.py", "--name"])
    monkeypatch.chdir(ROOT)
    monkeypatch.delenv("MAMBASEG_ABI", raising=False)
    monkeypatch.setattr("torch.__version__", {"stable": "2.10.0+cpu", "classic": "2.9.1"}[abi])
    flags, _ = runpy.run_path("setup.py")["torch_flags"]()
    assert f"-DMAMBASEG_STABLE_ABI={int(abi == 'stable')}" in flags
