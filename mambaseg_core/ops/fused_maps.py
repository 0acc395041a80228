"""Fused operators on channels-last maps [B, H, W, C] without a matrix product: schemas and plain forms."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from mambaseg_core import extension  # noqa: F401  loads the kernels
from mambaseg_core.ops.fused import activate, register


def depthwise3x3(x: Tensor, weight: Tensor, bias: Tensor | None, activation: int) -> Tensor:
    """Convolve each channel with its own 3x3 weights (stride 1, padding 1), add a bias and activate.

    Args:
        x: [B, H, W, C].
        weight: [9, C], rows of the window first: `conv.weight.flatten(1).mT` of a depthwise convolution.
        bias: [C] or None.
        activation: See `fused.ACTIVATIONS`.

    Returns:
        [B, H, W, C].
    """
    kernels = weight.mT.reshape(-1, 1, 3, 3)
    y = F.conv2d(x.permute(0, 3, 1, 2), kernels, bias, padding=1, groups=x.shape[3])
    return activate(y.permute(0, 2, 3, 1), activation).contiguous()


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


register("depthwise3x3", "(Tensor x, Tensor weight, Tensor? bias, int activation) -> Tensor", depthwise3x3)
register(
    "norm_activation", "(Tensor x, Tensor weight, Tensor bias, float eps, int activation) -> Tensor", norm_activation
)
