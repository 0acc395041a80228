"""A light decoder: all scales are brought to one width and added from coarse to fine."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from mambaseg_core.models.layers import convolve, resize


class SumHead(nn.Module):
    """Add the scales from coarse to fine, apply one depthwise 3x3 convolution, and classify.

    Args:
        widths: C of each scale, finest first.
        channels: Width of the head.
        num_classes: Number of classes.
    """

    def __init__(self, widths: Sequence[int], *, channels: int, num_classes: int) -> None:
        super().__init__()
        self.embed = nn.ModuleList(nn.Linear(width, channels) for width in widths)
        self.norm = nn.LayerNorm(channels)
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.classify = nn.Linear(channels, num_classes)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Return logits [B, H_0, W_0, num_classes] of features [B, H_i, W_i, C_i], finest first."""
        scales = [embed(x) for embed, x in zip(self.embed, features, strict=True)]
        mixed = scales.pop()
        for x in reversed(scales):
            mixed = x + resize(mixed, (x.shape[1], x.shape[2]))
        mixed = self.norm(mixed)
        logits: Tensor = self.classify(F.gelu(mixed + convolve(self.conv, mixed)))
        return logits
