"""Procedural textures of the synthetic street: drawn once per scene, sampled by `render`.

Colors are RGB in 0..1. Sizes follow from `PIXELS_PER_METRE`, so a texture looks right on a quad of its own size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

Plane = npt.NDArray[np.float32]
Color = tuple[float, float, float]

PIXELS_PER_METRE = 40
LUMA: Color = (0.299, 0.587, 0.114)

GLASS: Color = (0.13, 0.17, 0.22)


@dataclass(frozen=True, eq=False)
class Texture:
    """An image at halving resolutions.

    Attributes:
        rgb: float32 [h, w, 3] each, finest first.
        gray: float32 [h, w] each: luma of `rgb`.
        alpha: float32 [h, w], opaque above 0.5; None if all of it is opaque.
    """

    rgb: tuple[Plane, ...]
    gray: tuple[Plane, ...]
    alpha: Plane | None


def make_texture(rgb: Plane, alpha: Plane | None = None) -> Texture:
    """Build the halving resolutions of an RGB image [h, w, 3]."""
    levels = [np.clip(rgb, 0, 1).astype(np.float32)]
    while min(levels[-1].shape[:2]) >= 8:
        height, width = levels[-1].shape[:2]
        levels.append(as_plane(cv2.resize(levels[-1], (width // 2, height // 2), interpolation=cv2.INTER_AREA)))
    return Texture(tuple(levels), tuple(as_plane(level @ np.asarray(LUMA, np.float32)) for level in levels), alpha)


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


def plain(
    rng: np.random.Generator, color: Color, *, contrast: float = 0.06, size: tuple[int, int] = (64, 64)
) -> Texture:
    """Paint one color with a little grain."""
    return make_texture(canvas(rng, size, color, contrast))


def facade(rng: np.random.Generator, color: Color, *, width_m: float, height_m: float) -> Texture:
    """Paint a house front: a shop or a base on the ground floor, windows above, a cornice on top."""
    picture = canvas(rng, (_px(height_m), _px(width_m)), color, 0.05)
    floors = max(2, round(height_m / 3.2))
    floor_px = picture.shape[0] / floors
    columns = max(2, round(width_m / rng.uniform(2.2, 3.0)))
    column_px = picture.shape[1] / columns
    trim = tuple(min(1.0, channel * 1.25 + 0.05) for channel in color)
    window_width, window_height = rng.uniform(0.4, 0.55) * column_px, rng.uniform(0.5, 0.62) * floor_px
    for floor in range(floors - 1):
        top = floor * floor_px + 0.25 * floor_px
        box(picture, 0, floor * floor_px + floor_px * 0.97, picture.shape[1], floor_px * 0.04, trim)
        for column in range(columns):
            left = (column + 0.5) * column_px - window_width / 2
            _window(rng, picture, (left, top, window_width, window_height), trim)
    _ground_floor(rng, picture, columns, floor_px)
    box(picture, 0, 0, picture.shape[1], floor_px * 0.12, trim)
    box(picture, 0, floor_px * 0.12, picture.shape[1], floor_px * 0.03, tuple(0.5 * c for c in color))
    return make_texture(picture)


def _window(
    rng: np.random.Generator, picture: Plane, pane: tuple[float, float, float, float], trim: tuple[float, ...]
) -> None:
    left, top, width, height = pane
    box(picture, left - 4, top - 4, width + 8, height + 8, trim)
    shine = rng.uniform(0.7, 2.2)
    box(picture, left, top, width, height, tuple(shine * c for c in GLASS))
    if rng.random() < 0.4:  # a curtain
        box(picture, left, top, width, height * rng.uniform(0.2, 0.7), (0.62, 0.59, 0.54))
    box(picture, left + width / 2 - 1.5, top, 3, height, trim)
    box(picture, left - 6, top + height + 3, width + 12, 5, tuple(0.55 * c for c in trim))


def _ground_floor(rng: np.random.Generator, picture: Plane, columns: int, floor_px: float) -> None:
    top = picture.shape[0] - floor_px
    column_px = picture.shape[1] / columns
    sign = [(0.55, 0.12, 0.10), (0.10, 0.30, 0.22), (0.12, 0.18, 0.40), (0.60, 0.45, 0.12)][rng.integers(4)]
    box(picture, 0, top + 0.12 * floor_px, picture.shape[1], 0.18 * floor_px, sign)
    door = int(rng.integers(columns))
    for column in range(columns):
        left = column * column_px + 0.12 * column_px
        if column == door:
            box(picture, left, top + 0.36 * floor_px, 0.5 * column_px, 0.64 * floor_px, (0.22, 0.14, 0.09))
        else:
            box(picture, left, top + 0.36 * floor_px, 0.76 * column_px, 0.48 * floor_px, (0.20, 0.23, 0.26))
    box(picture, 0, picture.shape[0] - 0.08 * floor_px, picture.shape[1], 0.08 * floor_px, (0.28, 0.27, 0.26))


def bricks(rng: np.random.Generator, *, width_m: float, height_m: float) -> Texture:
    """Paint a wall of large stones."""
    picture = canvas(rng, (_px(height_m), _px(width_m)), (0.50, 0.40, 0.34), 0.06)
    for row in range(0, picture.shape[0], 12):
        box(picture, 0, row, picture.shape[1], 2, (0.34, 0.29, 0.26))
        for column in range(-(row // 12 % 2) * 12, picture.shape[1], 24):
            box(picture, column, row, 2, 12, (0.34, 0.29, 0.26))
    box(picture, 0, 0, picture.shape[1], 6, (0.60, 0.57, 0.54))
    return make_texture(picture)


def concrete(rng: np.random.Generator, *, width_m: float, height_m: float) -> Texture:
    """Paint cast panels with joints and stains."""
    picture = canvas(rng, (_px(height_m), _px(width_m)), (0.56, 0.55, 0.53), 0.09)
    for column in range(0, picture.shape[1], 80):
        box(picture, column, 0, 3, picture.shape[0], (0.30, 0.29, 0.28))
    box(picture, 0, 0.72 * picture.shape[0], picture.shape[1], 6, (0.36, 0.35, 0.34))
    return make_texture(picture)


def slats(rng: np.random.Generator, *, width_m: float, height_m: float) -> Texture:
    """Paint a wooden fence of upright boards with a hand-wide gap between them."""
    picture = canvas(rng, (_px(height_m), _px(width_m)), (0.52, 0.38, 0.25), 0.08)
    for column in range(0, picture.shape[1], 10):
        box(picture, column, 0, 3, picture.shape[0], (0.17, 0.13, 0.10))
    for row in (0.15, 0.8):
        box(picture, 0, row * picture.shape[0], picture.shape[1], 5, (0.42, 0.30, 0.20))
    return make_texture(picture)


def leaves(rng: np.random.Generator, *, width_m: float, height_m: float) -> Texture:
    """Paint a clipped hedge."""
    size = (_px(height_m), _px(width_m))
    light = 0.5 + 0.22 * noise(rng, size, (2, 6, 14))
    return make_texture(as_plane(light[..., None] * np.asarray((0.42, 0.62, 0.26), np.float32) * 1.1))


def tree(rng: np.random.Generator, *, width_m: float, height_m: float) -> Texture:
    """Paint a round tree on a trunk; the outline is in `alpha`."""
    height, width = _px(height_m) // 2, _px(width_m) // 2
    alpha = np.zeros((height, width), np.float32)
    light = 0.46 + 0.17 * noise(rng, (height, width), (2, 5, 12))
    light += np.linspace(0.14, -0.14, height, dtype=np.float32)[:, None]
    picture = as_plane(light[..., None] * np.asarray((0.45, 0.66, 0.28), np.float32) * 1.15)
    cv2.rectangle(picture, (int(0.47 * width), int(0.6 * height)), (int(0.53 * width), height), (0.24, 0.18, 0.13), -1)
    cv2.rectangle(alpha, (int(0.47 * width), int(0.6 * height)), (int(0.53 * width), height), 1.0, -1)
    for _ in range(26):
        angle, distance = rng.uniform(0, 2 * np.pi), np.sqrt(rng.uniform(0, 1))
        centre = (
            (0.5 + 0.30 * distance * np.cos(angle)) * width,
            (0.36 + 0.22 * distance * np.sin(angle)) * height,
        )
        radius = rng.uniform(0.09, 0.17) * width
        cv2.circle(alpha, (int(centre[0]), int(centre[1])), int(radius), 1.0, -1)
        shade = np.roll(picture, int(rng.integers(1, height)), axis=0)
        disc = cv2.circle(np.zeros_like(alpha), (int(centre[0]), int(centre[1])), int(0.8 * radius), 1.0, -1) > 0
        below = np.arange(height)[:, None] > 0.62 * height
        picture = np.where((disc & ~below)[..., None], 0.5 * picture + 0.5 * shade, picture)
    return make_texture(picture, alpha)


def traffic_sign(kind: int) -> Texture:
    """Paint a round sign: no entry (0), a speed limit (1) or a blue arrow (2)."""
    rim, inner = (
        ((0.75, 0.06, 0.08),) * 2,
        ((0.78, 0.06, 0.08), (0.95, 0.95, 0.95)),
        ((0.08, 0.25, 0.65),) * 2,
    )[kind]
    picture = np.full((64, 64, 3), rim, np.float32)
    alpha = np.zeros((64, 64), np.float32)
    cv2.circle(alpha, (32, 32), 31, 1.0, -1)
    cv2.circle(picture, (32, 32), 22, inner, -1)
    if kind == 0:
        cv2.rectangle(picture, (13, 27), (51, 37), (0.97, 0.97, 0.97), -1)
    elif kind == 1:
        cv2.putText(picture, "30", (16, 42), cv2.FONT_HERSHEY_SIMPLEX, 0.9, (0.08, 0.08, 0.08), 4)
    else:
        cv2.arrowedLine(picture, (32, 52), (32, 12), (0.97, 0.97, 0.97), 5, tipLength=0.4)
    return make_texture(picture, alpha)


def canvas(rng: np.random.Generator, size: tuple[int, int], color: tuple[float, ...], contrast: float) -> Plane:
    """Paint one color with a grain of a relative contrast, float32 [h, w, 3]."""
    grain = 1 + contrast * noise(rng, size, (1.5, 8))
    return as_plane(grain[..., None] * np.asarray(color, np.float32))


def box(picture: Plane, left: float, top: float, width: float, height: float, color: tuple[float, ...]) -> None:
    """Fill a rectangle, in pixels, cut to the image."""
    rows = slice(max(0, round(top)), max(0, round(top + height)))
    picture[rows, max(0, round(left)) : max(0, round(left + width))] = color


def _px(metres: float) -> int:
    return round(metres * PIXELS_PER_METRE)


def as_plane(values: npt.ArrayLike) -> Plane:
    """Return the values as contiguous float32."""
    return np.ascontiguousarray(values, dtype=np.float32)
