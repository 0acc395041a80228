"""Random colors of the classes of a label, as an augmentation of training samples.

A network that is trained on drawn or few scenes learns the colors of its classes: a white sky becomes a building. Here
each class of a picture gets colors of its own, so that texture, shape and place are left to tell it. Labels and second
inputs stay; events keep the contrasts of the unchanged picture.
"""

from __future__ import annotations

import colorsys
from dataclasses import dataclass, replace
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt
import torch

from mambaseg_core.data.sample import Sample
from mambaseg_core.labels import IGNORE

Pixels = npt.NDArray[np.float32]
"""[H, W, C] in 0..1."""

_REACH: Final = 4  # pixels beyond a region to which its colors are continued
_RECOLORED, _BORROWED = 0.5, 0.15  # shares of the changed classes that get a new color, or that of another class
_CHROMA, _LIGHT, _CONTRAST, _SHADE = 0.25, 0.6, 0.7, 0.3  # largest logarithms of the factors
_WHITE: Final = 0.35  # share of the new colors that are white, such as a clouded sky


@dataclass(frozen=True)
class _Paint:
    """A change of color: `new + scale (old - mean)`, times a shade.

    Attributes:
        mean: mean color of the region, float32 [C].
        new: mean color of the region after the change, float32 [C].
        scale: factor of the differences from the mean, which are the texture.
        shade: factors over the picture, of low frequency, float32 [3, 3].
    """

    mean: Pixels
    new: Pixels
    scale: float
    shade: Pixels


def class_colors(sample: Sample, generator: torch.Generator, *, probability: float) -> Sample:
    """Give each class of the label, with a probability, random colors and shading, independently of the other classes.

    Colors are drawn within the brightness of the picture, so that a night stays one. The colors at borders are made
    anew from both sides, so that no edge keeps the old ones. Pixels without a class stay. The classes of an image that
    is older than the label are those of its own time; without these it stays, as the colors would show where the
    classes are now.
    """
    if probability == 0:
        return sample
    # How many numbers are drawn depends on the label, so they are of their own: later changes do not.
    generator = torch.Generator().manual_seed(int(torch.randint(2**62, (), generator=generator)))
    of_image = sample.image_label if sample.age_ns else sample.label
    if of_image is None:
        return sample
    label = of_image.numpy()
    present = np.flatnonzero(np.bincount(label.ravel(), minlength=IGNORE + 1)[:IGNORE])
    changed = [int(k) for k in present if float(torch.rand((), generator=generator)) < probability]
    if not changed:
        return sample
    image = np.ascontiguousarray(sample.image.permute(1, 2, 0).numpy())
    masks = {int(k): (label == k).view(np.uint8) for k in present}
    means = {k: np.array(cv2.mean(image, mask)[: image.shape[2]], np.float32) for k, mask in masks.items()}
    mean, deviation = cv2.meanStdDev(image)
    level = float(np.clip((mean + 2 * deviation).mean(), 0.1, 1))
    paints = [_draw_paint(k, means, level, generator) for k in changed]
    rest = 1 - np.sum([masks[k] for k in changed], axis=0, dtype=np.uint8)
    sigma = 0.4 + 0.4 * float(torch.rand((), generator=generator))
    result = np.zeros_like(image)
    for mask, paint in zip([*(masks[k] for k in changed), rest], [*paints, None], strict=True):
        _add(result, image, mask, paint, sigma)
    return replace(sample, image=torch.from_numpy(np.clip(result, 0, 1)).permute(2, 0, 1).contiguous())


def _draw_paint(chosen: int, means: dict[int, Pixels], level: float, generator: torch.Generator) -> _Paint:
    """Draw the change of a class: gains of its own color, a new color, or the color of another class."""
    kind, white, hue, colorful, value, light, contrast, other, *rest = torch.rand(20, generator=generator).tolist()
    mean = means[chosen]
    gains = np.exp(_CHROMA * (2 * np.array(rest[: len(mean)], np.float32) - 1))
    others = [color for k, color in means.items() if k != chosen]
    if kind < _RECOLORED:
        chroma, value = (0.1, 0.85 + 0.2 * value) if white < _WHITE else (0.6, 0.05 + 0.8 * value)
        new = np.array(colorsys.hsv_to_rgb(hue, chroma * colorful**2, level * value)[: len(mean)], np.float32)
    elif kind < _RECOLORED + _BORROWED and others:
        new = others[int(other * len(others))] * gains
    else:
        new = mean * gains * np.exp(_LIGHT * (2 * light - 1))
    brighter = float(np.clip((new.mean() + 0.05) / (mean.mean() + 0.05), 0.5, 2))
    scale = min(2.0, brighter * float(np.exp(_CONTRAST * (2 * contrast - 1))))
    shade = np.exp(_SHADE * (2 * torch.rand((3, 3), generator=generator).numpy() - 1))
    return _Paint(mean, new.astype(np.float32), scale, shade)


def _add(result: Pixels, image: Pixels, mask: npt.NDArray[np.uint8], paint: _Paint | None, sigma: float) -> None:
    """Add a region in its new colors, with soft edges; the softened masks of all regions add up to 1."""
    x, y, width, height = cv2.boundingRect(mask)
    if not width:
        return
    rows = slice(max(0, y - _REACH), y + height + _REACH)
    columns = slice(max(0, x - _REACH), x + width + _REACH)
    mask, part = mask[rows, columns], image[rows, columns]
    weight: Any = cv2.GaussianBlur(mask.astype(np.float32), (5, 5), sigma)
    colors: Any = _continued(part, mask)
    if paint is not None:
        offset = paint.new - np.float32(paint.scale) * paint.mean
        matrix = np.c_[np.eye(len(offset), dtype=np.float32) * np.float32(paint.scale), offset]
        colors = cv2.transform(colors, matrix).reshape(part.shape)
        weight *= cv2.resize(paint.shade, image.shape[1::-1], interpolation=cv2.INTER_LINEAR)[rows, columns]
    weights = cv2.merge([weight] * part.shape[2])
    result[rows, columns] += cv2.multiply(colors, weights).reshape(part.shape)


def _continued(part: Pixels, mask: npt.NDArray[np.uint8]) -> Pixels:
    """Continue the colors of a region's inside over its border: pixels there have a share of the neighbor's color."""
    inside = cv2.erode(mask, np.ones((3, 3), np.uint8), borderValue=1)
    if 2 * cv2.countNonZero(inside) < cv2.countNonZero(mask):  # thin, such as a pole: it is all border
        inside = mask
    colors = part.copy()
    known = cv2.GaussianBlur(cv2.copyTo(colors, inside), (7, 7), 1.5).reshape(part.shape)
    weight = cv2.GaussianBlur(inside.astype(np.float32), (7, 7), 1.5)
    near = np.nonzero((inside == 0) & (weight > 0.01))
    colors[near] = known[near] / weight[near][:, None]
    return colors
