"""The encoder: VMamba in its `s1l8` form (Liu et al., "VMamba: Visual State Space Model", 2024)."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor, nn

from mambaseg_core import ops
from mambaseg_core.models.layers import DropPath, Mlp, convolve, rising_rates
from mambaseg_core.models.scans import DirectionalScan


class SS2D(nn.Module):
    """Mix a feature map by selective scans in four directions, without a gate.

    Args:
        channels: C, of input and output.
        inner: Width of the scan.
        state: N, the scan's state size.
        conv_bias: Whether the depthwise convolution has a bias.
    """

    def __init__(self, channels: int, *, inner: int, state: int, conv_bias: bool) -> None:
        super().__init__()
        self.in_proj = nn.Linear(channels, inner, bias=False)
        self.conv = nn.Conv2d(inner, inner, 3, padding=1, groups=inner, bias=conv_bias)
        self.scan = DirectionalScan(
            ops.ss2d, directions=4, channels=inner, state=state, dt_rank=math.ceil(channels / 16)
        )
        self.norm = nn.LayerNorm(inner)
        self.out_proj = nn.Linear(inner, channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, H, W, C] to [B, H, W, C]."""
        x = F.silu(convolve(self.conv, self.in_proj(x)))
        y: Tensor = self.out_proj(self.norm(self.scan(x)))
        return y


class VSSBlock(nn.Module):
    """A visual state space block: scan and MLP, each with a norm before it and a residual connection.

    Args:
        channels: C.
        drop_path: Probability of dropping a branch while training.
        mlp_ratio: Hidden width of the MLP, as a multiple of C.
    """

    def __init__(self, channels: int, *, drop_path: float, mlp_ratio: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels)
        self.ss2d = SS2D(channels, inner=channels, state=1, conv_bias=False)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = Mlp(channels, hidden=mlp_ratio * channels)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, H, W, C] to [B, H, W, C]."""
        x = x + self.drop_path(self.ss2d(self.norm1(x)))
        y: Tensor = x + self.drop_path(self.mlp(self.norm2(x)))
        return y


class Stem(nn.Module):
    """Two convolutions of stride 2, from pixels to a quarter of the resolution.

    Args:
        in_channels: Channels of the image, or bins of the second input.
        channels: C of the first stage.
    """

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels // 2, 3, stride=2, padding=1)
        self.norm1 = nn.LayerNorm(channels // 2)
        self.conv2 = nn.Conv2d(channels // 2, channels, 3, stride=2, padding=1)
        self.norm2 = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, in_channels, H, W] to channels-last [B, H/4, W/4, C], sizes rounded up."""
        x = x.permute(0, 2, 3, 1).contiguous()
        x = F.gelu(self.norm1(convolve(self.conv1, x)))
        y: Tensor = self.norm2(convolve(self.conv2, x))
        return y


class Downsample(nn.Module):
    """A convolution of stride 2 between two stages, then a norm."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, stride=2, padding=1)
        self.norm = nn.LayerNorm(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, H, W, C] to [B, H/2, W/2, C'], sizes rounded up."""
        y: Tensor = self.norm(convolve(self.conv, x))
        return y


class Stage(nn.Module):
    """Blocks of one resolution, the norm of their output, and the downsampling to the next stage.

    The caller runs them: `x = stage(x)`, `out_norm(x)` for the fusion, `downsample(...)` to the next stage.

    Args:
        channels: C.
        drop_paths: One rate per block.
        next_channels: C of the next stage; None for the last.
        mlp_ratio: Hidden width of the MLPs, as a multiple of C.
    """

    def __init__(self, channels: int, *, drop_paths: list[float], next_channels: int | None, mlp_ratio: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(VSSBlock(channels, drop_path=rate, mlp_ratio=mlp_ratio) for rate in drop_paths))
        self.out_norm = nn.LayerNorm(channels)
        self.downsample = nn.Identity() if next_channels is None else Downsample(channels, next_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Run the blocks: [B, H, W, C] to [B, H, W, C]."""
        y: Tensor = self.blocks(x)
        return y


class VMambaEncoder(nn.Module):
    """Stem and stages for one input. The fusion sits between the stages, so `MambaSeg` runs them.

    Args:
        in_channels: Channels of the image, or bins of the second input.
        widths: C of each stage.
        depths: Blocks of each stage.
        drop_path: Rate of the last block; the rates rise to it linearly from 0.
        mlp_ratio: Hidden width of the MLPs, as a multiple of C.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        widths: tuple[int, ...],
        depths: tuple[int, ...],
        drop_path: float,
        mlp_ratio: int = 4,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.stem = Stem(in_channels, widths[0])
        rates = rising_rates(depths, drop_path)
        below = (*widths[1:], None)
        self.stages = nn.ModuleList(
            Stage(width, drop_paths=rate, next_channels=following, mlp_ratio=mlp_ratio)
            for width, rate, following in zip(widths, rates, below, strict=True)
        )
