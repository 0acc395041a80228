"""Procedural textures of the synthetic street: drawn once per scene, sampled by `render`.

Colors are RGB in 0..1. Sizes follow from `PIXELS_PER_METRE`, so a texture looks right on a quad of its own size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

Plane = npt.NDArray[np.float32]
Color = tuple[float, float, float]

PIXELS_PER_METRE = 32
LUMA: Color = (0.299, 0.587, 0.114)
GLASS: Color = (0.13, 0.17, 0.22)


@dataclass(frozen=True, eq=False)
class Texture:
    """An image at halving resolutions.

    Attributes:
        rgb: float32 [h, w, 3] each, finest first.
        gray: float32 [h, w] each: luma of `rgb`.
        alpha: float32 [h, w] each, opaque above 0.5; None if all of it is opaque.
    """

    rgb: tuple[Plane, ...]
    gray: tuple[Plane, ...]
    alpha: tuple[Plane, ...] | None


def make_texture(rgb: Plane, alpha: Plane | None = None) -> Texture:
    """Build the halving resolutions of an RGB image [h, w, 3] and its opacity [h, w]."""
    levels = halved(np.clip(rgb, 0, 1))
    gray = tuple(as_plane(level @ np.asarray(LUMA, np.float32)) for level in levels)
    return Texture(levels, gray, None if alpha is None else halved(alpha))


def halved(finest: Plane) -> tuple[Plane, ...]:
    """Return an image [h, w, ...] and its halving resolutions, down to 4 to 7 pixels."""
    levels = [as_plane(finest)]
    while min(levels[-1].shape[:2]) >= 8:
        height, width = levels[-1].shape[:2]
        levels.append(as_plane(cv2.resize(levels[-1], (width // 2, height // 2), interpolation=cv2.INTER_AREA)))
    return tuple(levels)


def noise(rng: np.random.Generator, shape: tuple[int, int], grains_px: Sequence[float]) -> Plane:
    """Draw the sum of smooth noises, one per grain size: mean 0, standard deviation 1, periodic at the borders."""
    total = np.zeros(shape, np.float32)
    for grain in grains_px:
        rows = np.fft.fftfreq(shape[0])[:, None]
        columns = np.fft.rfftfreq(shape[1])[None]
        spectrum = np.exp(-2 * (np.pi * grain * 0.5) ** 2 * (rows**2 + columns**2))
        layer = np.fft.irfft2(np.fft.rfft2(rng.standard_normal(shape)) * spectrum, shape)
        total += (layer / layer.std()).astype(np.float32)
    return as_plane((total - total.mean()) / total.std())


def wrapped(picture: Plane) -> Plane:
    """Repeat the first row and column at the end, for interpolation across the border."""
    return as_plane(np.pad(picture, ((0, 1), (0, 1)), mode="wrap"))


def lookup(picture: Plane, x: Plane, z: Plane, per_metre: float) -> Plane:
    """Sample a repeating image, made by `wrapped`, at points [H, W]."""
    height, width = picture.shape[0] - 1, picture.shape[1] - 1
    columns, rows = x * np.float32(per_metre / width), z * np.float32(per_metre / height)
    columns, rows = (columns - np.floor(columns)) * width, (rows - np.floor(rows)) * height
    return np.asarray(cv2.remap(picture, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float32)


def plain(
    rng: np.random.Generator, color: Color, *, contrast: float = 0.06, size: tuple[int, int] = (64, 64)
) -> Texture:
    """Paint one color with a little grain."""
    return make_texture(canvas(rng, size, color, contrast))


@lru_cache
def _grain(grains_px: tuple[float, ...]) -> Plane:
    """Draw one image of grain, the same in every process."""
    return noise(np.random.default_rng(0), (512, 512), grains_px)


def grain(rng: np.random.Generator, size: tuple[int, int], grains_px: tuple[float, ...] = (1.5, 8)) -> Plane:
    """Cut a piece out of an image of grain: mean 0, standard deviation 1."""
    rows, columns = (rng.integers(512) + np.arange(length) for length in size)
    return as_plane(_grain(grains_px)[np.ix_(rows % 512, columns % 512)])


def any_color(rng: np.random.Generator, value: tuple[float, float], saturation: float) -> Color:
    """Draw a color of any hue, of a range of brightness, and on average of so much saturation."""
    hue = float(rng.uniform(0, 360))
    hsv = np.asarray([[[hue, min(1.0, float(rng.exponential(saturation))), float(rng.uniform(*value))]]], np.float32)
    red, green, blue = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, 0].tolist()
    return red, green, blue


def varied(rng: np.random.Generator, color: Color, spread: float = 0.15) -> Color:
    """Return a color with another brightness and slightly another hue."""
    level = float(np.exp(rng.normal(0, 1.5 * spread)))
    red, green, blue = np.clip(level * np.asarray(color) * (1 + rng.normal(0, 0.4 * spread, 3)), 0.02, 0.98).tolist()
    return red, green, blue


def canvas(rng: np.random.Generator, size: tuple[int, int], color: tuple[float, ...], contrast: float) -> Plane:
    """Paint one color with a grain of a relative contrast, float32 [h, w, 3]."""
    return as_plane((1 + np.float32(contrast) * grain(rng, size))[..., None] * np.asarray(color, np.float32))


def box(picture: Plane, left: float, top: float, width: float, height: float, color: tuple[float, ...]) -> None:
    """Fill a rectangle, in pixels, cut to the image."""
    rows = slice(max(0, round(top)), max(0, round(top + height)))
    picture[rows, max(0, round(left)) : max(0, round(left + width))] = color


def px(metres: float) -> int:
    """Return the pixels of a length."""
    return round(metres * PIXELS_PER_METRE)


def as_plane(values: npt.ArrayLike) -> Plane:
    """Return the values as contiguous float32."""
    return np.ascontiguousarray(values, dtype=np.float32)
