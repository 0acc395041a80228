"""An installation goes on without torch and without a compiler, and says so once."""

from __future__ import annotations

import os
import shutil
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
        timeout=600,
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


@pytest.mark.slow
@pytest.mark.parametrize("abi", ["stable", "classic"])
def test_both_abis_build_and_load(tmp_path: Path, abi: str) -> None:
    pytest.importorskip("setuptools")
    import torch

    version = tuple(int(part) for part in torch.__version__.split(".")[:2])
    if abi == "stable" and version < (2, 10):
        pytest.skip(f"torch {torch.__version__} has no stable parallel_for")
    done = build(tmp_path, MAMBASEG_ABI=abi, MAMBASEG_REQUIRE_EXTENSION="1")
    assert done.returncode == 0, done.stderr[-2000:]
    (library,) = tmp_path.rglob("_C.so")
    check = (
        "import torch; from mambaseg_core.ops import schemas;"
        f"torch.ops.load_library({str(library)!r}); assert torch.ops.mambaseg.vector_lanes() >= 4;"
        "x = torch.ones(1, 2, 3); p = torch.ones(1, 1, 1, 3);"
        "y = torch.ops.mambaseg.selective_scan(x, x, -torch.ones(2, 1), p, p, None, None, False);"
        "print(y.shape)"
    )
    # a tree without its own extension, so that only the new one is loaded
    package = tmp_path / "tree" / "mambaseg_core"
    shutil.copytree(ROOT / "mambaseg_core" / "ops", package / "ops")
    (package / "__init__.py").touch()
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "tree"), "PYTHONWARNINGS": "ignore"}
    ran = subprocess.run([sys.executable, "-c", check], env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip() == "torch.Size([1, 2, 3])"
