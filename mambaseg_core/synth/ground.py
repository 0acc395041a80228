"""The ground of the synthetic street: road with markings, curbs, sidewalks, grass; and the shadows on it.

Markings and joints are drawn in closed form and fade out where a pixel covers more than their width. So no far detail
flickers, which an event camera would see.
"""

from __future__ import annotations

from copy import copy
from typing import Final

import numpy as np
import numpy.typing as npt

from mambaseg_core.synth.markings import Markings, grid, stripe
from mambaseg_core.synth.road import STRAIGHT, Road
from mambaseg_core.synth.shadows import ShadowMap
from mambaseg_core.synth.sky import CLEAR, Sky, Weather, tone
from mambaseg_core.synth.surfaces import Surfaces, draw_surfaces
from mambaseg_core.synth.textures import Plane, as_plane, lookup, noise, wrapped

FAR_M: Final = 140.0
"""Nothing farther is drawn, but the skyline."""

_GRAIN_PER_M: Final = 40.0
_MEDIAN, _ROAD, _VERGE, _WALK, _YARD = range(5)


class Ground:
    """The ground, and the sky above it.

    Args:
        rng: draws the grain and, unless `surfaces` is given, the colors.
        road: the road.
        weather: the weather.
        surfaces: colors of the ground and the paint on it.
        shadows: shadows on it.
        town: chance that the skyline is of houses.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        road: Road = STRAIGHT,
        weather: Weather = CLEAR,
        *,
        surfaces: Surfaces | None = None,
        shadows: ShadowMap | None = None,
        town: float = 0.0,
    ) -> None:
        self.road = road
        self.sky = Sky(rng, weather, town)
        self._surfaces = surfaces or draw_surfaces(rng, road)
        self._markings = Markings(road, self._surfaces.paint)
        self._shadows = shadows
        self._grain = wrapped(noise(rng, (512, 512), (2.0, 3.5)))
        self._stains = wrapped(noise(rng, (512, 512), (24, 60)))
        zones = self._surfaces.zones
        self._labels = np.asarray([zone.label for zone in zones], np.uint8)
        self._colors = np.asarray([zone.color for zone in zones], np.float32)
        self._grays = as_plane([tone(zone.color, gray=True) for zone in zones])
        self._rough = np.asarray(
            [[z.grain for z in zones], [z.stains for z in zones], [z.joints for z in zones]], np.float32
        )

    def in_clear_weather(self) -> Ground:
        """Return the same ground under a clear sky, without shadows: brightnesses from which others are computed."""
        other = copy(self)
        other.sky, other._shadows = self.sky.in_clear_weather(), None
        return other

    def draw(
        self,
        into: tuple[Plane, npt.NDArray[np.uint8], Plane],
        directions: Plane,
        position: npt.NDArray[np.float64],
        *,
        focal_px: float,
    ) -> None:
        """Paint color [H, W, C], labels and depth [H, W] where rays [3, H, W] meet the ground.

        Args:
            into: the three arrays, written in place.
            directions: rays of unit depth in world axes.
            position: position of the camera, meters.
            focal_px: focal length, for the size of a pixel on the ground.
        """
        color, labels, depth = into
        found = self.road.hit(directions, position)
        met = found < FAR_M
        distance = as_plane(np.where(met, found, np.float32(FAR_M)))
        above = np.float32(-float(position[1]) - self.road.height(float(position[2])))
        x = np.float32(position[0]) + distance * directions[0]
        z = np.float32(position[2]) + distance * directions[2]
        across = as_plane(self.road.across(x, z))
        wide = as_plane(distance * np.float32(1 / focal_px))  # meters that a pixel covers across
        long = as_plane(wide * distance / above)  # and along the street
        zone = self._zones(across, z)
        value = self._paint(across, z, zone, (wide, long), gray=color.shape[-1] == 1)
        np.copyto(color, value, where=met[..., None])
        np.copyto(labels, self._labels[zone], where=met)
        np.copyto(depth, distance, where=met)

    def _zones(self, across: Plane, z: Plane) -> npt.NDArray[np.uint8]:
        road, side = self.road, np.abs(across)
        edges = (road.median_m / 2, road.half_m, road.walk_from_m, road.street_half_m)
        zone = np.zeros(across.shape, np.uint8)
        for edge in edges:
            zone += side >= np.float32(edge)
        if road.side_half_m:
            away = self._markings.from_crossing(z)
            beside = side >= np.float32(road.half_m)
            if len(road.side_signs) == 1:
                beside &= across * np.float32(road.side_signs[0]) > 0
            zone[beside & (away < np.float32(road.side_half_m + road.walk_m))] = _WALK
            zone[beside & (away < np.float32(road.side_half_m))] = _ROAD
            zone[(away < np.float32(road.side_half_m)) & (zone == _MEDIAN)] = _ROAD
        return zone

    def _paint(
        self,
        across: Plane,
        z: Plane,
        zone: npt.NDArray[np.uint8],
        footprint: tuple[Plane, Plane],
        *,
        gray: bool,
    ) -> Plane:
        wide, long = footprint
        surfaces = self._surfaces
        grain = lookup(self._grain, across, z, _GRAIN_PER_M) / (1 + long * 30)
        stains = lookup(self._stains, across * 2, z, _GRAIN_PER_M / 3) / (1 + long)
        light = 1 + self._rough[0][zone] * grain + self._rough[1][zone] * stains
        if surfaces.has_joints:
            tiled = np.nonzero(self._rough[2][zone] > 0)
            x, y, joint_m = across[tiled], z[tiled], surfaces.joint_m
            joints = np.maximum(grid(x, joint_m, 0.02, wide[tiled]), grid(y, joint_m, 0.02, long[tiled]))
            light[tiled] -= self._rough[2][zone[tiled]] * joints
        value = (self._grays if gray else self._colors)[zone] * light[..., None]
        painted = np.nonzero(zone == _ROAD)
        paint = self._markings.share(across[painted], z[painted], wide[painted], long[painted])
        painted, paint = _where(painted, paint)
        cover = surfaces.paint.cover
        wear = np.clip(cover + 0.25 * stains[painted] - 0.2 * (1 - cover) * grain[painted], 0, 1)
        value[painted] += (paint * wear)[:, None] * (tone(surfaces.paint.color, gray=gray) - value[painted])
        beside = np.nonzero(zone >= _VERGE)
        curb = stripe(np.abs(across[beside]) - np.float32(self.road.half_m + 0.08), 0.08, wide[beside])
        beside, curb = _where(beside, curb * np.float32(surfaces.curb_cover))
        value[beside] += curb[:, None] * (tone(surfaces.curb, gray=gray) - value[beside])
        if self._shadows is not None:
            value *= self._shadows.light(across, z)[..., None]
        return as_plane(value)


def _where(places: tuple[npt.NDArray[np.intp], ...], share: Plane) -> tuple[tuple[npt.NDArray[np.intp], ...], Plane]:
    """Keep the places where a share is above 0."""
    kept = np.flatnonzero(share > 0)
    return tuple(place[kept] for place in places), share[kept]
