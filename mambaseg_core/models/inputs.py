"""Checks and completion of a network's two inputs."""

from __future__ import annotations

from typing import Protocol, cast

import torch
from torch import Tensor


class TwoInputs(Protocol):
    """Attributes of a network that its inputs are checked against, as in `MambaSeg`."""

    name: str
    image_size: tuple[int, int]
    any_size: bool
    in_channels: int
    bins: int


def complete(model: TwoInputs, image: Tensor | None, second: Tensor | None, *, least: int = 1) -> tuple[Tensor, Tensor]:
    """Return both inputs, checked; a missing one becomes zeros, as modality dropout trains with.

    Args:
        model: The network that the inputs are for.
        image: [B, in_channels, H, W] or None.
        second: [B, bins, H, W] or None.
        least: Fewest rows and columns that the network accepts.

    Raises:
        ValueError: Both are missing, or an input has another shape than the model expects.
    """
    for what, x, channels in (("image", image, model.in_channels), ("second", second, model.bins)):
        if x is not None:
            _check_shape(model, what, x, channels, least)
    if image is None and second is None:
        raise ValueError(f"image and second are both None; {model.name} expects at least one of them: pass one")
    if image is None:
        image = torch.zeros_like(cast(Tensor, second)[:, :1]).repeat(1, model.in_channels, 1, 1)
    if second is None:
        second = torch.zeros_like(image[:, :1]).repeat(1, model.bins, 1, 1)
    if image.shape[2:] != second.shape[2:]:
        raise ValueError(
            f"image has shape {list(image.shape)} and second {list(second.shape)}; "
            "expected one height and width for both: crop and resize them alike"
        )
    if image.shape[0] != second.shape[0]:
        raise ValueError(
            f"image has batch size {image.shape[0]} and second {second.shape[0]}; "
            "expected one batch size for both: pass as many of each"
        )
    return image, second


def _check_shape(model: TwoInputs, what: str, x: Tensor, channels: int, least: int) -> None:
    """Raise ValueError unless an input has the shape that the model was built for."""
    fits = x.dim() == 4 and x.shape[1] == channels and min(x.shape[2:]) >= least
    if fits and (model.any_size or tuple(x.shape[2:]) == model.image_size):
        return
    height, width = ("H", "W") if model.any_size else model.image_size
    floor = f" with H and W of at least {least}" if least > 1 else ""
    raise ValueError(
        f"{what} has shape {list(x.shape)}; this {model.name} expects "
        f"[B, {channels}, {height}, {width}]{floor}: crop or resize the input, "
        f"or build the model for it: create_model({model.name!r}, image_size=..., in_channels=...)"
    )
