"""Fused operators on channels-last maps [B, H, W, C] without a matrix product: schemas and plain forms.

The kernels (`csrc/cpu/map_*`) take float32 on the CPU. Weights are those of the layers, as they are, but for
`depthwise3x3`. B batch, H and W the map's size, C channels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mambaseg_core import extension  # noqa: F401  loads the kernels
from mambaseg_core.ops.fused import activate, register


def depthwise3x3(x: Tensor, weight: Tensor, bias: Tensor | None, activation: int) -> Tensor:
    """Convolve each channel with its own 3x3 weights (stride 1, padding 1), add a bias and activate.

    Args:
        x: [B, H, W, C].
        weight: [9, C], of a depthwise convolution: `conv.weight.flatten(1).mT`.
        bias: [C] or None.
        activation: See `fused.ACTIVATIONS`.

    Returns:
        [B, H, W, C].
    """
    kernels = weight.mT.reshape(-1, 1, 3, 3)
    y = F.conv2d(_first(x), kernels, bias, padding=1, groups=x.shape[3])
    return activate(_last(y), activation).contiguous()


def norm_activation(x: Tensor, weight: Tensor, bias: Tensor, eps: float, activation: int) -> Tensor:
    """Normalize over the channels (LayerNorm) and activate.

    Args:
        x: [..., C].
        weight: [C].
        bias: [C].
        eps: Added to the variance.
        activation: See `fused.ACTIVATIONS`.

    Returns:
        [..., C].
    """
    return activate(F.layer_norm(x, weight.shape, weight, bias, eps), activation).contiguous()


def channel_attention(a: Tensor, b: Tensor | None, fc1: Tensor, fc2: Tensor, activation: int) -> Tensor:
    """Return a weight for each channel, in 0..1, from its mean and its maximum over the map.

    Args:
        a: [B, H, W, C].
        b: A second map of the same shape, whose channels follow those of `a`, or None.
        fc1: [R, C], with `b` [R, 2C]: weights of the first layer.
        fc2: [C, R], with `b` [2C, R]: weights of the second layer.
        activation: Between both layers; see `fused.ACTIVATIONS`.

    Returns:
        [B, 1, 1, C], with `b` [B, 1, 1, 2C].
    """
    x = a if b is None else torch.cat((a, b), dim=-1)
    average, highest = x.mean((1, 2), keepdim=True), x.amax((1, 2), keepdim=True)
    logits = (F.linear(activate(F.linear(v, fc1), activation), fc2) for v in (average, highest))
    return torch.sigmoid(next(logits) + next(logits))


def region_means(x: Tensor, scale: Tensor | None, rows: int, columns: int) -> Tensor:
    """Return the means over a grid of regions, as adaptive average pooling has them, of a map scaled by channel.

    Args:
        x: [B, H, W, C].
        scale: [B, 1, 1, C] or None.
        rows: Rows of the grid.
        columns: Columns of the grid.

    Returns:
        [B, rows, columns, C].
    """
    means = _last(F.adaptive_avg_pool2d(_first(x), (rows, columns)))
    return (means if scale is None else means * scale).contiguous()


def add_resized(x: Tensor, scale: Tensor | None, small: Tensor, activation: int) -> Tensor:
    """Return activation(x * scale + small), with `small` resized bilinearly (corners not aligned) to the size of x.

    Args:
        x: [B, H, W, C].
        scale: [B, 1, 1, C] or None, which leaves x as it is.
        small: [B, h, w, C], of any size.
        activation: See `fused.ACTIVATIONS`.

    Returns:
        [B, H, W, C].
    """
    scaled = x if scale is None else x * scale
    return activate(scaled + _resized(small, x.shape[1], x.shape[2]), activation).contiguous()


def three_weights(a: Tensor, b: Tensor, conv1: Tensor, bias1: Tensor, conv2: Tensor, bias2: Tensor) -> Tensor:
    """Weigh two maps and their mean by pixel, and concatenate the three.

    The weights are sigmoid(conv2(relu(conv1(six)))). Six: mean and maximum over the channels of a, b and their mean.

    Args:
        a: [B, H, W, C].
        b: [B, H, W, C].
        conv1: [16, 6, 3, 3], padding 1.
        bias1: [16].
        conv2: [3, 16, 1, 1].
        bias2: [3].

    Returns:
        [B, H, W, 3C].
    """
    both = 0.5 * (a + b)
    six = torch.cat([_mean_and_max(x) for x in (a, b, both)], dim=1)
    weights = torch.sigmoid(_last(F.conv2d(F.relu(F.conv2d(six, conv1, bias1, padding=1)), conv2, bias2)))
    return torch.cat([x * weights[..., i : i + 1] for i, x in enumerate((a, b, both))], dim=-1)


def spatial_attention(x: Tensor, y: Tensor | None, weight: Tensor) -> Tensor:
    """Add two maps and weigh each pixel of the sum by sigmoid(7x7 convolution of its mean and maximum over channels).

    Args:
        x: [B, H, W, C]; channels of a wider map need no copy.
        y: [B, H, W, C] or None, which adds nothing.
        weight: [1, 2, 7, 7], of the convolution with padding 3: for the mean, for the maximum.

    Returns:
        [B, H, W, C].
    """
    total = x if y is None else x + y
    return (total * torch.sigmoid(_last(F.conv2d(_mean_and_max(total), weight, padding=3)))).contiguous()


def logits_to_mask(logits: Tensor, height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """Resize logits bilinearly and return the most probable class of each pixel.

    Args:
        logits: [B, h, w, K], K at most 256.
        height: H.
        width: W.

    Returns:
        (class ids uint8 [B, H, W], their softmax probability float32 [B, H, W], float32 [1]: 1 if all resized
        logits are finite, else 0).
    """
    resized = _first(_resized(logits, height, width)).float()
    finite = torch.stack(torch.aminmax(resized)).isfinite().all().float().reshape(1)
    confidence, ids = resized.softmax(1).max(1)
    return ids.to(torch.uint8).contiguous(), confidence.contiguous(), finite


def interleave_steps(a: Tensor, b: Tensor, steps: int) -> Tensor:
    """Interleave two maps whose channels are `steps` consecutive groups: a sequence a0, b0, a1, b1, ... per position.

    Args:
        a: [..., C], C a multiple of `steps`.
        b: [..., C].
        steps: Groups of channels.

    Returns:
        [N, C / steps, 2 * steps], N the number of positions.
    """
    pair = torch.stack((a, b), dim=-1).reshape(-1, steps, a.shape[-1] // steps, 2)
    return pair.permute(0, 2, 1, 3).flatten(2).contiguous()


def merge_steps(y: Tensor) -> Tensor:
    """Add both directions of a scan over `interleave_steps` and take the two maps apart again.

    Args:
        y: [N, 2, C / steps, 2 * steps], direction 1 in the order in which it ran, from the end.

    Returns:
        [2, N, C].
    """
    total = torch.unflatten(y[:, 0] + y[:, 1].flip(-1), -1, (-1, 2))  # [N, C / steps, steps, 2]
    return total.permute(3, 0, 2, 1).flatten(2).contiguous()


def _first(x: Tensor) -> Tensor:
    """View [B, H, W, C] as [B, C, H, W]."""
    return x.permute(0, 3, 1, 2)


def _last(x: Tensor) -> Tensor:
    """View [B, C, H, W] as [B, H, W, C]."""
    return x.permute(0, 2, 3, 1)


def _mean_and_max(x: Tensor) -> Tensor:
    """Return mean and maximum over the channels: [B, H, W, C] to [B, 2, H, W]."""
    return torch.stack((x.mean(-1), x.amax(-1)), dim=1)


def _resized(x: Tensor, height: int, width: int) -> Tensor:
    """Resize [B, h, w, C] to [B, height, width, C]."""
    if tuple(x.shape[1:3]) == (height, width):
        return x
    return _last(F.interpolate(_first(x), size=(height, width), mode="bilinear", align_corners=False))


register("depthwise3x3", "(Tensor x, Tensor weight, Tensor? bias, int activation) -> Tensor", depthwise3x3)
register(
    "norm_activation", "(Tensor x, Tensor weight, Tensor bias, float eps, int activation) -> Tensor", norm_activation
)
register(
    "channel_attention",
    "(Tensor a, Tensor? b, Tensor fc1, Tensor fc2, int activation) -> Tensor",
    channel_attention,
)
register("region_means", "(Tensor x, Tensor? scale, int rows, int columns) -> Tensor", region_means)
register("add_resized", "(Tensor x, Tensor? scale, Tensor small, int activation) -> Tensor", add_resized)
register(
    "three_weights",
    "(Tensor a, Tensor b, Tensor conv1, Tensor bias1, Tensor conv2, Tensor bias2) -> Tensor",
    three_weights,
)
register("spatial_attention", "(Tensor x, Tensor? y, Tensor weight) -> Tensor", spatial_attention)
register("interleave_steps", "(Tensor a, Tensor b, int steps) -> Tensor", interleave_steps)
register("merge_steps", "(Tensor y) -> Tensor", merge_steps)
register("logits_to_mask", "(Tensor logits, int height, int width) -> (Tensor, Tensor, Tensor)", logits_to_mask)
