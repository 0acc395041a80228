"""Errors of a calibration, as an augmentation of training samples."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch

from mambaseg_core.data.sample import Sample


def misalign(sample: Sample, generator: torch.Generator, *, pixels: float, move_second: bool) -> Sample:
    """Move one input against the other: shift, turn and scale it a little.

    The mask has the view of the events, into which the calibration warps the image: so the image moves, and the label
    stays with the events. A second image is registered to the image, whose view its mask has: so the second moves.

    Args:
        sample: one of any size.
        generator: draws the motion.
        pixels: largest shift in each direction, pixels of the sample; turning and scaling each move the corners by half
            of that at most.
        move_second: whether the second input moves instead of the image.
    """
    if pixels == 0:
        return sample
    x, y, angle, scale = (2 * torch.rand(4, generator=generator) - 1).tolist()
    height, width = sample.label.shape
    part = 0.5 * pixels / (0.5 * np.hypot(height, width))
    matrix: Any = cv2.getRotationMatrix2D(
        ((width - 1) / 2, (height - 1) / 2), np.rad2deg(part * angle), 1 + part * scale
    )
    matrix[:, 2] += pixels * x, pixels * y
    if move_second:
        return replace(sample, second=_warped(sample.second, matrix))
    return replace(sample, image=_warped(sample.image, matrix))


def _warped(tensor: torch.Tensor, matrix: npt.NDArray[np.float64]) -> torch.Tensor:
    """Warp [C, H, W]; the outermost pixels are repeated where there are none."""
    planes = tensor.numpy()
    size = planes.shape[2], planes.shape[1]
    warped = [cv2.warpAffine(plane, matrix, size, borderMode=cv2.BORDER_REPLICATE) for plane in planes]
    return torch.from_numpy(np.stack(warped).astype(np.float32, copy=False))
