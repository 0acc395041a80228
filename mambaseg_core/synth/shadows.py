"""Shadows that houses and trees cast on the synthetic ground, as a map in the road's coordinates."""

from __future__ import annotations

import math
from typing import Final

import cv2
import numpy as np

from mambaseg_core.synth.pinhole import Matrix
from mambaseg_core.synth.sky import Weather
from mambaseg_core.synth.textures import Plane, as_plane

_PER_M: Final = 4.0
_HALF_M: Final = 26.0  # reach of the map across the road
_WINDOW_M: Final = 190.0  # and along it, in one look-up
_BACK_M: Final = 30.0
_LONGEST_M: Final = 60.0  # of a house's shadow


class ShadowMap:
    """The share of shadow at each place along and across the road.

    Args:
        weather: says where the sun is, and how dark its shadows are.
        length_m: length of the road.
    """

    def __init__(self, weather: Weather, length_m: float) -> None:
        azimuth, elevation = weather.sun
        self._depth = np.float32(0.62 * weather.contrast)
        reach = 1 / math.tan(max(elevation, 0.05))  # of the shadow of one meter
        self._cast = np.asarray((-reach * math.sin(azimuth), -reach * math.cos(azimuth)))
        self._map = np.zeros((round((length_m + 2 * _BACK_M) * _PER_M), round(2 * _HALF_M * _PER_M)), np.float32)

    def box(self, along: tuple[float, float], across: tuple[float, float], height: float) -> None:
        """Add the shadow of a house."""
        foot = np.asarray([(x, z) for x in across for z in along])
        cast = height * self._cast
        cast *= min(1.0, _LONGEST_M / max(float(np.hypot(*cast)), 1e-6))
        self._fill(np.concatenate([foot, foot + cast]))

    def crown(self, along: float, across: float, height: float, radius: float) -> None:
        """Add the shadow of a tree's crown."""
        turn = np.linspace(0, 2 * np.pi, 12, endpoint=False)
        disc = np.stack([np.cos(turn), np.sin(turn)], axis=1) * radius
        self._fill(disc + np.asarray((across, along)) + height * self._cast)

    def light(self, across: Plane, z: Plane) -> Plane:
        """Return the share of light that is left at points [H, W]."""
        if self._depth == 0:
            return np.ones_like(across)
        first = max(0, int((float(z.min()) + _BACK_M) * _PER_M) - 1)
        rows = self._map[first : first + round(_WINDOW_M * _PER_M)]
        if not len(rows):
            return np.ones_like(across)
        columns = (across + np.float32(_HALF_M)) * np.float32(_PER_M)
        places = (z + np.float32(_BACK_M)) * np.float32(_PER_M) - np.float32(first)
        dark = cv2.remap(rows, columns, places, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
        return as_plane(1 - self._depth * dark)

    def _fill(self, points: Matrix) -> None:
        pixels = ((points + np.asarray((_HALF_M, _BACK_M))) * _PER_M).astype(np.float32)
        cv2.fillConvexPoly(self._map, cv2.convexHull(pixels).astype(np.int32), 1.0)
