"""Fused forms of the fusion as the paper states it (`models.mambaseg.paper_fusion`), and of `DDIM`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from mambaseg_core import ops
from mambaseg_core.fused.encoder import FusedSS2D
from mambaseg_core.fused.layers import Convert, FusedNorm, FusedScan, FusedSum, UnfitError, convolution, expect, linear
from mambaseg_core.fused.packed import PackedWeights
from mambaseg_core.models.mambaseg.paper_fusion import JointCSIM, SharedCTIM, ThreeWeights
from mambaseg_core.models.mambaseg.released_fusion import DDIM, ChannelAttention, SpatialAttention
from mambaseg_core.ops.fused import NONE, RELU, SILU

Pair = tuple[Tensor, Tensor]


class FusedSpatialAttention(nn.Module):
    """A map, or the sum of two, weighed by pixel."""

    def __init__(self, attention: nn.Module) -> None:
        super().__init__()
        conv = expect(expect(attention, SpatialAttention).conv, nn.Conv2d)
        window = (conv.kernel_size, conv.padding, conv.stride, conv.dilation, conv.padding_mode, conv.bias)
        if window != ((7, 7), (3, 3), (1, 1), (1, 1), "zeros", None):
            raise UnfitError
        self.weight = conv.weight

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Map [B, H, W, C] to [B, H, W, C]."""
        fused: Tensor = torch.ops.mambaseg.spatial_attention(x, y, self.weight)
        return fused


class FusedChannelAttention(nn.Module):
    """One weight per channel of a map, or of two side by side."""

    def __init__(self, attention: nn.Module, *, activation: int = RELU) -> None:
        super().__init__()
        layers: tuple[Any, Any] = attention.fc1, attention.fc2
        first, second = (expect(layer, nn.Linear) for layer in layers)
        if any(layer._parameters["bias"] is not None for layer in (first, second)):
            raise UnfitError
        self.weight1, self.weight2, self.activation = first.weight, second.weight, activation

    def forward(self, a: Tensor, b: Tensor | None = None) -> Tensor:
        """Map [B, H, W, C] to [B, 1, 1, C], two of them to [B, 1, 1, 2C]."""
        fused: Tensor = torch.ops.mambaseg.channel_attention(a, b, self.weight1, self.weight2, self.activation)
        return fused


class FusedJointCSIM(nn.Module):
    """The spatial path, without maps of weights."""

    def __init__(self, weights: PackedWeights, csim: nn.Module) -> None:
        super().__init__()
        fitting = expect(csim, JointCSIM)
        three = expect(fitting.weights, ThreeWeights)
        conv1, conv2 = convolution(three.conv1, groups=1), expect(three.conv2, nn.Conv2d)
        if (conv1.weight.shape, conv2.weight.shape) != ((16, 6, 3, 3), (3, 16, 1, 1)) or conv1.stride != (1, 1):
            raise UnfitError
        if conv1._parameters["bias"] is None or conv2._parameters["bias"] is None:
            raise UnfitError
        self.weight1, self.bias1, self.weight2, self.bias2 = conv1.weight, conv1.bias, conv2.weight, conv2.bias
        self.join = linear(weights, fitting.join)
        self.scan = FusedSS2D(weights, fitting.scan)
        self.attend_image = FusedSpatialAttention(fitting.attend_image)
        self.attend_events = FusedSpatialAttention(fitting.attend_events)

    def forward(self, image: Tensor, events: Tensor) -> Pair:
        """Map two [B, H, W, C] to two [B, H, W, C]."""
        weighed = torch.ops.mambaseg.three_weights(
            image, events, self.weight1, self.bias1, self.weight2, self.bias2
        )  # [B, H, W, 3C]: image, events, both
        joint = self.join(weighed)
        joint = self.scan(joint, joint)
        channels = image.shape[-1]
        of_image, of_events = weighed[..., :channels], weighed[..., channels : 2 * channels]
        return self.attend_image(of_image, joint), self.attend_events(of_events, joint)


class FusedSharedCTIM(nn.Module):
    """The temporal path: both streams are never scaled by channel, only what is made of them."""

    def __init__(self, weights: PackedWeights, ctim: nn.Module) -> None:
        super().__init__()
        fitting = expect(ctim, SharedCTIM)
        self.steps, self.regions = fitting.steps, fitting.regions
        self.attention = FusedChannelAttention(expect(fitting.attention, ChannelAttention))
        self.in_image = linear(weights, fitting.in_image, activation=SILU)
        self.in_events = linear(weights, fitting.in_events, activation=SILU)
        self.scan = FusedScan(weights, fitting.scan, ops.bidirectional_scan)
        self.out_image = linear(weights, fitting.out_image, norm=fitting.norm)
        self.out_events = linear(weights, fitting.out_events, norm=fitting.norm)

    def forward(self, image: Tensor, events: Tensor) -> Pair:
        """Map two [B, H, W, C] to two [B, H, W, C]."""
        image_scale, events_scale = self.attention(image, events).chunk(2, dim=-1)
        means, add = torch.ops.mambaseg.region_means, torch.ops.mambaseg.add_resized
        image_means, events_means = means(image, image_scale, *self.regions), means(events, events_scale, *self.regions)
        image_steps, events_steps = self._scan_steps(image_means, events_means)
        return add(image, image_scale, image_steps, NONE), add(events, events_scale, events_steps, NONE)

    def _scan_steps(self, image: Tensor, events: Tensor) -> Pair:
        """Map two [B, *regions, C] to two [B, *regions, C]."""
        x = torch.ops.mambaseg.interleave_steps(self.in_image(image), self.in_events(events), self.steps)
        new_image, new_events = torch.ops.mambaseg.merge_steps(self.scan(x)).reshape(2, *image.shape)
        return self.out_image(new_image), self.out_events(new_events)


class FusedDDIM(nn.Module):
    """Both paths, merged without a concatenation.

    Args:
        weights: Where weights are packed.
        ddim: The plain module.
        ctim: The inference form of its temporal path.
        csim: The inference form of its spatial path.
    """

    def __init__(self, weights: PackedWeights, ddim: nn.Module, *, ctim: nn.Module, csim: nn.Module) -> None:
        super().__init__()
        fitting = expect(ddim, DDIM)
        self.norm_image, self.norm_events = FusedNorm(fitting.norm_image), FusedNorm(fitting.norm_events)
        self.ctim, self.csim = ctim, csim
        self.merge_image = FusedSum(weights, fitting.merge_image, 2)
        self.merge_events = FusedSum(weights, fitting.merge_events, 2)

    def forward(self, image: Tensor, events: Tensor, weights: Pair | None = None) -> Pair:
        """Map two [B, H, W, C] to two [B, H, W, C]; `weights`, two [B, H, W, 1], scale the streams first."""
        pair = self.norm_image(image), self.norm_events(events)
        if weights is not None:
            pair = pair[0] * weights[0], pair[1] * weights[1]
            image, events = image * weights[0], events * weights[1]
        temporal_image, temporal_events = self.ctim(*pair)
        spatial_image, spatial_events = self.csim(*pair)
        return (
            self.merge_image(temporal_image, spatial_image, residual=image),
            self.merge_events(temporal_events, spatial_events, residual=events),
        )


def fused_ddim(weights: PackedWeights, ddim: nn.Module, convert: Convert) -> FusedDDIM:
    """Return the inference form of a DDIM with any paths."""
    fitting = expect(ddim, DDIM)
    return FusedDDIM(weights, fitting, ctim=convert(fitting.ctim), csim=convert(fitting.csim))
