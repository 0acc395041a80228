"""The authors' Sigma on our inputs: RGB in 0..1, where theirs are normalized with ImageNet's mean and deviation.

Both inputs pass through one convolution without padding (`SiameseEncoder.patch`), so its weights can absorb the mean
and the deviation exactly. The authors normalize both inputs alike, and read images with
`cv2.imread(path, cv2.COLOR_BGR2RGB)`. That flag is `IMREAD_ANYCOLOR`, so their first channel is blue and is normalized
with the mean and the deviation of red (`dataloader/RGBXDataset.py`, `utils/transforms.py` of zifuwan/Sigma).
"""

from __future__ import annotations

import copy
from typing import cast

import torch
from torch import Tensor, nn

from mambaseg_core.models.rgbx.sigma import Sigma

MEAN = (0.485, 0.456, 0.406)  # ImageNet's, for the channels in the authors' order
DEVIATION = (0.229, 0.224, 0.225)


def take_unit_inputs(model: nn.Module) -> None:
    """Convert a Sigma with the authors' weights to RGB in 0..1, in place; leave any other network unchanged."""
    if not isinstance(model, Sigma) or not model.authors_inputs:
        return
    patch = model.encoder.patch
    with torch.no_grad():
        mean, deviation = (_column(numbers, patch.weight) for numbers in (MEAN, DEVIATION))
        weight = patch.weight.double() / deviation
        cast(Tensor, patch.bias).sub_((weight * mean).sum((1, 2, 3)))
        patch.weight.copy_(weight.flip(1))
    model.authors_inputs = False


def with_unit_inputs(model: nn.Module) -> nn.Module:
    """Return the model itself if it takes inputs in 0..1, else a copy that does (`take_unit_inputs`)."""
    if not getattr(model, "authors_inputs", False):
        return model
    model = copy.deepcopy(model)
    take_unit_inputs(model)
    return model


def _column(numbers: tuple[float, ...], like: Tensor) -> Tensor:
    """Return [3, 1, 1], one number per channel."""
    return torch.tensor(numbers, dtype=torch.float64, device=like.device).reshape(-1, 1, 1)
