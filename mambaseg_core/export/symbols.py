"""A network whose scans are symbols to the exporter: one node each, in a domain of ours, which `lowering` replaces."""

from __future__ import annotations

import copy
from typing import Any, Final, cast

import torch
from torch import Tensor, nn

from mambaseg_core import ops
from mambaseg_core.models.scans import DirectionalScan, SequenceScan, rates
from mambaseg_core.ops import reference

DOMAIN: Final = "mambaseg"
SIZE: Final = "size"
"""Attribute of a symbol: the size of its first argument; [B, K, C, L] of a selective scan."""


def with_symbols(model: nn.Module) -> nn.Module:
    """Return a copy of a network in which every scan is a symbol; scans read and write float32."""
    model = copy.deepcopy(model).eval().requires_grad_(False)
    for name, part in list(model.named_modules()):
        if isinstance(part, DirectionalScan):
            model.set_submodule(name, _DirectionalSymbol(part))
        elif isinstance(part, SequenceScan):
            model.set_submodule(name, _SequenceSymbol(part))
    return model


class _DirectionalSymbol(nn.Module):
    """Stands in for a `DirectionalScan`: its first product, and a symbol for the rest."""

    def __init__(self, scan: DirectionalScan) -> None:
        super().__init__()
        on_map = scan.op is ops.ss2d
        self._name = "ss2d" if on_map else "bidirectional_scan"
        self._project = reference.project_map if on_map else reference.project_sequence
        self.x_proj = nn.Parameter(scan.x_proj.float(), requires_grad=False)
        self.weights = _buffers(scan.dt_proj, scan.dt_bias, rates(scan.A_log), scan.D)

    def forward(self, x: Tensor) -> Tensor:
        """Scan x; shapes as of the operator."""
        wide = x.float()
        proj = self._project(wide, self.x_proj)
        batch, *rest = x.shape
        shape = (batch, *rest) if self._name == "ss2d" else (batch, 2, *rest)
        return _symbol(self._name, (wide, proj, *self.weights), x.shape, shape).to(x.dtype)


class _SequenceSymbol(nn.Module):
    """Stands in for a `SequenceScan`."""

    def __init__(self, scan: SequenceScan) -> None:
        super().__init__()
        self.weights = _buffers(rates(scan.A_log), scan.D, scan.dt_bias)

    def forward(self, x: Tensor, delta: Tensor, B: Tensor, C: Tensor) -> Tensor:
        """Scan x [B, C, L]; the other arguments as of `SequenceScan`."""
        batch, channels, length = x.shape
        arguments = (x.float(), delta.float(), B.float(), C.float(), *self.weights)
        return _symbol("selective_scan", arguments, (batch, 1, channels, length), x.shape).to(x.dtype)


def _buffers(*weights: Tensor) -> Any:
    return nn.ParameterList(nn.Parameter(weight.detach().float(), requires_grad=False) for weight in weights)


def _symbol(name: str, arguments: tuple[Tensor, ...], size: Any, shape: Any) -> Tensor:
    symbolic = cast(Any, torch.onnx).ops.symbolic
    y = symbolic(f"{DOMAIN}::{name}", arguments, {SIZE: list(size)}, dtype=torch.float32, shape=list(shape), version=1)
    return cast(Tensor, y)
