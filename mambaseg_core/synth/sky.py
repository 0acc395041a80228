"""Weather of the synthetic street: sky, clouds, haze and sun; and the far skyline of trees, hills or houses."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from mambaseg_core.synth.quads import BUILDING, VEGETATION
from mambaseg_core.synth.textures import LUMA, Color, Plane, as_plane, lookup, noise, wrapped

BACKDROP_M: Final = 160.0
"""Depth of the skyline: just beyond all that is drawn."""

_CLOUD_PER_UNIT: Final = 60.0
_AZIMUTHS: Final = 2048


@dataclass(frozen=True)
class Weather:
    """Weather of a drive; colors are radiances relative to a white wall by day.

    Attributes:
        zenith: color of the sky overhead.
        horizon: color of the sky above the horizon, and of the haze.
        cloud: color of the clouds.
        cover: share of cloud, on average.
        billow: how much that share varies.
        haze_m: distance at which 1/e of the light from a thing is left.
        sun: azimuth (to the right of z) and elevation of the sun, radians.
        contrast: share of the light that comes from the sun directly; 0 under a closed cover.
        warm: color that is added to the sky around the sun.
    """

    zenith: Color = (0.38, 0.56, 0.82)
    horizon: Color = (0.80, 0.83, 0.87)
    cloud: Color = (0.80, 0.83, 0.87)
    cover: float = 0.3
    billow: float = 0.4
    haze_m: float = 170.0
    sun: tuple[float, float] = (0.6, 0.9)
    contrast: float = 0.0
    warm: Color = (0.0, 0.0, 0.0)

    def shade(self, normal: tuple[float, float, float]) -> float:
        """Return the light on a face with this unit normal in world axes, 1 on average."""
        azimuth, elevation = self.sun
        flat = np.cos(elevation)
        toward = np.sin(azimuth) * flat, -np.sin(elevation), np.cos(azimuth) * flat
        direct = max(0.0, float(np.dot(normal, toward)))
        return float((1 - 0.55 * self.contrast) + 0.9 * self.contrast * direct)


CLEAR: Final = Weather()


def draw_weather(rng: np.random.Generator, *, overcast: bool = False) -> Weather:
    """Draw the weather: white and gray covers, clouds, clear skies, low suns; only covers if `overcast`."""
    kind = str(rng.choice(["white", "gray", "cloudy", "clear", "low"], p=[0.30, 0.12, 0.22, 0.24, 0.12]))
    if overcast and kind != "white":
        kind = "gray"
    sun = float(rng.uniform(-np.pi, np.pi)), float(rng.uniform(0.35, 1.1))
    haze_m = float(np.exp(rng.uniform(np.log(150), np.log(1500))))
    blue = np.asarray((rng.uniform(0.15, 0.45), rng.uniform(0.38, 0.62), rng.uniform(0.7, 1.0)))
    pale = np.clip(rng.uniform(0.75, 1.05) + rng.normal(0, 0.03, 3), 0, 1.2)
    if kind in ("white", "gray"):
        level = rng.uniform(0.95, 1.5) if kind == "white" else rng.uniform(0.55, 0.9)
        tint = level * (1 + rng.normal(0, 0.02, 3))
        overhead = tint * rng.uniform(0.85, 1.05)
        return Weather(
            _rgb(overhead),
            _rgb(tint),
            _rgb(tint * rng.uniform(0.8, 1.05)),
            0.5,
            float(rng.uniform(0, 0.5)),
            haze_m,
            sun,
        )
    if kind == "low":
        warm = np.asarray((0.55, rng.uniform(0.22, 0.4), rng.uniform(0.0, 0.2))) * rng.uniform(0.5, 1.2)
        low = sun[0], float(rng.uniform(0.08, 0.3))
        cloud = pale * (0.75, 0.65, 0.68)
        cover, billow = float(rng.uniform(-0.3, 0.5)), float(rng.uniform(0.2, 0.6))
        contrast = float(rng.uniform(0.2, 0.8))
        return Weather(
            _rgb(0.7 * blue), _rgb(0.8 * pale), _rgb(cloud), cover, billow, haze_m, low, contrast, _rgb(warm)
        )
    cover = float(rng.uniform(0.25, 0.8)) if kind == "cloudy" else float(rng.uniform(-0.6, 0.0))
    contrast = float(rng.uniform(0.0, 0.8)) if kind == "cloudy" else float(rng.uniform(0.6, 1.0))
    cloud = np.clip(pale * rng.uniform(0.8, 1.3), 0, 1.4)
    return Weather(_rgb(blue), _rgb(pale), _rgb(cloud), cover, float(rng.uniform(0.3, 0.7)), haze_m, sun, contrast)


class Sky:
    """The sky and the skyline below it.

    Args:
        rng: draws clouds and skyline.
        weather: the weather.
        town: chance that the skyline is of houses.
    """

    def __init__(self, rng: np.random.Generator, weather: Weather = CLEAR, town: float = 0.0) -> None:
        self.weather = weather
        self._clouds = wrapped(noise(rng, (512, 512), (18, 50)))
        self._label = BUILDING if rng.random() < town else VEGETATION
        self._heights, color = _skyline(rng, self._label)
        self._color = np.asarray(color, np.float32)

    def in_clear_weather(self) -> Sky:
        """Return the same clouds and skyline in clear weather."""
        other = copy(self)
        other.weather = CLEAR
        return other

    def draw(self, color: Plane, directions: Plane) -> None:
        """Paint the sky into color [H, W, C] for rays [3, H, W]."""
        weather, gray = self.weather, color.shape[-1] == 1
        up = np.maximum(-directions[1], np.float32(1e-3))
        horizon, zenith, cloud = (tone(rgb, gray=gray) for rgb in (weather.horizon, weather.zenith, weather.cloud))
        color[...] = horizon + np.minimum(up * np.float32(1.6), 1)[..., None] * (zenith - horizon)
        if weather.warm[0]:
            azimuth, elevation = weather.sun
            flat = np.cos(elevation)
            sun = np.sin(azimuth) * flat, -np.sin(elevation), np.cos(azimuth) * flat
            along = sum(np.float32(part) * axis for part, axis in zip(sun, directions, strict=True))
            near = np.maximum(along / np.sqrt((directions * directions).sum(axis=0)), 0)
            color += (near * near * (1 - np.minimum(up * 1.5, 1)))[..., None] * tone(weather.warm, gray=gray)
        clouds = lookup(self._clouds, directions[0] / up, directions[2] / up, _CLOUD_PER_UNIT)
        clouds = np.clip(np.float32(weather.cover) + np.float32(weather.billow) * clouds, 0, 1)
        color += (clouds * np.minimum(up * 4, 1))[..., None] * (cloud - color)

    def backdrop(self, into: tuple[Plane, npt.NDArray[np.uint8], Plane], directions: Plane) -> None:
        """Paint the skyline into color, labels and depth, where depth is infinite."""
        color, labels, depth = into
        low = np.flatnonzero((directions[1] > -1.5 * self._heights.max()).any(axis=1))
        if not len(low):
            return
        rows = slice(int(low[0]), int(low[-1]) + 1)
        color, labels, depth, directions = color[rows], labels[rows], depth[rows], directions[:, rows]
        places = np.nonzero(np.isinf(depth))
        x, y, z = (axis[places] for axis in directions)
        turn = (np.arctan2(x, z) * np.float32(_AZIMUTHS / (2 * np.pi))).astype(np.int32) % _AZIMUTHS
        heights = self._heights[turn]
        below = np.flatnonzero(-y < heights * np.hypot(x, z))
        places = places[0][below], places[1][below]
        shade = np.minimum(np.float32(0.8) + 6 * heights[below], 1.2)
        color[places] = shade[:, None] * tone(self._color, gray=color.shape[-1] == 1)
        labels[places] = self._label
        depth[places] = BACKDROP_M


def tone(rgb: Color | Plane, *, gray: bool) -> Plane:
    """Return a color [3], or its luma [1] for a gray image."""
    values = np.asarray(rgb, np.float32)
    return as_plane([values @ np.asarray(LUMA, np.float32)]) if gray else values


def _skyline(rng: np.random.Generator, label: int) -> tuple[Plane, Color]:
    """Return the tangent of the elevation at each azimuth, and a color."""
    rough = noise(rng, (1, _AZIMUTHS), (4.0,))[0]
    smooth = noise(rng, (1, _AZIMUTHS), (120.0,))[0]
    tall = float(rng.uniform(0.0, 0.05))
    if label == BUILDING:
        widths = rng.integers(8, 40, _AZIMUTHS)
        starts = np.repeat(np.arange(len(widths)), widths)[:_AZIMUTHS]
        heights = tall * rng.uniform(0.2, 1.2, len(widths))[starts]
        level = rng.uniform(0.25, 0.6)
        return as_plane(heights), _rgb(level * (1 + rng.normal(0, 0.06, 3)))
    heights = np.maximum(tall * (0.7 + 0.25 * smooth) + rng.uniform(0, 0.006) * rough, 0)
    return as_plane(heights), _rgb(np.asarray((0.24, 0.33, 0.17)) * rng.uniform(0.5, 1.3) * (1 + rng.normal(0, 0.1, 3)))


def _rgb(values: npt.ArrayLike) -> Color:
    red, green, blue = np.asarray(values, np.float64).tolist()
    return red, green, blue
