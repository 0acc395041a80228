"""Fused forms of the paths of the released fusion (`models.mambaseg.released_fusion`)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mambaseg_core import ops
from mambaseg_core.fused.encoder import FusedSS2D
from mambaseg_core.fused.fusion import FusedChannelAttention, FusedSpatialAttention, Pair
from mambaseg_core.fused.layers import FusedDepthwise, FusedScan, expect, linear
from mambaseg_core.fused.packed import PackedWeights
from mambaseg_core.models.mambaseg.released_fusion import (
    CSIM,
    CTIM,
    ChannelAttention,
    ChannelGate,
    SpatialGate,
    Stream,
    TemporalSSM,
    mean_and_max,
    reread_merge,
    swap_odd_channels,
)
from mambaseg_core.ops.fused import RELU, SIGMOID, SILU


class FusedTemporalSSM(nn.Module):
    """The scan along the channels, added to a residual."""

    def __init__(self, weights: PackedWeights, ssm: nn.Module) -> None:
        super().__init__()
        fitting = expect(ssm, TemporalSSM)
        self.in_proj = linear(weights, fitting.in_proj)
        self.conv = FusedDepthwise(weights, fitting.conv, activation=SILU)
        self.scan = FusedScan(weights, fitting.scan, ops.bidirectional_scan, pack=False)
        self.out_proj = linear(weights, fitting.out_proj, norm=fitting.norm)

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        """Map [B, H, W, C] and a residual of its shape to [B, H, W, C]."""
        height, width = x.shape[1:3]
        y = reread_merge(self.scan(self.conv(self.in_proj(x)).flatten(1, 2)), height, width)
        out: Tensor = self.out_proj(y, residual)
        return out


class FusedTemporalStream(nn.Module):
    """One stream of the temporal path."""

    def __init__(self, weights: PackedWeights, stream: nn.Module) -> None:
        super().__init__()
        fitting = expect(stream, Stream)
        self.mixer, self.skip = FusedTemporalSSM(weights, fitting.mixer), linear(weights, fitting.skip)
        self.attention = FusedChannelAttention(expect(fitting.attention, ChannelAttention))

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, H, W, C] to [B, H, W, C]."""
        y = self.mixer(x, self.skip(x))
        weighted: Tensor = y * self.attention(y)
        return weighted


class FusedSpatialStream(nn.Module):
    """One stream of the spatial path."""

    def __init__(self, weights: PackedWeights, stream: nn.Module) -> None:
        super().__init__()
        fitting = expect(stream, Stream)
        self.mixer, self.skip = FusedSS2D(weights, fitting.mixer), linear(weights, fitting.skip)
        self.attention = FusedSpatialAttention(fitting.attention)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, H, W, C] to [B, H, W, C]."""
        y: Tensor = self.attention(self.mixer(x, self.skip(x)))
        return y


class FusedCTIM(nn.Module):
    """The temporal path."""

    def __init__(self, weights: PackedWeights, ctim: nn.Module) -> None:
        super().__init__()
        fitting = expect(ctim, CTIM)
        self.gate = expect(fitting.gate, ChannelGate)  # of one position: there is nothing to gain
        self.image = FusedTemporalStream(weights, fitting.image)
        self.events = FusedTemporalStream(weights, fitting.events)

    def forward(self, image: Tensor, events: Tensor) -> Pair:
        """Map two [B, H, W, C] to two [B, H, W, C]."""
        image, events = swap_odd_channels(image, events)
        return self.image(image * self.gate(events)), self.events(events * self.gate(image))


class FusedCSIM(nn.Module):
    """The spatial path."""

    def __init__(self, weights: PackedWeights, csim: nn.Module) -> None:
        super().__init__()
        fitting = expect(csim, CSIM)
        gate = expect(fitting.gate, SpatialGate)
        self.gate1 = linear(weights, gate.fc1, activation=RELU)
        self.gate2 = linear(weights, gate.fc2, activation=SIGMOID)
        self.image = FusedSpatialStream(weights, fitting.image)
        self.events = FusedSpatialStream(weights, fitting.events)

    def forward(self, image: Tensor, events: Tensor) -> Pair:
        """Map two [B, H, W, C] to two [B, H, W, C]."""
        gates = self.gate2(self.gate1(torch.cat((mean_and_max(image), mean_and_max(events)), dim=-1)))
        return self.image(image * gates[..., 1:]), self.events(events * gates[..., :1])
