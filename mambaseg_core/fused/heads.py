"""Fused forms of MambaSeg's decoders (`models.mambaseg.sum_head`, `models.mambaseg.segformer_head`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from mambaseg_core.fused.layers import FusedDepthwise, FusedLinear, FusedNorm, UnfitError, expect, linear
from mambaseg_core.fused.packed import PackedWeights
from mambaseg_core.models.mambaseg.segformer_head import SegFormerHead
from mambaseg_core.models.mambaseg.sum_head import SumHead
from mambaseg_core.ops.fused import GELU, NONE, RELU


class FusedSumHead(nn.Module):
    """The light decoder."""

    def __init__(self, weights: PackedWeights, head: nn.Module) -> None:
        super().__init__()
        fitting = expect(head, SumHead)
        self.embed = nn.ModuleList(linear(weights, embed) for embed in fitting.embed)
        self.norm = FusedNorm(fitting.norm)
        self.conv = FusedDepthwise(weights, fitting.conv, activation=GELU, residual=True)
        self.classify = linear(weights, fitting.classify, exact=True)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Return logits [B, H_0, W_0, num_classes] of features [B, H_i, W_i, C_i], finest first."""
        *scales, mixed = (embed(x) for embed, x in zip(self.embed, features, strict=True))
        for x in reversed(scales):
            mixed = torch.ops.mambaseg.add_resized(x, None, mixed, NONE)
        logits: Tensor = self.classify(self.conv(self.norm(mixed)))
        return logits


class FusedSegFormerHead(nn.Module):
    """SegFormer's decoder with one product a scale: `embed`, its part of `fuse` and the batch norm, multiplied once."""

    def __init__(self, weights: PackedWeights, head: nn.Module) -> None:
        super().__init__()
        fitting = expect(head, SegFormerHead)
        expect(fitting.dropout, nn.Dropout2d)
        embeds = [expect(embed, nn.Linear) for embed in fitting.embed]
        fuse, norm = expect(fitting.fuse, nn.Linear), expect(fitting.norm, nn.BatchNorm2d)
        tensors = (norm.weight, norm.bias, norm.running_mean, norm.running_var, fuse.bias, *(e.bias for e in embeds))
        given = [tensor for tensor in tensors if tensor is not None]
        if len(given) < len(tensors) or len(embeds) == 1:  # the ReLU follows the last sum
            raise UnfitError
        gain, variance = given[0], given[3]
        scales, eps = len(embeds), norm.eps

        def product(scale: int) -> Callable[..., Tensor]:
            def multiply(fuse: Tensor, embed: Tensor, gain: Tensor, variance: Tensor) -> Tensor:
                part = fuse.double().chunk(scales, dim=1)[::-1][scale]
                factor = gain.double() / torch.sqrt(variance.double() + eps)
                return (factor[:, None] * (part @ embed.double())).float()

            return multiply

        def offset(fuse: Tensor, *rest: Tensor) -> Tensor:
            gain, shift, mean, variance, bias, *biases = (x.double() for x in rest)
            for part, embed in zip(fuse.double().chunk(scales, dim=1)[::-1], biases, strict=True):
                bias = bias + part @ embed
            return (gain * (bias - mean) / torch.sqrt(variance + eps) + shift).float()

        bias = weights.add(offset, fuse.weight, *given)
        self.scales = nn.ModuleList(
            FusedLinear(
                weights.add_linear(product(scale), fuse.weight, embed.weight, gain, variance),
                None if scale else bias,
                fuse.out_features,
            )
            for scale, embed in enumerate(embeds)
        )
        self.classify = linear(weights, fitting.classify, exact=True)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Return logits [B, H_0, W_0, num_classes] of features [B, H_i, W_i, C_i], finest first."""
        mixed, *coarser = (scale(x) for scale, x in zip(self.scales, features, strict=True))
        for number, x in enumerate(coarser, start=1):
            mixed = torch.ops.mambaseg.add_resized(mixed, None, x, RELU if number == len(coarser) else NONE)
        logits: Tensor = self.classify(mixed)
        return logits
