"""The decoder: SegFormer's all-MLP head (Xie et al., "SegFormer", NeurIPS 2021)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mambaseg_core.models.layers import resize, to_channels_first, to_channels_last


class SegFormerHead(nn.Module):
    """Bring all scales to one width and to the finest size, mix them, and classify each position.

    Args:
        widths: C of each scale, finest first.
        channels: Width of the head.
        num_classes: Classes.
        dropout: Probability with which a whole channel is zeroed while training.
    """

    def __init__(
        self, widths: Sequence[int], *, channels: int, num_classes: int, dropout: float = 0.1
    ) -> None:
        super().__init__()
        self.embed = nn.ModuleList(nn.Linear(width, channels) for width in widths)
        self.fuse = nn.Linear(len(widths) * channels, channels)
        self.norm = nn.BatchNorm2d(channels)
        self.dropout = nn.Dropout2d(dropout)
        self.classify = nn.Linear(channels, num_classes)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Finest first, [B, H_i, W_i, C_i] each -> [B, H_0, W_0, num_classes]."""
        height, width = features[0].shape[1:3]
        scales = [resize(embed(x), (height, width)) for embed, x in zip(self.embed, features, strict=True)]
        mixed = to_channels_first(self.fuse(torch.cat(scales[::-1], dim=-1)))
        mixed = self.dropout(F.relu(self.norm(mixed)))
        logits: Tensor = self.classify(to_channels_last(mixed))
        return logits
