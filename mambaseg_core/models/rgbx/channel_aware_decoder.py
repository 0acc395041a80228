"""The channel-aware Mamba decoder of Sigma (Wan et al., WACV 2025): gated scans, then convolutions and attention."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mambaseg_core.models.layers import DropPath, convolve, resize, rising_rates
from mambaseg_core.models.rgbx.encoder import GatedSS2D

STATE = 4  # N of the decoder's scans


def doubled(x: Tensor) -> Tensor:
    """Resize [B, H, W, C] to [B, 2H, 2W, C] bilinearly."""
    return resize(x, (2 * x.shape[1], 2 * x.shape[2]))


class ChannelWeightedConv(nn.Module):
    """Two convolutions through a third of the channels, then one weight per channel from average and maximum.

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels // 3, 3, padding=1)
        self.conv2 = nn.Conv2d(channels // 3, channels, 3, padding=1)
        self.fc1 = nn.Linear(channels, channels // 30, bias=False)
        self.fc2 = nn.Linear(channels // 30, channels, bias=False)
        for conv in (self.conv1, self.conv2):
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, H, W, C] to [B, H, W, C]."""
        x = convolve(self.conv2, F.gelu(convolve(self.conv1, x)))
        average, highest = x.mean((1, 2), keepdim=True), x.amax((1, 2), keepdim=True)
        return x * torch.sigmoid(self.fc2(F.silu(self.fc1(average))) + self.fc2(F.silu(self.fc1(highest))))


class ChannelAwareBlock(nn.Module):
    """A gated scan and a channel-weighted convolution, each added to its input scaled by channel.

    Args:
        channels: C.
        drop_path: Probability of dropping the scan while training.
    """

    def __init__(self, channels: int, *, drop_path: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels)
        self.scale1 = nn.Parameter(torch.ones(channels))
        self.ss2d = GatedSS2D(channels, state=STATE)
        self.drop_path = DropPath(drop_path)
        self.norm2 = nn.LayerNorm(channels)
        self.scale2 = nn.Parameter(torch.ones(channels))
        self.attention = ChannelWeightedConv(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, H, W, C] to [B, H, W, C]."""
        x = x * self.scale1 + self.drop_path(self.ss2d(self.norm1(x)))
        y: Tensor = x * self.scale2 + self.attention(self.norm2(x))
        return y


class Halve(nn.Module):
    """Half the channels, twice the resolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, channels // 2, bias=False)
        self.norm = nn.LayerNorm(channels // 2)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, H, W, C] to [B, 2H, 2W, C/2]."""
        y: Tensor = self.norm(doubled(self.linear(x)))
        return y


class Expand(nn.Module):
    """Half the channels, twice the resolution: each position becomes a square of four."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, 2 * channels, bias=False)
        self.norm = nn.LayerNorm(channels // 2)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, H, W, C] to [B, 2H, 2W, C/2]."""
        squares = self.linear(x).unflatten(-1, (2, 2, -1))  # [B, H, W, row, column, C/2]
        y: Tensor = self.norm(squares.permute(0, 1, 3, 2, 4, 5).flatten(3, 4).flatten(1, 2))
        return y


class Level(nn.Module):
    """Blocks of one resolution, then upsampling, which the finest level lacks.

    Args:
        channels: C.
        drop_paths: One rate per block.
        last: True for the finest level.
    """

    def __init__(self, channels: int, *, drop_paths: list[float], last: bool) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(ChannelAwareBlock(channels, drop_path=rate) for rate in drop_paths))
        self.upsample = nn.Identity() if last else Halve(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, H, W, C] to [B, 2H, 2W, C/2], on the finest level to [B, H, W, C]."""
        y: Tensor = self.upsample(self.blocks(x))
        return y


class ChannelAwareDecoder(nn.Module):
    """Upsample from the coarsest scale, add each finer one, end at four times the finest size, and classify.

    Args:
        widths: C_i of each scale, finest first, each twice the one before.
        num_classes: Number of classes.
        drop_path: Rate of the deepest block; the rates rise to it linearly from 0.
        depth: Blocks of each level.
    """

    def __init__(self, widths: Sequence[int], *, num_classes: int, drop_path: float, depth: int = 4) -> None:
        super().__init__()
        rates = rising_rates((depth,) * len(widths), drop_path)  # the coarsest scale's share is not used
        self.expand = Expand(widths[-1])
        self.levels = nn.ModuleList(
            Level(width, drop_paths=rate, last=width == widths[0])
            for width, rate in reversed(list(zip(widths[:-1], rates[:-1], strict=True)))
        )
        self.norm = nn.LayerNorm(widths[0])
        self.up1 = nn.Linear(widths[0], widths[0], bias=False)
        self.up2 = nn.Linear(widths[0], widths[0], bias=False)
        self.up_norm = nn.LayerNorm(widths[0])
        self.classify = nn.Linear(widths[0], num_classes, bias=False)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Return logits [B, 4 H_0, 4 W_0, num_classes] of features [B, H_i, W_i, C_i], finest first."""
        *scales, coarsest = features
        x = self.expand(coarsest)
        for level, scale in zip(self.levels, reversed(scales), strict=True):
            x = level(scale + resize(x, (scale.shape[1], scale.shape[2])))
        x = doubled(self.up2(doubled(self.up1(self.norm(x)))))
        logits: Tensor = self.classify(self.up_norm(x))
        return logits
