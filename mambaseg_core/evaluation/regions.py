"""Regions of a picture in which a model is judged apart: where a camera sees little, and where things change.

A region depends on the image and the label of the label's time only, so it is the same for every input and every age
of the image; `changed` alone depends on the age.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mambaseg_core.labels import IGNORE, LabelSet
from mambaseg_core.pictures import Picture, in_rgb

REGIONS: Final = {
    "all": "all pixels with a label",
    "boundary": "at most 3 px (of 240 rows) from a pixel of another class in the truth",
    "dark": "luma below 16 of 255, in the mean over 5x5 px (of 240 rows)",
    "saturated": "luma of at least 250 of 255",
    "moving": "classes that can move by themselves, such as persons and cars",
    "changed": "another class in the truth than at the image's time; for an old image that has a label",
}
"""Names of the regions, and what is in them."""

_ROWS: Final = 240  # for which the sizes are given
_BOUNDARY_PX: Final = 3
_MEAN_PX: Final = 5
_DARK: Final = 16
_SATURATED: Final = 250


def find_regions(image: Tensor, label: Tensor, labels: LabelSet) -> dict[str, Tensor]:
    """Return the regions of a sample but `changed`, bool [H, W] each.

    Args:
        image: float32 [C, H, W] in 0..1, of the label's time.
        label: int64 [H, W] class ids, 255 = ignore.
        labels: the classes.
    """
    luma = cv2.cvtColor(image_picture(image), cv2.COLOR_RGB2GRAY)
    side = 2 * round((_MEAN_PX // 2) * luma.shape[0] / _ROWS) + 1
    mean = cv2.blur(luma.astype(np.float32), (side, side))
    return {
        "all": label != IGNORE,
        "boundary": torch.from_numpy(_boundary(label.to(torch.uint8).numpy())),
        "dark": torch.from_numpy(mean < _DARK),
        "saturated": torch.from_numpy(luma >= _SATURATED),
        "moving": torch.isin(label, torch.tensor(labels.moving_ids, dtype=label.dtype)),
    }


def changed_region(before: Tensor, label: Tensor) -> Tensor:
    """Return the pixels whose class differs between two labels, bool [H, W]; ignored pixels are of no class."""
    return (before != label) & (before != IGNORE) & (label != IGNORE)


def image_picture(image: Tensor) -> Picture:
    """Return an image [C, H, W] in 0..1 as RGB uint8 [H, W, 3]."""
    return in_rgb((255 * image).round().to(torch.uint8).permute(1, 2, 0).numpy())


def _boundary(ids: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Return where the highest and the lowest class within the distance differ; ignored pixels count as neither."""
    radius = max(1, round(_BOUNDARY_PX * ids.shape[0] / _ROWS))
    steps = np.arange(-radius, radius + 1) ** 2
    disc = (steps[:, None] + steps <= radius**2).astype(np.uint8)
    ignored = ids == IGNORE
    highest = cv2.dilate(np.where(ignored, np.uint8(0), ids), disc)
    lowest = cv2.erode(ids, disc)  # 255 is above every class
    found: npt.NDArray[np.bool_] = (highest != lowest) & ~ignored
    return found
