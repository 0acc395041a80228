"""Paint on the synthetic road: center and lane lines, edge lines, zebra crossings, stop lines."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mambaseg_core.synth.road import Road
from mambaseg_core.synth.textures import Color, Plane, as_plane


@dataclass(frozen=True)
class Paint:
    """Paint on a road.

    Attributes:
        color: its color.
        cover: share that traffic has left of it.
        center: "dashed", "solid", "double" or "none".
        edges: whether there are lines between lanes and parking.
        zebra: whether there are zebra crossings.
        dash_m: length of a dash.
        gap_m: distance between dashes.
        wide_m: half width of a line.
    """

    color: Color = (0.86, 0.86, 0.86)
    cover: float = 0.92
    center: str = "dashed"
    edges: bool = True
    zebra: bool = True
    dash_m: float = 3.0
    gap_m: float = 3.0
    wide_m: float = 0.07


class Markings:
    """Markings of a road in closed form.

    Args:
        road: the road.
        paint: which lines there are.
    """

    def __init__(self, road: Road, paint: Paint) -> None:
        self._road, self._paint = road, paint

    def from_crossing(self, z: Plane) -> Plane:
        """Return the distance along the road to the nearest crossing."""
        each = np.float32(self._road.crossing_each_m)
        along = (z - np.float32(self._road.crossing_at_m)) / each
        return as_plane(np.abs(along - np.rint(along)) * each)

    def share(self, across: Plane, z: Plane, wide: Plane, long: Plane) -> Plane:
        """Return the share of each pixel that paint covers, 0..1.

        Args:
            across: distance from the center line.
            z: position along the road.
            wide: meters that a pixel covers across the road.
            long: meters that it covers along the road.
        """
        road, paint = self._road, self._paint
        side = np.abs(across)
        total = np.zeros_like(across)
        period = paint.dash_m + paint.gap_m
        dash = z * np.float32(1 / period)
        dash = np.abs(dash - np.floor(dash) - np.float32(0.5)) * np.float32(period)
        dashed = np.clip((paint.dash_m / 2 - dash) / long + np.float32(0.5), 0, 1)
        if paint.center != "none" and not road.median_m:
            center = stripe(as_plane(side - np.float32(0.12)), paint.wide_m, wide) if paint.center == "double" else None
            center = stripe(across, paint.wide_m, wide) if center is None else center
            total = center * dashed if paint.center == "dashed" else center
        for lane in range(1, road.lanes):
            line = stripe(side - np.float32(road.median_m / 2 + lane * road.lane_m), paint.wide_m, wide)
            total = np.maximum(total, line * dashed)
        if paint.edges:
            inset = 0.0 if road.parking_m else 0.25
            total = np.maximum(total, stripe(side - np.float32(road.lanes_half_m - inset), paint.wide_m, wide))
            if road.median_m:
                total = np.maximum(total, stripe(side - np.float32(road.median_m / 2 + 0.3), paint.wide_m, wide))
        if paint.zebra or road.side_half_m:
            away = self.from_crossing(z)
            free = np.clip((away - np.float32(road.side_half_m + 3.8)) / long + np.float32(0.5), 0, 1)
            total = total * free
            if paint.zebra:
                crossing = np.clip((1.6 - np.abs(away - np.float32(road.side_half_m + 2.0))) / long + 0.5, 0, 1)
                if not road.side_half_m:
                    crossing = np.clip((1.8 - away) / long + 0.5, 0, 1)
                bars = np.abs(across - np.floor(across) - np.float32(0.5))
                total = np.maximum(total, crossing * np.clip((0.25 - bars) / wide + 0.5, 0, 1))
        return as_plane(total)


def stripe(distance: Plane, half_width: float, footprint: Plane) -> Plane:
    """Return the share of each pixel that a stripe covers."""
    share = (np.float32(half_width) - np.abs(distance)) / footprint + np.float32(0.5)
    return as_plane(np.clip(share, 0, np.minimum(1, np.float32(2 * half_width) / footprint)))


def grid(coordinate: Plane, period: float, width: float, footprint: Plane) -> Plane:
    """Return joints every `period` meters, which fade where a pixel covers several."""
    phase = coordinate * np.float32(1 / period)
    distance = np.abs(phase - np.floor(phase) - np.float32(0.5)) * np.float32(period)
    resolved = as_plane(np.clip(1.5 - 2 * footprint / np.float32(period), 0, 1))
    return stripe(distance, width / 2, footprint) * resolved
