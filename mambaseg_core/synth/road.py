"""The road of the synthetic street: its center line, its slope and its lanes, all in closed form.

World axes: x right, y down, z along the street, meters. The center line is x(z), a sum of sines; the height is a
parabola in z. A point's place on the road is (along, across): along is its z, across its distance from the center line
to the right, measured square to it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Road:
    """A road, by default a straight and flat street of two lanes with parking and sidewalks.

    Attributes:
        place: kind of place (`places.PLACES`).
        lanes: lanes in each direction.
        lane_m: width of a lane.
        parking_m: width of the parking lane or the shoulder on each side, 0 for none.
        median_m: width between the two directions.
        verge_m: width of the grass between road and sidewalk.
        walk_m: width of each sidewalk, 0 for none.
        bends: (amplitude in meters, wave number in 1/m, phase) of each sine of the center line.
        grade: slope at z = 0, positive uphill.
        bow: change of the slope, 1/m; positive in a valley, negative on a crest.
        keep_left: whether vehicles drive on the left.
        side_half_m: half width of the side streets, 0 for none.
        side_signs: the sides of the road that they leave from: -1 left, 1 right.
        lit: whether it has street lamps.
        crossing_at_m: position of the first side street or zebra crossing.
        crossing_each_m: distance from one to the next.
    """

    place: str = "street"
    lanes: int = 1
    lane_m: float = 3.2
    parking_m: float = 2.1
    median_m: float = 0.0
    verge_m: float = 0.0
    walk_m: float = 3.0
    bends: tuple[tuple[float, float, float], ...] = ()
    grade: float = 0.0
    bow: float = 0.0
    keep_left: bool = False
    side_half_m: float = 0.0
    side_signs: tuple[int, ...] = ()
    lit: bool = True
    crossing_at_m: float = 30.0
    crossing_each_m: float = 70.0

    @property
    def own_side(self) -> int:
        """Return 1 where vehicles drive on the right, -1 where they drive on the left."""
        return -1 if self.keep_left else 1

    @property
    def lanes_half_m(self) -> float:
        """Return the distance from the center line to the outer edge of the lanes."""
        return self.median_m / 2 + self.lanes * self.lane_m

    @property
    def half_m(self) -> float:
        """Return half of the width from curb to curb."""
        return self.lanes_half_m + self.parking_m

    @property
    def walk_from_m(self) -> float:
        """Return the distance from the center line to the inner edge of the sidewalk."""
        return self.half_m + self.verge_m

    @property
    def street_half_m(self) -> float:
        """Return half of the width of the whole street with its sidewalks."""
        return self.walk_from_m + self.walk_m

    @property
    def lamps_m(self) -> float:
        """Return the distance from the center line to the street lamps' lights."""
        return max(self.half_m - 0.9, 1.0)

    def lane_across(self, lane: int, *, own: bool = True) -> float:
        """Return the middle of a lane; 0 is the innermost."""
        side = self.own_side if own else -self.own_side
        return side * (self.median_m / 2 + (lane + 0.5) * self.lane_m)

    def center(self, z: Array) -> tuple[Array, Array]:
        """Return the center line's x and its derivative dx/dz."""
        x, slope = np.zeros_like(z), np.zeros_like(z)
        for amplitude, number, phase in self.bends:
            angle = z * z.dtype.type(number) + z.dtype.type(phase)
            x = x + z.dtype.type(amplitude) * np.sin(angle)
            slope = slope + z.dtype.type(amplitude * number) * np.cos(angle)
        return x, slope

    def across(self, x: Array, z: Array) -> Array:
        """Return the distance from the center line, positive at the right."""
        if not self.bends:
            return x
        center, slope = self.center(z)
        return np.asarray((x - center) / np.sqrt(1 + slope * slope))

    def point(self, along: float, across: float, up: float = 0.0) -> npt.NDArray[np.float64]:
        """Return the point [3] of the world at a place on the road, so far above it."""
        x, slope = self.center_at(along)
        return np.asarray([x + across * math.hypot(1, slope), -self.height(along) - up, along])

    def center_at(self, along: float) -> tuple[float, float]:
        """Return the center line's x and dx/dz at one place."""
        x = slope = 0.0
        for amplitude, number, phase in self.bends:
            x += amplitude * math.sin(number * along + phase)
            slope += amplitude * number * math.cos(number * along + phase)
        return x, slope

    def height(self, along: float) -> float:
        """Return the height of the road."""
        return self.grade * along + 0.5 * self.bow * along**2

    def angles(self, along: float) -> tuple[float, float]:
        """Return heading (positive to the right) and slope (positive uphill), radians."""
        return math.atan(self.center_at(along)[1]), math.atan(self.grade + self.bow * along)

    def hit(self, directions: Array, position: Array) -> Array:
        """Return the depths float32 [H, W] at which rays [3, H, W] of unit depth meet the ground, else infinity."""
        p = np.asarray(position, np.float64)
        above = np.float32(-p[1] - self.height(float(p[2])))
        linear = directions[1] + np.float32(self.grade + self.bow * p[2]) * directions[2]
        if not self.bow:
            return np.where(linear > 1e-4, above / np.maximum(linear, np.float32(1e-4)), np.float32(np.inf))
        square = linear * linear + np.float32(2 * self.bow) * above * directions[2] ** 2
        below = linear + np.sqrt(np.maximum(square, 0))
        met = (square > 0) & (below > 2e-4)
        return np.where(met, 2 * above / np.where(met, below, 1), np.float32(np.inf))


STRAIGHT = Road()
"""A straight and flat street of two lanes."""
