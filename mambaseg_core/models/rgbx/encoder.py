"""The encoder of Sigma: VMamba in its first form, gated scans without MLPs, one encoder for both inputs.

Source: Liu et al., "VMamba: Visual State Space Model", 2024 (first version); Wan et al., "Sigma", WACV 2025.
"""

from __future__ import annotations

import math
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mambaseg_core import ops
from mambaseg_core.models.layers import DropPath, convolve, init_linear, rising_rates
from mambaseg_core.models.scans import DirectionalScan


class GatedSS2D(nn.Module):
    """Mix a feature map by selective scans in four directions, each channel gated by a second projection.

    Args:
        channels: C, of input and output; the scan is 2C wide.
        state: N, the scan's state size.
    """

    def __init__(self, channels: int, *, state: int) -> None:
        super().__init__()
        inner = 2 * channels
        self.in_proj = nn.Linear(channels, 2 * inner, bias=False)  # rows for the scan, then for the gate
        self.conv = nn.Conv2d(inner, inner, 3, padding=1, groups=inner)
        self.scan = DirectionalScan(
            ops.ss2d, directions=4, channels=inner, state=state, dt_rank=math.ceil(channels / 16)
        )
        self.norm = nn.LayerNorm(inner)
        self.out_proj = nn.Linear(inner, channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, H, W, C] to [B, H, W, C]."""
        to_scan, to_gate = self.in_proj.weight.chunk(2)  # two products: a slice of one result would be copied
        gate = F.silu(F.linear(x, to_gate))
        y = self.scan(F.silu(convolve(self.conv, F.linear(x, to_scan))))
        out: Tensor = self.out_proj(self.norm(y) * gate)
        return out


class GatedBlock(nn.Module):
    """A gated scan with a norm before it and a residual connection.

    Args:
        channels: C.
        drop_path: Probability of dropping the scan while training.
    """

    def __init__(self, channels: int, *, drop_path: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.ss2d = GatedSS2D(channels, state=16)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, H, W, C] to [B, H, W, C]."""
        y: Tensor = x + self.drop_path(self.ss2d(self.norm(x)))
        return y


class PatchMerging(nn.Module):
    """Four neighbors become one position of twice the channels; an odd last row or column is paired with zeros."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * channels)
        self.reduction = nn.Linear(4 * channels, 2 * channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, H, W, C] to [B, H/2, W/2, 2C], sizes rounded up."""
        x = F.pad(x, (0, 0, 0, x.shape[2] % 2, 0, x.shape[1] % 2))
        squares = torch.unflatten(torch.unflatten(x, 2, (-1, 2)), 1, (-1, 2))  # [B, H/2, row, W/2, column, C]
        y: Tensor = self.reduction(self.norm(squares.permute(0, 1, 3, 4, 2, 5).flatten(3)))
        return y


class GatedStage(nn.Module):
    """Blocks of one resolution, the norm of their output, and the downsampling to the next stage.

    Args:
        channels: C.
        drop_paths: One rate per block.
        last: True for the last stage, which has no downsampling.
    """

    def __init__(self, channels: int, *, drop_paths: list[float], last: bool) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(GatedBlock(channels, drop_path=rate) for rate in drop_paths))
        self.out_norm = nn.LayerNorm(channels)
        self.downsample = nn.Identity() if last else PatchMerging(channels)


class SiameseEncoder(nn.Module):
    """One encoder for both inputs, which pass through it as one batch: only the two images are copied.

    Args:
        in_channels: Channels of each input.
        widths: C_i of each stage, each twice the one before.
        depths: Blocks of each stage.
        drop_path: Rate of the last block; the rates rise to it linearly from 0.
    """

    def __init__(self, in_channels: int, *, widths: tuple[int, ...], depths: tuple[int, ...], drop_path: float) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.patch = nn.Conv2d(in_channels, widths[0], 4, stride=4)
        self.patch_norm = nn.LayerNorm(widths[0])
        rates = rising_rates(depths, drop_path)
        self.stages = nn.ModuleList(
            GatedStage(width, drop_paths=rate, last=width == widths[-1])
            for width, rate in zip(widths, rates, strict=True)
        )
        self.apply(init_linear)

    def forward(self, image: Tensor, second: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Map two [B, in_channels, H, W] to two [B, H_i, W_i, C_i] per stage; H_0 = H // 4, then halved, rounded up."""
        pixels = torch.cat((image, second)).permute(0, 2, 3, 1).contiguous()
        x = self.patch_norm(convolve(self.patch, pixels))
        pairs = []
        for stage in self.stages:
            x = cast(GatedStage, stage).blocks(x)
            first, second = cast(GatedStage, stage).out_norm(x).chunk(2)
            pairs.append((first, second))
            x = cast(GatedStage, stage).downsample(x)
        return pairs
