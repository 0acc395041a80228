"""The back end "mamba_ssm" against mamba_ssm's own code: all of it but its CUDA kernel, which needs a GPU.

mamba_ssm's `selective_scan_fn` runs here as installed. Below it, mamba_ssm's plain PyTorch reference replaces the
kernel, behind the checks that its C++ makes.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from mambaseg_core import ops as package
from mambaseg_core.ops import reference, selection

COMMAND = (
    "MAMBA_FORCE_BUILD=TRUE MAMBA_SKIP_CUDA_BUILD=TRUE pip install --no-deps --no-build-isolation "
    "-r requirements/mamba_ssm.txt"
)
OURS = "mambaseg_core.ops.mamba_scan"
INTERFACE = "mamba_ssm.ops.selective_scan_interface"
FOREIGN = ("mamba_ssm", "selective_scan_cuda", OURS)
Gradients = tuple[Tensor | None, ...]


def need(tensors: dict[str, tuple[Tensor | None, tuple[int, ...]]]) -> None:
    """Check what mamba_ssm's C++ checks: float32, the shape, and a last dimension without gaps."""
    for name, (tensor, shape) in tensors.items():
        if tensor is not None:
            assert tensor.dtype == torch.float32, name
            assert tuple(tensor.shape) == shape, name
            assert tensor.stride(-1) == 1 or tensor.shape[-1] == 1, name


class Kernel(ModuleType):
    """The functions of selective_scan_cuda, computed by mamba_ssm's reference."""

    def __init__(self) -> None:
        super().__init__("selective_scan_cuda")
        self.reference: Callable[..., Tensor]
        self.calls = 0

    def fwd(
        self,
        u: Tensor,
        delta: Tensor,
        A: Tensor,
        B: Tensor,
        C: Tensor,
        D: Tensor | None,
        z: None,
        delta_bias: Tensor | None,
        delta_softplus: bool,
    ) -> tuple[Tensor, Tensor]:
        (batch, channels, length), state, groups = u.shape, A.shape[1], B.shape[1]
        long, rows = (batch, channels, length), (batch, groups, state, length)
        need({"u": (u, long), "delta": (delta, long), "A": (A, (channels, state)), "B": (B, rows), "C": (C, rows)})
        need({"D": (D, (channels,)), "delta_bias": (delta_bias, (channels,))})
        assert z is None
        self.calls += 1
        y = self.reference(u, delta, A, B, C, D, None, delta_bias, delta_softplus)
        return y, u.new_zeros(batch, channels, 1, 2 * state)

    def bwd(
        self,
        u: Tensor,
        delta: Tensor,
        A: Tensor,
        B: Tensor,
        C: Tensor,
        D: Tensor | None,
        z: None,
        delta_bias: Tensor | None,
        dout: Tensor,
        x: Tensor,
        out: None,
        dz: None,
        delta_softplus: bool,
        recompute: bool,
    ) -> Gradients:
        need({"dout": (dout, tuple(u.shape))})
        inputs = [None if v is None else v.detach().requires_grad_() for v in (u, delta, A, B, C, D, delta_bias)]
        with torch.enable_grad():
            y = self.reference(*inputs[:6], None, inputs[6], delta_softplus)
        found = iter(torch.autograd.grad(y, [v for v in inputs if v is not None], dout))
        return tuple(None if v is None else next(found) for v in inputs)


def forget() -> None:
    """Make the next import run all of these modules anew."""
    for name in [name for name in sys.modules if name in FOREIGN or name.startswith("mamba_ssm.")]:
        del sys.modules[name]
    vars(package).pop("mamba_scan", None)


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Iterator[Kernel]:
    """Make mamba_ssm's Python files importable without CUDA and Triton."""
    found = importlib.util.find_spec("mamba_ssm")
    if found is None or found.origin is None:
        pytest.skip(f"mamba_ssm's Python files are not installed here: `{COMMAND}` (make test does it)")
    before = {name: module for name, module in sys.modules.items() if name.split(".")[0] in FOREIGN or name == OURS}
    forget()
    top, norm, kernel = ModuleType("mamba_ssm"), ModuleType("mamba_ssm.ops.triton.layer_norm"), Kernel()
    top.__path__ = [str(Path(found.origin).parent)]  # its __init__ imports language models
    norm._layer_norm_fwd = None  # in Triton; the scan does not call it
    for module in (top, norm, kernel):
        sys.modules[module.__name__] = module
    kernel.reference = importlib.import_module(INTERFACE).selective_scan_ref
    yield kernel
    forget()
    sys.modules.update(before)


@pytest.fixture
def ours(kernel: Kernel) -> ModuleType:
    return importlib.import_module(OURS)


def draw(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape))) / 2


def results(function: Callable[..., Tensor], inputs: list[Tensor | None], *more: Any) -> list[Tensor]:
    """Return the output and the gradients of all inputs, for a loss that weighs every output differently."""
    leaves = [None if v is None else v.detach().requires_grad_() for v in inputs]
    y = function(*leaves, *more)
    (y * draw(*y.shape)).sum().backward()
    return [y.detach(), *(v.grad for v in leaves if v is not None)]


def scan_inputs(*, skip: bool, bias: bool) -> list[Tensor | None]:
    """Return inputs of two groups; B, C and the bias have gaps in the last dimension."""
    B, C = draw(2, 2, 9, 3).mT, draw(2, 2, 9, 3).flip(-1).mT
    head = [draw(2, 6, 9), draw(2, 6, 9), -draw(6, 3).exp(), B, C]
    return [*head, draw(6) if skip else None, draw(6, 2)[:, 0] if bias else None]


@pytest.mark.parametrize("softplus", [False, True])
@pytest.mark.parametrize(("skip", "bias"), [(False, False), (True, False), (False, True), (True, True)])
def test_selective_scan(kernel: Kernel, ours: ModuleType, skip: bool, bias: bool, softplus: bool) -> None:
    inputs = scan_inputs(skip=skip, bias=bias)
    expected = results(reference.selective_scan, inputs, softplus)
    torch.testing.assert_close(results(ours.selective_scan, inputs, softplus), expected)
    assert kernel.calls == 1


def test_ss2d(kernel: Kernel, ours: ModuleType) -> None:
    inputs = [draw(2, 3, 5, 6), draw(2, 3, 5, 4, 8), draw(4, 6, 2), draw(4, 6), -draw(24, 3).exp(), draw(24)]
    torch.testing.assert_close(results(ours.ss2d, inputs), results(reference.ss2d_projected, inputs))
    assert kernel.calls == 1
    assert ours.ss2d(inputs[0][:0], inputs[1][:0], *inputs[2:]).shape == (0, 3, 5, 6)


def test_bidirectional_scan(kernel: Kernel, ours: ModuleType) -> None:
    inputs = [draw(2, 6, 9), draw(2, 2, 8, 9), draw(2, 6, 2), draw(2, 6), -draw(12, 3).exp(), draw(12)]
    expected = results(reference.bidirectional_scan_projected, inputs)
    torch.testing.assert_close(results(ours.bidirectional_scan, inputs), expected)
    assert kernel.calls == 1


def test_what_the_kernel_does_not_take(kernel: Kernel, ours: ModuleType) -> None:
    inputs = [v for v in scan_inputs(skip=True, bias=True) if v is not None]
    with pytest.raises(TypeError, match=r"u is torch.float64, expected float32 for mamba_ssm; use backend='reference'"):
        ours.selective_scan(*(v.double() for v in inputs))
    assert ours.selective_scan(inputs[0][:0], inputs[1][:0], inputs[2], inputs[3][:0], inputs[4][:0]).shape == (0, 6, 9)
    assert kernel.calls == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_our_reference_is_theirs(kernel: Kernel, dtype: torch.dtype) -> None:
    u, delta, A, B, C, D, bias = scan_inputs(skip=True, bias=True)
    half = [v.to(dtype) for v in (u, delta)], [v.to(dtype) for v in (B, C)]
    ours = reference.selective_scan(*half[0], A, *half[1], D, bias, True)
    torch.testing.assert_close(ours, kernel.reference(*half[0], A, *half[1], D, None, bias, True))
    assert ours.dtype == dtype


def test_why_it_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    if torch.cuda.is_available():
        pytest.skip("a CUDA device is here")
    with pytest.raises(ValueError, match="'mamba_ssm' does not work here: torch sees no CUDA device"):
        selection.choose("cuda", "mamba_ssm")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setitem(sys.modules, "selective_scan_cuda", None)
    selection._mamba_ssm.cache_clear()
    try:
        assert "mamba_ssm cannot be imported: ModuleNotFoundError" in selection._missing("mamba_ssm")
    finally:
        selection._mamba_ssm.cache_clear()


def test_whatever_its_import_raises_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Triton in it, without a driver, raises an AssertionError."""
    (tmp_path / "mamba_ssm").mkdir()
    (tmp_path / "mamba_ssm" / "__init__.py").write_text("raise AssertionError('libcuda.so cannot be found')\n")
    before = {name: module for name, module in sys.modules.items() if name.split(".")[0] == "mamba_ssm"}
    forget()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, "selective_scan_cuda", Kernel())
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    selection._mamba_ssm.cache_clear()
    try:
        assert "mamba_ssm cannot be imported: AssertionError: libcuda.so cannot be found" in selection._mamba_ssm()
    finally:
        selection._mamba_ssm.cache_clear()
        forget()
        sys.modules.update(before)
