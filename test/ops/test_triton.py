"""The Triton kernels without a GPU: in the interpreter, and compiled for the cards that they are meant for.

Neither runs them on a GPU: `test_gpu` does, where there is one.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from torch._subclasses import FakeTensorMode

from mambaseg_core import extension

triton = pytest.importorskip("triton", reason="triton is not installed (pip install triton)")
if extension.INTERPRETED:
    pytest.skip("TRITON_INTERPRET=1 is set; these tests set it themselves", allow_module_level=True)
VERSION = tuple(map(int, triton.__version__.split(".")[:2]))
if VERSION < (3, 6):
    pytest.skip(
        f"Triton is {triton.__version__}; expected 3.6: 3.2.0 compiles the kernels (tried by hand), "
        "but its interpreter lacks what they use",
        allow_module_level=True,
    )

import compiled  # noqa: E402
from triton.backends.compiler import GPUTarget  # noqa: E402
from triton.compiler import ASTSource  # noqa: E402

from mambaseg_core.ops import triton_backward, triton_scan, triton_voxel, triton_walks  # noqa: E402

HERE = Path(__file__).resolve().parent
CARDS = [  # A100, Orin, H100, B200, Thor
    *(80, 87, 90, 100),
    pytest.param(
        110, marks=pytest.mark.skipif(VERSION < (3, 7), reason="the ptxas of Triton 3.6 does not know sm_110")
    ),
]


@pytest.mark.skipif(
    VERSION < (3, 7) and tuple(map(int, np.__version__.split(".")[:2])) >= (2, 4),
    reason="the interpreter of Triton 3.6 takes int() of arrays with one element, which NumPy 2.4 refuses",
)
def test_through_the_interpreter() -> None:
    """Runs `triton_interpreted` in its own process; the number of tests shows that none was left out."""
    path = os.pathsep.join(filter(None, (str(HERE.parents[1]), os.environ.get("PYTHONPATH"))))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(HERE / "triton_interpreted.py")],
        env={**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": path, "MAMBASEG_BACKEND": ""},
        cwd=HERE.parents[1],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert re.search(r"^45 passed", done.stdout, re.MULTILINE), done.stdout[-2000:]


@pytest.fixture(autouse=True)
def _fresh_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))


@pytest.mark.parametrize("x", ["fp32", "bf16"])
@pytest.mark.parametrize("states", [1, 4, 16])
@pytest.mark.parametrize("kernel", compiled.FORWARD, ids=lambda kernel: kernel.fn.__name__)
def test_a_lane_keeps_its_channel_in_few_registers(kernel: Any, states: int, x: str) -> None:
    """Fails if a layout spreads the states of a channel over lanes, or if they do not fit."""
    seen = compiled.read(compiled.build_forward(kernel, 90, states, x=x))
    assert (seen.stack_bytes, seen.shuffles) == (0, 0)
    assert seen.registers <= (96 if states == 1 else 128)
    step = seen.path(product=True)
    assert sum("MUFU.EX2" in line for line in step) == states + 1  # of the decays, and of the softplus
    rows = 1 if kernel is compiled.FORWARD[0] else 2  # B, and C
    assert sum("LDG.E.128" in line for line in step) == 4 + rows * (states // 4)  # rows are loaded by fours


def test_a_softplus_is_a_few_instructions() -> None:
    """The logarithm of one more than an exponential, to the last digit, takes 45 of them."""
    step = compiled.read(compiled.build_forward(compiled.FORWARD[0], 90, 1)).path(product=False)
    assert len(step) < 60


@pytest.mark.parametrize("card", CARDS)
def test_forward_compiles_for_each_card(card: int) -> None:
    for kernel in compiled.FORWARD:
        built = compiled.build_forward(kernel, card, 1)
        assert f".target sm_{card}" in built.asm["ptx"]
        assert built.asm["cubin"].startswith(b"\x7fELF")
        assert compiled.read(built).stack_bytes == 0


BACKWARD = {"chain": triton_walks.chain} | {
    kernel.fn.__name__: kernel for kernel in (triton_backward.adjoint_starts, triton_backward.gradients)
}


def build_backward(name: str, card: int, dtype: str = "fp32") -> Any:
    steps = triton_scan.CHAIN_CHUNKS if name == "chain" else triton_scan.BACKWARD_CHUNK
    return compiled.build(BACKWARD[name], card, dtype, T=steps, SOFT=True)


@pytest.mark.parametrize("name", BACKWARD)
def test_backward_compiles_without_spilling(name: str) -> None:
    seen = compiled.read(build_backward(name, 90))
    assert seen.stack_bytes == 0
    if name != "gradients":  # in it sums over channels cross lanes
        assert seen.shuffles == 0


@pytest.mark.parametrize("card", CARDS)
def test_backward_compiles_for_each_card(card: int) -> None:
    for name in BACKWARD:
        assert compiled.read(build_backward(name, card)).stack_bytes == 0


def test_float64_compiles() -> None:
    built = [compiled.build_forward(kernel, 90, 1, "fp64") for kernel in compiled.FORWARD]
    built += [build_backward(name, 90, "fp64") for name in BACKWARD]
    assert not any("ex2.approx.f32" in one.asm["ptx"] for one in built)


@pytest.mark.parametrize("card", CARDS)
def test_voxel_grid_compiles_without_spilling(card: int) -> None:
    constants = {"BITS": 28, "BLOCK": triton_voxel.BLOCK}
    kinds = {"packed": "*i64", "grid": "*fp32", **dict.fromkeys(("count", "bins", "width", "plane"), "i32")}
    source = ASTSource(triton_voxel.scatter, {**kinds, **dict.fromkeys(constants, "constexpr")}, constants)
    built = triton.compile(source, target=GPUTarget("cuda", card, 32), options={"enable_fp_fusion": True})
    assert f".target sm_{card}" in built.asm["ptx"]
    assert built.asm["ptx"].count(".add.f32") >= 2  # atomic, by the card itself
    assert compiled.read(built).stack_bytes == 0


@pytest.mark.parametrize("number", [0, 1])
def test_voxel_grid_launches_on_the_device_of_its_grid(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Triton launches on CUDA's current device, whatever device the tensors are on."""
    current = []
    device = contextmanager(lambda chosen: (yield current.append(chosen)))
    launched = mock.MagicMock()
    launched.__getitem__.return_value.side_effect = lambda *_, **__: current.append("launch")
    monkeypatch.setattr(torch.cuda, "device", device)
    monkeypatch.setattr(triton_voxel, "scatter", launched)
    with FakeTensorMode():
        chosen = torch.device("cuda", number)
        triton_voxel.scatter_(torch.empty(3, 4, 5, device=chosen), torch.empty(7, dtype=torch.int64, device=chosen))
    assert current == [chosen, "launch"]
