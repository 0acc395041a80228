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
        num_classes: Number of classes.
        dropout: Probability with which a whole channel is zeroed while training.
    """

    def __init__(self, widths: Sequence[int], *, channels: int, num_classes: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.embed = nn.ModuleList(nn.Linear(width, channels) for width in widths)
        self.fuse = nn.Linear(len(widths) * channels, channels)
        self.norm = nn.BatchNorm2d(channels)
        self.dropout = nn.Dropout2d(dropout)
        self.classify = nn.Linear(channels, num_classes)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Return logits [B, H_0, W_0, num_classes] of features [B, H_i, W_i, C_i], finest first.

        The same function as `as_written`, in a cheaper order. A linear layer and a bilinear resize commute, so each
        scale goes through its part of `fuse` at its own size. The results are added after the resize.
        """
        size = (features[0].shape[1], features[0].shape[2])
        slices = self.fuse.weight.chunk(len(features), dim=1)[::-1]  # one per scale, [channels, channels]
        mixed = resize(two_linears(features[0], self.embed[0], slices[0], self.fuse.bias), size)
        for x, embed, weight in zip(features[1:], self.embed[1:], slices[1:], strict=True):
            mixed += resize(two_linears(x, embed, weight, None), size)
        return self._classify(mixed)

    def as_written(self, features: Sequence[Tensor]) -> Tensor:
        """Return the same logits in SegFormer's order: the reference of `forward`, and what `profile_model` counts."""
        size = (features[0].shape[1], features[0].shape[2])
        scales = [resize(embed(x), size) for embed, x in zip(self.embed, features, strict=True)]
        return self._classify(self.fuse(torch.cat(scales[::-1], dim=-1)))

    def _classify(self, mixed: Tensor) -> Tensor:
        """Map [B, H, W, channels] to [B, H, W, num_classes]."""
        mixed = self.dropout(F.relu(self.norm(to_channels_first(mixed)), inplace=True))
        logits: Tensor = self.classify(to_channels_last(mixed))
        return logits


def two_linears(x: Tensor, first: nn.Module, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Apply two linear layers in a row; multiply their weights first where that costs less.

    Args:
        x: [B, H, W, C].
        first: Linear layer from C to M.
        weight: [M', M], the second layer's.
        bias: [M'] or None, the second layer's.

    Returns:
        [B, H, W, M'].
    """
    assert isinstance(first, nn.Linear)
    if x[..., 0].numel() > x.shape[-1]:  # more positions than channels
        return F.linear(x, weight @ first.weight, F.linear(first.bias, weight, bias))
    return F.linear(first(x), weight, bias)
