"""Fused forms of VMamba's parts (`models.mambaseg.encoder`) and of `models.layers.Mlp`."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mambaseg_core import ops
from mambaseg_core.fused.layers import (
    FusedConv3x3,
    FusedDepthwise,
    FusedScan,
    expect,
    layer_norm,
    linear,
)
from mambaseg_core.fused.packed import PackedWeights, as_it_is
from mambaseg_core.models.layers import DropPath, Mlp
from mambaseg_core.models.mambaseg.encoder import SS2D, Downsample, Stem, VSSBlock
from mambaseg_core.ops.fused import GELU, SILU


class FusedMlp(nn.Module):
    """An MLP with the norm before it; `residual`: added to its input."""

    packed1: Tensor
    packed2: Tensor

    def __init__(
        self, weights: PackedWeights, mlp: nn.Module, *, norm: nn.Module | None = None, residual: bool = False
    ) -> None:
        super().__init__()
        fitting = expect(mlp, Mlp)
        first, second = expect(fitting.fc1, nn.Linear), expect(fitting.fc2, nn.Linear)
        self.norm_weight, self.norm_bias, self.eps = layer_norm(norm)
        self.hidden, self.residual = first.out_features, residual
        self.bias1, self.bias2 = first.bias, second.bias
        self.register_buffer("packed1", weights.add_linear(as_it_is, first.weight), persistent=False)
        self.register_buffer("packed2", weights.add_linear(as_it_is, second.weight), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., C] to [..., C]."""
        fused: Tensor = torch.ops.mambaseg.fused_mlp(
            x, self.norm_weight, self.norm_bias, self.eps, self.packed1, self.bias1, self.hidden,
            self.packed2, self.bias2, GELU, self.residual,
        )  # fmt: skip
        return fused


class FusedSS2D(nn.Module):
    """SS2D with the norm before it, added to a residual."""

    def __init__(self, weights: PackedWeights, ss2d: nn.Module, *, norm: nn.Module | None = None) -> None:
        super().__init__()
        fitting = expect(ss2d, SS2D)
        self.in_proj = linear(weights, fitting.in_proj, norm=norm)
        self.conv = FusedDepthwise(weights, fitting.conv, activation=SILU)
        self.scan = FusedScan(weights, fitting.scan, ops.ss2d)
        self.out_proj = linear(weights, fitting.out_proj, norm=fitting.norm)

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """Map [B, H, W, C] and perhaps a residual of its shape to [B, H, W, C]."""
        y: Tensor = self.out_proj(self.scan(self.conv(self.in_proj(x))), residual)
        return y


class FusedVSSBlock(nn.Module):
    """A visual state space block in six operators."""

    def __init__(self, weights: PackedWeights, block: nn.Module) -> None:
        super().__init__()
        fitting = expect(block, VSSBlock)
        expect(fitting.drop_path, DropPath)
        self.ss2d = FusedSS2D(weights, fitting.ss2d, norm=fitting.norm1)
        self.mlp = FusedMlp(weights, fitting.mlp, norm=fitting.norm2, residual=True)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, H, W, C] to [B, H, W, C]."""
        y: Tensor = self.mlp(self.ss2d(x, x))
        return y


class FusedStem(nn.Module):
    """The stem in two operators."""

    def __init__(self, weights: PackedWeights, stem: nn.Module) -> None:
        super().__init__()
        fitting = expect(stem, Stem)
        self.conv1 = FusedConv3x3(weights, fitting.conv1, norm=fitting.norm1, activation=GELU)
        self.conv2 = FusedConv3x3(weights, fitting.conv2, norm=fitting.norm2)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, in_channels, H, W] to [B, H/4, W/4, C], sizes rounded up."""
        y: Tensor = self.conv2(self.conv1(x.permute(0, 2, 3, 1)))
        return y


class FusedDownsample(nn.Module):
    """The downsampling between two stages in one operator."""

    def __init__(self, weights: PackedWeights, downsample: nn.Module) -> None:
        super().__init__()
        fitting = expect(downsample, Downsample)
        self.conv = FusedConv3x3(weights, fitting.conv, norm=fitting.norm)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, H, W, C] to [B, H/2, W/2, C'], sizes rounded up."""
        y: Tensor = self.conv(x)
        return y
