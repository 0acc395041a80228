"""The Triton kernels without a GPU: in the interpreter, and compiled for the cards that they are meant for.

Neither runs them on a GPU: `test_gpu` does, where there is one.
"""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from mambaseg_core import extension

triton = pytest.importorskip("triton", reason="triton is not installed (pip install triton)")
if extension.INTERPRETED:
    pytest.skip("TRITON_INTERPRET=1 is set; these tests set it themselves", allow_module_level=True)
if tuple(map(int, triton.__version__.split(".")[:2])) < (3, 7):
    pytest.skip(
        f"Triton is {triton.__version__}; expected 3.7: older ones do not know sm_110, nor their interpreter NumPy 2.4",
        allow_module_level=True,
    )

from triton.backends.compiler import GPUTarget  # noqa: E402
from triton.compiler import ASTSource  # noqa: E402

from mambaseg_core.ops import selection, triton_kernels, triton_scan, triton_voxel  # noqa: E402

HERE = Path(__file__).resolve().parent
CARDS = {80: "A100", 87: "Orin", 90: "H100", 100: "B200", 110: "Thor"}
KERNELS = ("chunk_ends", "chain", "outputs", "adjoint_starts", "gradients")
SIZES = {"K", "C", "N", "L", "H", "W", "sb", "sk", "st", "chunks"}
MAP = {"SHARED": True, "LAST": True, "WALK": triton_scan.MAP}
SEQUENCE = {"SHARED": False, "LAST": False, "WALK": triton_scan.IN_ORDER}
BOTH = {"SHARED": True, "LAST": False, "WALK": triton_scan.BOTH_WAYS}


def test_through_the_interpreter() -> None:
    """Runs `triton_interpreted` in its own process; the number of tests shows that none was left out."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(HERE / "triton_interpreted.py")],
        env={**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": str(HERE.parents[1]), "MAMBASEG_BACKEND": ""},
        cwd=HERE.parents[1],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert re.search(r"^38 passed", done.stdout, re.MULTILINE), done.stdout[-2000:]


def build(name: str, card: int, layout: dict[str, Any], dtype: str = "fp32") -> Any:
    """Compile a kernel as `triton_scan` launches it."""
    kernel = getattr(triton_kernels, name)
    tiles = {"chain": triton_scan.CHAIN, "chunk_ends": triton_scan.FORWARD, "outputs": triton_scan.FORWARD}
    tile = tiles.get(name, triton_scan.BACKWARD)
    given = {**layout, "SOFT": True, "REVERSE": True, "T": tile.steps, "BC": tile.channels, "sn": 1}
    constants = {p: given[p] for p in kernel.arg_names if p in given}
    kinds = {p: "constexpr" if p in given else "i32" if p in SIZES else f"*{dtype}" for p in kernel.arg_names}
    aligned = {(i,): [["tt.divisibility", 16]] for i, p in enumerate(kernel.arg_names) if kinds[p].startswith("*")}
    options = {"num_warps": 1, "enable_fp_fusion": True}
    return triton.compile(
        ASTSource(kernel, kinds, constants, aligned), target=GPUTarget("cuda", card, 32), options=options
    )


@pytest.fixture(autouse=True)
def _fresh_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))


def spilled_bytes(cubin: bytes, folder: Path) -> int:
    """Return the bytes of stack per thread, by Triton's own tool: spilled registers."""
    file = folder / "kernel.cubin"
    file.write_bytes(cubin)
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    usage = subprocess.run([tool, "-res-usage", file], capture_output=True, text=True, check=True).stdout
    return int(re.search(r"STACK:(\d+)", usage)[1])


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("card", CARDS)
def test_compiles_for_each_card(card: int, name: str, tmp_path: Path) -> None:
    built = build(name, card, MAP)
    assert f".target sm_{card}" in built.asm["ptx"]
    assert built.asm["cubin"].startswith(b"\x7fELF")
    assert spilled_bytes(built.asm["cubin"], tmp_path) == 0
    if name != "gradients":  # in it sums over channels cross lanes
        assert "shfl" not in built.asm["ptx"]  # each thread has whole columns


@pytest.mark.parametrize(
    ("name", "layout"),
    [(name, SEQUENCE) for name in KERNELS if name != "chain"] + [("chunk_ends", BOTH), ("outputs", BOTH)],
)
def test_sequences_compile_without_spilling(name: str, layout: dict[str, Any], tmp_path: Path) -> None:
    built = build(name, 90, layout)
    assert spilled_bytes(built.asm["cubin"], tmp_path) == 0


@pytest.mark.parametrize("name", KERNELS)
def test_float64_compiles(name: str) -> None:
    assert "ex2.approx.f32" not in build(name, 90, MAP, "fp64").asm["ptx"]


@pytest.mark.parametrize("card", CARDS)
def test_voxel_grid_compiles_without_spilling(card: int, tmp_path: Path) -> None:
    constants = {"BITS": 28, "BLOCK": triton_voxel.BLOCK}
    kinds = {"packed": "*i64", "grid": "*fp32", **dict.fromkeys(("count", "bins", "width", "plane"), "i32")}
    source = ASTSource(triton_voxel.scatter, {**kinds, **dict.fromkeys(constants, "constexpr")}, constants)
    built = triton.compile(source, target=GPUTarget("cuda", card, 32), options={"enable_fp_fusion": True})
    assert f".target sm_{card}" in built.asm["ptx"]
    assert built.asm["ptx"].count(".add.f32") >= 2  # atomic, by the card itself
    assert spilled_bytes(built.asm["cubin"], tmp_path) == 0


def test_cuda_tensors_get_triton_with_a_warning_that_it_is_unmeasured(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Only the choice: torch is patched to report a device."""
    caches = (selection._triton, selection._mamba_ssm, selection._best)
    monkeypatch.delenv("MAMBASEG_BACKEND", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    try:
        for cache in caches:
            cache.cache_clear()
        with caplog.at_level(logging.WARNING, logger=selection.__name__):
            assert [selection.choose("cuda", None) for _ in range(3)] == ["triton"] * 3
        assert caplog.text.count("back end triton (never measured on a GPU)") == 1
        assert selection.has_kernels("cuda")
        assert "triton" in selection.backends()
        with pytest.raises(ValueError, match="'triton' takes tensors on CUDA, these are on cpu"):
            selection.choose("cpu", "triton")
    finally:
        for cache in caches:
            cache.cache_clear()
