"""Layers that the fused products stand for: what is given to the operators, and the same in plain PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mambaseg_core.ops import fused

OPERATORS = torch.ops.mambaseg
EPS = torch.finfo(torch.float32).eps
ACTIVATIONS = (fused.NONE, fused.RELU, fused.GELU, fused.SILU, fused.SIGMOID)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed + sum(shape)))


def norm(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    return x if weight is None else F.layer_norm(x, x.shape[-1:], weight, bias, 1e-5)


@dataclass
class Linear:
    """Arguments of fused_linear, and the same in plain PyTorch."""

    x: Tensor
    weight: Tensor
    bias: Tensor | None = None
    norm_weight: Tensor | None = None
    norm_bias: Tensor | None = None
    activation: int = 0
    residual: Tensor | None = None

    operator = OPERATORS.fused_linear

    def arguments(self, *, bfloat16: bool = False) -> tuple[Any, ...]:
        packed = OPERATORS.pack_linear(self.weight, bfloat16)
        norm = (self.norm_weight, self.norm_bias, 1e-5)
        return self.x, packed, self.bias, self.weight.shape[0], *norm, self.activation, self.residual

    def fused(self) -> Tensor:
        return self.operator(*self.arguments())

    def plain(self) -> Tensor:
        y = F.linear(norm(self.x, self.norm_weight, self.norm_bias), self.weight, self.bias)
        y = fused.activate(y, self.activation)
        return y if self.residual is None else y + self.residual


@dataclass
class Mlp:
    """Arguments of fused_mlp, and the same in plain PyTorch."""

    x: Tensor
    first: Tensor
    second: Tensor
    bias1: Tensor | None = None
    bias2: Tensor | None = None
    norm_weight: Tensor | None = None
    norm_bias: Tensor | None = None
    activation: int = fused.GELU
    residual: bool = True

    operator = OPERATORS.fused_mlp

    def arguments(self, *, bfloat16: bool = False) -> tuple[Any, ...]:
        layers = (OPERATORS.pack_linear(self.first, bfloat16), self.bias1, self.first.shape[0])
        layers += (OPERATORS.pack_linear(self.second, bfloat16), self.bias2)
        return self.x, self.norm_weight, self.norm_bias, 1e-5, *layers, self.activation, self.residual

    def fused(self) -> Tensor:
        return self.operator(*self.arguments())

    def plain(self) -> Tensor:
        y = F.linear(norm(self.x, self.norm_weight, self.norm_bias), self.first, self.bias1)
        y = F.linear(fused.activate(y, self.activation), self.second, self.bias2)
        return y + self.x if self.residual else y


@dataclass
class Conv:
    """Arguments of fused_conv3x3, and the same in plain PyTorch."""

    x: Tensor
    weight: Tensor
    bias: Tensor | None = None
    norm_weight: Tensor | None = None
    norm_bias: Tensor | None = None
    stride: int = 1
    activation: int = 0

    operator = OPERATORS.fused_conv3x3

    def arguments(self, *, bfloat16: bool = False) -> tuple[Any, ...]:
        packed = OPERATORS.pack_conv3x3(self.weight, bfloat16)
        norm = (self.norm_weight, self.norm_bias, 1e-5)
        return self.x, packed, self.bias, self.weight.shape[0], self.stride, *norm, self.activation

    def fused(self) -> Tensor:
        return self.operator(*self.arguments())

    def plain(self) -> Tensor:
        y = F.conv2d(self.x.permute(0, 3, 1, 2), self.weight, self.bias, self.stride, padding=1)
        return fused.activate(norm(y.permute(0, 2, 3, 1), self.norm_weight, self.norm_bias), self.activation)


Case = Linear | Mlp | Conv


def linear(inputs: int, outputs: int, *rows: int, **changed: Any) -> Linear:
    case = Linear(
        x=drawn(*rows, inputs),
        weight=drawn(outputs, inputs) / inputs**0.5,
        bias=drawn(outputs, seed=1),
        norm_weight=drawn(inputs, seed=2),
        norm_bias=drawn(inputs, seed=3),
        activation=fused.GELU,
        residual=drawn(*rows, outputs, seed=4),
    )
    return replace(case, **changed)


def mlp(channels: int, hidden: int, *rows: int, **changed: Any) -> Mlp:
    case = Mlp(
        x=drawn(*rows, channels),
        first=drawn(hidden, channels) / channels**0.5,
        second=drawn(channels, hidden) / hidden**0.5,
        bias1=drawn(hidden, seed=1),
        bias2=drawn(channels, seed=2),
        norm_weight=drawn(channels, seed=3),
        norm_bias=drawn(channels, seed=4),
    )
    return replace(case, **changed)


def conv(inputs: int, outputs: int, *size: int, **changed: Any) -> Conv:
    case = Conv(
        x=drawn(*size, inputs),
        weight=drawn(outputs, inputs, 3, 3) / (9 * inputs) ** 0.5,
        bias=drawn(outputs, seed=1),
        norm_weight=drawn(outputs, seed=2),
        norm_bias=drawn(outputs, seed=3),
        stride=2,
        activation=fused.GELU,
    )
    return replace(case, **changed)


def mapped(case: Any, change: Callable[[Tensor], Tensor]) -> Any:
    values = {name: change(value) if isinstance(value, Tensor) else value for name, value in vars(case).items()}
    return type(case)(**values)


CASES = {"linear": linear(33, 70, 2, 5, 7), "mlp": mlp(33, 70, 2, 5, 7), "conv": conv(10, 33, 2, 7, 9)}


def bordered(v: Tensor) -> Tensor:
    """Copy into the middle of NaN, so that a read outside shows."""
    whole = torch.full((v.numel() + 128,), float("nan"), dtype=v.dtype)
    whole[64:-64] = v.flatten()
    return whole[64:-64].view(v.shape)


def strided(v: Tensor) -> Tensor:
    wide = torch.full((*v.shape, 2), float("nan"), dtype=v.dtype)
    wide[..., 1] = v
    return wide[..., 1]
