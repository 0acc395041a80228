"""Fused form of the weights of both inputs (`models.reliability`)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mambaseg_core.fused.layers import FusedConv3x3, FusedLinear, UnfitError, expect, linear
from mambaseg_core.fused.packed import PackedWeights, as_it_is
from mambaseg_core.models.reliability import TRUST, Judge, Pair, Reliability
from mambaseg_core.ops.fused import GELU, SIGMOID


class FusedJudge(nn.Module):
    """Reliability of one input."""

    def __init__(self, weights: PackedWeights, judge: nn.Module) -> None:
        super().__init__()
        fitting = expect(judge, Judge)
        decide = expect(fitting.decide, nn.Linear)
        if decide.bias is None:
            raise UnfitError
        self.embed = linear(weights, fitting.embed)
        self.conv = FusedConv3x3(weights, fitting.conv, activation=GELU)
        packed = weights.add_linear(as_it_is, decide.weight)
        bias = weights.add(lambda x: x + TRUST, decide.bias)
        self.decide = FusedLinear(packed, bias, decide.out_features, activation=SIGMOID)

    def forward(self, own: Tensor, other: Tensor) -> Tensor:
        """Map both inputs' evidence, [B, H, W, width] each, to [B, H, W, 1] in 0..1."""
        around = F.avg_pool2d(own.permute(0, 3, 1, 2), 3, stride=1, padding=1, count_include_pad=False)
        evidence = torch.cat((own, (own - around.permute(0, 2, 3, 1)).abs(), own * other), dim=-1)
        y: Tensor = self.decide(self.conv(evidence))
        return y


class FusedReliability(nn.Module):
    """A weight between 0 and 1 for each input at each position."""

    def __init__(self, weights: PackedWeights, reliability: nn.Module) -> None:
        super().__init__()
        fitting = expect(reliability, Reliability)
        self.image, self.second = FusedJudge(weights, fitting.image), FusedJudge(weights, fitting.second)

    def forward(self, image: Tensor, second: Tensor, present: Pair) -> Pair:
        """Map two [B, H, W, C] and the `presence` of both inputs to two weights [B, H, W, 1]."""
        image = self.image.embed(image) * present[0]
        second = self.second.embed(second) * present[1]
        return self.image(image, second) * present[0], self.second(second, image) * present[1]
