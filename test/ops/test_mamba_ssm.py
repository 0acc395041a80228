"""What is wrapped around mamba_ssm's scan, with the reference in its place: the kernel itself needs a GPU."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from types import ModuleType

import pytest
import torch
from torch import Tensor

from mambaseg_core import ops as package
from mambaseg_core.ops import reference, selection

NAME = "mambaseg_core.ops.mamba_scan"


def stand_in(
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None = None, z: Tensor | None = None,
    delta_bias: Tensor | None = None, delta_softplus: bool = False,
) -> Tensor:  # fmt: skip
    """Takes what selective_scan_fn takes, and as strictly."""
    assert z is None
    assert all(v.is_contiguous() for v in (u, delta, A, B, C))
    assert all(v is None or v.dtype == torch.float32 for v in (A, D, delta_bias))
    return reference.selective_scan(u, delta, A, B, C, D, delta_bias, delta_softplus)


def forget() -> None:
    """Let the next import run the module again."""
    sys.modules.pop(NAME, None)
    vars(package).pop("mamba_scan", None)


@pytest.fixture
def mamba(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    interface = ModuleType("mamba_ssm.ops.selective_scan_interface")
    interface.selective_scan_fn = stand_in
    for module in (ModuleType("mamba_ssm"), ModuleType("mamba_ssm.ops"), interface, ModuleType("selective_scan_cuda")):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    forget()
    yield importlib.import_module(NAME)
    forget()


def draw(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(len(shape))) / 2


def test_ss2d(mamba: ModuleType) -> None:
    inputs = [draw(2, 3, 5, 6), draw(2, 3, 5, 4, 8), draw(4, 6, 2), draw(4, 6), -draw(24, 3).exp(), draw(24)]
    torch.testing.assert_close(mamba.ss2d(*inputs), reference.ss2d_projected(*inputs))
    assert mamba.ss2d(inputs[0][:0], inputs[1][:0], *inputs[2:]).shape == (0, 3, 5, 6)


def test_bidirectional_scan(mamba: ModuleType) -> None:
    inputs = [draw(2, 6, 9), draw(2, 2, 8, 9), draw(2, 6, 2), draw(2, 6), -draw(12, 3).exp(), draw(12)]
    torch.testing.assert_close(mamba.bidirectional_scan(*inputs), reference.bidirectional_scan_projected(*inputs))


def test_selective_scan(mamba: ModuleType) -> None:
    inputs = [draw(2, 6, 9), draw(2, 6, 9), -draw(6, 3).exp(), draw(2, 2, 3, 9), draw(2, 2, 3, 9)]
    torch.testing.assert_close(mamba.selective_scan(*inputs), reference.selective_scan(*inputs))
    full = (*inputs, draw(6), draw(6), True)
    torch.testing.assert_close(mamba.selective_scan(*full), reference.selective_scan(*full))
    with pytest.raises(TypeError, match=r"u is torch.float64, back end mamba_ssm takes float32"):
        mamba.selective_scan(*(v.double() for v in inputs))


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
