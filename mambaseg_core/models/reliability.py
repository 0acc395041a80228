"""How far each of two inputs can be trusted at each position: weights for a network.

Source: the abstract of "RSGMamba: Reliability-Aware Self-Gated State Space Model for Multimodal Semantic Segmentation"
(2026) models reliability explicitly and lets it regulate what the modalities exchange. How is not public; this design
is ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mambaseg_core.models.layers import convolve, resize, to_channels_first, to_channels_last

Pair: TypeAlias = tuple[Tensor, Tensor]  # (image, second input)
FLAT = 1e-5  # for inputs in 0..1: below a step of 16 bits, above what a resize adds to a constant
TRUST = 2.0  # before the sigmoid: training starts with both inputs trusted to 0.88


def presence(x: Tensor) -> Tensor:
    """Return which samples of an input vary: a missing, covered or dead sensor has one value in all of a channel.

    Args:
        x: [B, C, H, W].

    Returns:
        [B, 1, 1, 1], 1 where any channel varies over the image, else 0.
    """
    varies = (x.amax((2, 3)) - x.amin((2, 3)) > FLAT).any(1)
    return varies.to(x.dtype).reshape(-1, 1, 1, 1)


def average(weights: Sequence[Pair], size: tuple[int, int]) -> Pair:
    """Return the weights of all stages as one map per input.

    Args:
        weights: For each stage two [B, H_i, W_i, 1], between 0 and 1.
        size: (height, width) of the maps.

    Returns:
        Two [B, *size], between 0 and 1: the mean over the stages, each resized.
    """
    image, second = zip(*weights, strict=True)
    return _average(image, size), _average(second, size)


def _average(maps: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
    """Return the mean over the stages, each [B, H_i, W_i, 1], as [B, *size]."""
    return torch.cat([resize(x, size) for x in maps], dim=-1).mean(-1)


class Judge(nn.Module):
    """Reliability of one input from its features, their difference to the surroundings, and the other's agreement.

    Args:
        channels: C.
        width: Channels that the evidence is reduced to.
    """

    def __init__(self, channels: int, *, width: int) -> None:
        super().__init__()
        self.embed = nn.Linear(channels, width, bias=False)  # without bias, an absent input stays zero
        self.conv = nn.Conv2d(3 * width, width, 3, padding=1)
        self.decide = nn.Linear(width, 1)

    def forward(self, own: Tensor, other: Tensor) -> Tensor:
        """Map both inputs' evidence (`embed` of their features), [B, H, W, width] each, to [B, H, W, 1] in 0..1."""
        around = F.avg_pool2d(to_channels_first(own), 3, stride=1, padding=1, count_include_pad=False)
        evidence = torch.cat((own, (own - to_channels_last(around)).abs(), own * other), dim=-1)
        return torch.sigmoid(TRUST + self.decide(F.gelu(convolve(self.conv, evidence))))


class Reliability(nn.Module):
    """A weight between 0 and 1 for each input at each position; exactly 0 for an input that is absent.

    Args:
        channels: C.
        width: Channels that the evidence is reduced to.
    """

    def __init__(self, channels: int, *, width: int = 16) -> None:
        super().__init__()
        self.image = Judge(channels, width=width)
        self.second = Judge(channels, width=width)

    def forward(self, image: Tensor, second: Tensor, present: Pair) -> Pair:
        """Map two [B, H, W, C] and the `presence` of both inputs to two weights [B, H, W, 1]."""
        image = self.image.embed(image) * present[0]
        second = self.second.embed(second) * present[1]
        return self.image(image, second) * present[0], self.second(second, image) * present[1]
