"""Small parts shared by all networks. Features are channels-last: [B, H, W, C]."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def to_channels_first(x: Tensor) -> Tensor:
    """View [B, H, W, C] as [B, C, H, W] (torch's `channels_last` memory, nothing is copied)."""
    return x.permute(0, 3, 1, 2)


def to_channels_last(x: Tensor) -> Tensor:
    """View [B, C, H, W] as [B, H, W, C]."""
    return x.permute(0, 2, 3, 1)


def convolve(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """Apply a convolution to channels-last features.

    Args:
        conv: Any two-dimensional convolution.
        x: [B, H, W, C].

    Returns:
        [B, H', W', C'].
    """
    return to_channels_last(conv(to_channels_first(x)))


def resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize [B, H, W, C] to [B, *size, C] bilinearly, corners not aligned."""
    if tuple(x.shape[1:3]) == size:
        return x
    resized = F.interpolate(to_channels_first(x), size=size, mode="bilinear", align_corners=False)
    return to_channels_last(resized)


class DropPath(nn.Module):
    """Stochastic depth: drops a residual branch at random, sample by sample, while training.

    Source: Huang et al., "Deep Networks with Stochastic Depth", ECCV 2016.

    Args:
        rate: Probability in [0, 1) that a sample loses the branch.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, ...] to [B, ...], scaled so that the expectation stays the same."""
        if not self.training or self.rate == 0.0:
            return x
        kept = 1.0 - self.rate
        mask = x.new_empty((x.shape[0],) + (1,) * (x.ndim - 1)).bernoulli_(kept)
        return x * (mask / kept)

    def extra_repr(self) -> str:
        """Return the text for `print(model)`."""
        return f"rate={self.rate:.3f}"


class Mlp(nn.Module):
    """Two linear layers with the exact (erf) GELU between.

    Args:
        channels: C, of input and output.
        hidden: Width between the two layers.
    """

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, hidden)
        self.fc2 = nn.Linear(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., C] to [..., C]."""
        y: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return y


def init_linear(module: nn.Module) -> None:
    """Draw a linear layer's weights from a normal distribution (deviation 0.02, cut at +-2); for `Module.apply`."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def init_linear_by_width(module: nn.Module) -> None:
    """Draw a linear layer's weights with deviation 1/sqrt(inputs), which keeps the scale; for `Module.apply`."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=module.in_features**-0.5)


def rising_rates(depths: tuple[int, ...], highest: float) -> list[list[float]]:
    """Return drop-path rates that rise linearly from 0 to `highest` over all blocks, split by stage."""
    rates = torch.linspace(0.0, highest, sum(depths), device="cpu").tolist()
    starts = [sum(depths[:i]) for i in range(len(depths))]
    return [rates[start : start + depth] for start, depth in zip(starts, depths, strict=True)]
