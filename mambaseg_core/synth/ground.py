"""The ground of the synthetic street: road with markings, curbs, tiled sidewalks; and the clouds above it.

Markings and joints are drawn in closed form and fade out where a pixel covers more than their width. So no far detail
flickers, which an event camera would see.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from mambaseg_core.synth.textures import LUMA, Color, Plane, as_plane, noise

ROAD, SIDEWALK = 5, 6
LANE_M: Final = 3.2
ROAD_HALF_M: Final = 5.3  # a lane and a row of parked cars on each side
SIDEWALK_HALF_M: Final = 8.3

_ASPHALT, _PAINT, _TILES, _KERB = 0.30, 0.86, 0.56, 0.68
_ROAD_TINT: Color = (0.98, 1.0, 1.03)
_TILES_TINT: Color = (1.05, 0.99, 0.90)
_GRAIN_PX: Final = 512
_GRAIN_PER_M: Final = 40.0
_CLOUD_PER_UNIT: Final = 60.0
CROSSINGS_M: Final = 70.0  # from one zebra crossing to the next
CROSSING_AT_M: Final = 30.0  # position of the first


class Ground:
    """The plane y = 0 and the sky's clouds.

    Args:
        rng: draws the grain.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self._grain = _wrapped(noise(rng, (_GRAIN_PX, _GRAIN_PX), (2.0, 3.5)))
        self._stains = _wrapped(noise(rng, (_GRAIN_PX, _GRAIN_PX), (24, 60)))
        self._clouds = _wrapped(noise(rng, (_GRAIN_PX, _GRAIN_PX), (18, 50)))

    def clouds(self, x: Plane, z: Plane) -> Plane:
        """Return the share of cloud in 0..1 at points [H, W] of a plane at unit height."""
        return as_plane(np.clip(0.45 + 0.6 * _lookup(self._clouds, x, z, _CLOUD_PER_UNIT), 0, 1))

    def draw(
        self,
        into: tuple[Plane, npt.NDArray[np.uint8], Plane],
        directions: Plane,
        position: npt.NDArray[np.float64],
        *,
        focal_px: float,
    ) -> None:
        """Paint color [H, W, C], labels and depth [H, W] where rays [3, H, W] point down.

        Args:
            into: the three arrays, written in place.
            directions: rays of unit depth in world axes.
            position: position of the camera, meters.
            focal_px: focal length, for the size of a pixel on the ground.
        """
        color, labels, depth = into
        height = np.float32(-float(position[1]))
        down = directions[1]
        below = down > 1e-4
        distance = height / np.where(below, down, 1)
        x = np.float32(position[0]) + distance * directions[0]
        z = np.float32(position[2]) + distance * directions[2]
        wide = as_plane(distance * np.float32(1 / focal_px))  # meters that a pixel covers across
        long = as_plane(wide * distance / height)  # and along the street
        side = np.abs(x)
        road = side < ROAD_HALF_M
        value = self._values(x, z, side, road, (wide, long))
        painted = value[..., None] if color.shape[-1] == 1 else value[..., None] * _tints(road)
        np.copyto(color, painted, where=below[..., None])
        np.copyto(labels, np.where(road, np.uint8(ROAD), np.uint8(SIDEWALK)), where=below)
        np.copyto(depth, distance, where=below)

    def _values(
        self, x: Plane, z: Plane, side: Plane, road: npt.NDArray[np.bool_], footprint: tuple[Plane, Plane]
    ) -> Plane:
        wide, long = footprint
        grain = _lookup(self._grain, x, z, _GRAIN_PER_M) / (1 + long * 30)
        stains = _lookup(self._stains, x, z, _GRAIN_PER_M / 2) / (1 + long)
        paint = _markings(x, z, side, wide, long) * (0.92 + 0.08 * stains)
        asphalt = _ASPHALT * (1 + 0.13 * grain + 0.09 * stains)
        kerb = _stripe(side - (ROAD_HALF_M + 0.1), 0.1, wide)
        joints = np.maximum(_grid(x, 0.75, 0.02, wide), _grid(z, 0.75, 0.02, long))
        tiles = _TILES * (1 + 0.05 * grain + 0.05 * stains - 0.30 * joints)
        return np.where(road, asphalt + paint * (_PAINT - asphalt), tiles + kerb * (_KERB - tiles))


def _markings(x: Plane, z: Plane, side: Plane, wide: Plane, long: Plane) -> Plane:
    """Return the share of white paint in 0..1: dashed middle line, parking lines, zebra crossings."""
    dash = z * np.float32(1 / 6.0)
    dash = np.abs(dash - np.floor(dash) - np.float32(0.5)) * 6
    middle = _stripe(x, 0.08, wide) * np.clip((1.5 - dash) / long + 0.5, 0, 1)
    edge = _stripe(side - LANE_M, 0.06, wide)
    along = (z - np.float32(CROSSING_AT_M)) * np.float32(1 / CROSSINGS_M)
    along = np.abs(along - np.rint(along)) * np.float32(CROSSINGS_M)
    crossing = np.clip((1.8 - along) / long + 0.5, 0, 1)
    bars = np.abs(x - np.floor(x) - np.float32(0.5))
    zebra = crossing * np.clip((0.25 - bars) / wide + 0.5, 0, 1)
    free = 1 - crossing
    return as_plane(np.maximum(np.maximum(middle, edge) * free, zebra))


def _stripe(distance: Plane, half_width: float, footprint: Plane) -> Plane:
    """Return the share of each pixel that a stripe covers."""
    share = (half_width - np.abs(distance)) / footprint + np.float32(0.5)
    return as_plane(np.clip(share, 0, np.minimum(1, 2 * half_width / footprint)))


def _grid(coordinate: Plane, period: float, width: float, footprint: Plane) -> Plane:
    """Return joints every `period` meters, which fade where a pixel covers several."""
    phase = coordinate * np.float32(1 / period)
    distance = np.abs(phase - np.floor(phase) - np.float32(0.5)) * np.float32(period)
    resolved = as_plane(np.clip(1.5 - 2 * footprint / period, 0, 1))
    return _stripe(distance, width / 2, footprint) * resolved


def _tints(road: npt.NDArray[np.bool_]) -> Plane:
    """Return RGB factors of luma 1, float32 [H, W, 3]."""
    table = np.asarray((_TILES_TINT, _ROAD_TINT), np.float32)
    table /= (table @ np.asarray(LUMA, np.float32))[:, None]
    return as_plane(table[road.astype(np.intp)])


def _wrapped(picture: Plane) -> Plane:
    """Repeat the first row and column at the end, for interpolation across the border."""
    return as_plane(np.pad(picture, ((0, 1), (0, 1)), mode="wrap"))


def _lookup(picture: Plane, x: Plane, z: Plane, per_metre: float) -> Plane:
    """Sample a repeating image at points [H, W]."""
    scale = np.float32(per_metre / _GRAIN_PX)
    columns, rows = x * scale, z * scale
    columns, rows = (columns - np.floor(columns)) * _GRAIN_PX, (rows - np.floor(rows)) * _GRAIN_PX
    return np.asarray(cv2.remap(picture, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float32)
