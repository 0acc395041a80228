"""Fused forms of the parts of Sigma and RSGMamba (`models.rgbx`)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mambaseg_core import ops
from mambaseg_core.fused.encoder import FusedMlp
from mambaseg_core.fused.fusion import FusedChannelAttention, Pair
from mambaseg_core.fused.layers import (
    Convert,
    FusedConv3x3,
    FusedDepthwise,
    FusedLinear,
    FusedNorm,
    FusedScan,
    UnfitError,
    expect,
    layer_norm,
    linear,
    rows,
)
from mambaseg_core.fused.packed import PackedWeights
from mambaseg_core.models.layers import DropPath
from mambaseg_core.models.rgbx.channel_aware_decoder import (
    ChannelAwareBlock,
    ChannelAwareDecoder,
    ChannelWeightedConv,
    Expand,
    Halve,
    doubled,
)
from mambaseg_core.models.rgbx.encoder import GatedBlock, GatedSS2D, PatchMerging
from mambaseg_core.models.rgbx.rsgmamba import LocalCrossGate, SelfGatedBlock
from mambaseg_core.ops.fused import GELU, NONE, SILU


class FusedGatedSS2D(nn.Module):
    """A gated SS2D with the norm before it, added to a residual."""

    def __init__(self, weights: PackedWeights, ss2d: nn.Module, *, norm: nn.Module | None = None) -> None:
        super().__init__()
        fitting = expect(ss2d, GatedSS2D)
        self.to_scan = rows(weights, fitting.in_proj, 0, 2, norm=norm)
        self.to_gate = rows(weights, fitting.in_proj, 1, 2, norm=norm, activation=SILU)
        self.conv = FusedDepthwise(weights, fitting.conv, activation=SILU)
        self.scan = FusedScan(weights, fitting.scan, ops.ss2d)
        self.norm = FusedNorm(fitting.norm)
        self.out_proj = linear(weights, fitting.out_proj)

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """Map [B, H, W, C] and perhaps a residual of its shape to [B, H, W, C]."""
        y = self.norm(self.scan(self.conv(self.to_scan(x)))) * self.to_gate(x)
        out: Tensor = self.out_proj(y, residual)
        return out


class FusedGatedBlock(nn.Module):
    """A gated scan with a norm before it and a residual connection."""

    def __init__(self, weights: PackedWeights, block: nn.Module) -> None:
        super().__init__()
        fitting = expect(block, GatedBlock)
        expect(fitting.drop_path, DropPath)
        self.ss2d = FusedGatedSS2D(weights, fitting.ss2d, norm=fitting.norm)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, H, W, C] to [B, H, W, C]."""
        y: Tensor = self.ss2d(x, x)
        return y


class FusedPatchMerging(nn.Module):
    """Four neighbors become one position of twice the channels."""

    def __init__(self, weights: PackedWeights, merging: nn.Module) -> None:
        super().__init__()
        fitting = expect(merging, PatchMerging)
        self.reduction = linear(weights, fitting.reduction, norm=fitting.norm)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, H, W, C] to [B, H/2, W/2, 2C], sizes rounded up."""
        x = F.pad(x, (0, 0, 0, x.shape[2] % 2, 0, x.shape[1] % 2))
        squares = torch.unflatten(torch.unflatten(x, 2, (-1, 2)), 1, (-1, 2))  # [B, H/2, row, W/2, column, C]
        y: Tensor = self.reduction(squares.permute(0, 1, 3, 4, 2, 5).flatten(3))
        return y


class FusedChannelAwareBlock(nn.Module):
    """A gated scan and a channel-weighted convolution, each added to its input scaled by channel."""

    def __init__(self, weights: PackedWeights, block: nn.Module) -> None:
        super().__init__()
        fitting = expect(block, ChannelAwareBlock)
        expect(fitting.drop_path, DropPath)
        attention = expect(fitting.attention, ChannelWeightedConv)
        self.scale1, self.scale2 = fitting.scale1, fitting.scale2
        self.ss2d = FusedGatedSS2D(weights, fitting.ss2d, norm=fitting.norm1)
        self.norm2 = FusedNorm(fitting.norm2)
        self.conv1 = FusedConv3x3(weights, attention.conv1, activation=GELU)
        self.conv2 = FusedConv3x3(weights, attention.conv2)
        self.attention = FusedChannelAttention(attention, activation=SILU)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, H, W, C] to [B, H, W, C]."""
        x = self.ss2d(x, x * self.scale1)
        y = self.conv2(self.conv1(self.norm2(x)))
        fused: Tensor = torch.ops.mambaseg.add_resized(y, self.attention(y), x * self.scale2, NONE)
        return fused


class FusedHalve(nn.Module):
    """Half the channels, twice the resolution."""

    def __init__(self, weights: PackedWeights, halve: nn.Module) -> None:
        super().__init__()
        fitting = expect(halve, Halve)
        self.linear, self.norm = linear(weights, fitting.linear), FusedNorm(fitting.norm)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, H, W, C] to [B, 2H, 2W, C/2]."""
        y: Tensor = self.norm(doubled(self.linear(x)))
        return y


class FusedExpand(nn.Module):
    """Half the channels, twice the resolution: each position becomes a square of four."""

    def __init__(self, weights: PackedWeights, expand: nn.Module) -> None:
        super().__init__()
        fitting = expect(expand, Expand)
        self.linear, self.norm = linear(weights, fitting.linear), FusedNorm(fitting.norm)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, H, W, C] to [B, 2H, 2W, C/2]."""
        squares = self.linear(x).unflatten(-1, (2, 2, -1))  # [B, H, W, row, column, C/2]
        y: Tensor = self.norm(squares.permute(0, 1, 3, 2, 4, 5).flatten(3, 4).flatten(1, 2))
        return y


class FusedChannelAwareDecoder(nn.Module):
    """The decoder of Sigma; the two products at its end, which commute with the resizes, are one.

    Args:
        weights: Where weights are packed.
        decoder: The plain module.
        expand: The inference form of its first upsampling.
        levels: The inference form of its levels.
    """

    def __init__(self, weights: PackedWeights, decoder: nn.Module, *, expand: nn.Module, levels: nn.ModuleList) -> None:
        super().__init__()
        fitting = expect(decoder, ChannelAwareDecoder)
        up1, up2 = expect(fitting.up1, nn.Linear), expect(fitting.up2, nn.Linear)
        if any(layer._parameters["bias"] is not None for layer in (up1, up2)):
            raise UnfitError
        self.expand, self.levels = expand, levels
        packed = weights.add_linear(_product, up2.weight, up1.weight)
        self.up = FusedLinear(packed, None, up2.out_features, norm=layer_norm(fitting.norm))
        self.classify = linear(weights, fitting.classify, norm=fitting.up_norm, exact=True)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Return logits [B, 4 H_0, 4 W_0, num_classes] of features [B, H_i, W_i, C_i], finest first."""
        *scales, coarsest = features
        x = self.expand(coarsest)
        for level, scale in zip(self.levels, reversed(scales), strict=True):
            x = level(torch.ops.mambaseg.add_resized(scale, None, x, NONE))
        logits: Tensor = self.classify(doubled(doubled(self.up(x))))
        return logits


def fused_decoder(weights: PackedWeights, decoder: nn.Module, convert: Convert) -> FusedChannelAwareDecoder:
    """Return the inference form of Sigma's decoder."""
    fitting = expect(decoder, ChannelAwareDecoder)
    levels = nn.ModuleList(convert(level) for level in fitting.levels)
    return FusedChannelAwareDecoder(weights, fitting, expand=convert(fitting.expand), levels=levels)


def _product(second: Tensor, first: Tensor) -> Tensor:
    return (second.double() @ first.double()).float()


class FusedSelfGatedBlock(nn.Module):
    """RSGMB: one scan of both inputs, a gate for each."""

    def __init__(self, weights: PackedWeights, block: nn.Module) -> None:
        super().__init__()
        fitting = expect(block, SelfGatedBlock)
        self.scan_image, self.scan_second = (rows(weights, x, 0, 2) for x in (fitting.in_image, fitting.in_second))
        self.gate_image, self.gate_second = (
            rows(weights, x, 1, 2, activation=SILU) for x in (fitting.in_image, fitting.in_second)
        )
        self.conv = FusedDepthwise(weights, fitting.conv, activation=SILU)
        self.scan = FusedScan(weights, fitting.scan, ops.ss2d)
        self.norm = FusedNorm(fitting.norm)
        self.out_image, self.out_second = linear(weights, fitting.out_image), linear(weights, fitting.out_second)

    def forward(self, image: Tensor, second: Tensor, weights: Pair) -> Pair:
        """Return what two [B, H, W, C] with weights [B, H, W, 1] gain: two [B, H, W, C]."""
        both = self.scan_image(image) * weights[0] + self.scan_second(second) * weights[1]
        context = self.norm(self.scan(self.conv(both)))
        return self.out_image(context * self.gate_image(image)), self.out_second(context * self.gate_second(second))


class FusedLocalCrossGate(nn.Module):
    """LCGM: 3x3 features through a gate from the other input."""

    def __init__(self, weights: PackedWeights, gate: nn.Module) -> None:
        super().__init__()
        fitting = expect(gate, LocalCrossGate)
        self.norm_image, self.norm_second = FusedNorm(fitting.norm_image), FusedNorm(fitting.norm_second)
        self.local_image = FusedDepthwise(weights, fitting.local_image)
        self.local_second = FusedDepthwise(weights, fitting.local_second)
        self.gate_image, self.gate_second = (
            FusedMlp(weights, fitting.gate_image),
            FusedMlp(weights, fitting.gate_second),
        )

    def forward(self, image: Tensor, second: Tensor, weights: Pair) -> Pair:
        """Return what two [B, H, W, C] with weights [B, H, W, 1] gain: two [B, H, W, C]."""
        local_image, local_second = (
            self.local_image(self.norm_image(image)),
            self.local_second(self.norm_second(second)),
        )
        from_image = torch.sigmoid(self.gate_image(local_image)) * weights[0]
        from_second = torch.sigmoid(self.gate_second(local_second)) * weights[1]
        return local_image * from_second, local_second * from_image
