"""The synthetic street: houses, trees, parked and moving cars, people; a tunnel and lights in some conditions.

The class ids are those of DSEC-Semantic's 11 classes (`labels.DSEC_11`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mambaseg_core.synth import cars_and_people, textures
from mambaseg_core.synth.cars_and_people import CarPaint
from mambaseg_core.synth.conditions import Conditions
from mambaseg_core.synth.ground import (
    CROSSING_AT_M,
    CROSSINGS_M,
    LANE_M,
    ROAD_HALF_M,
    SIDEWALK_HALF_M,
    Ground,
)
from mambaseg_core.synth.light import LAMPS_AT_M
from mambaseg_core.synth.render import Quad
from mambaseg_core.synth.textures import Color, Texture

BUILDING, FENCE, PERSON, POLE, VEGETATION, CAR, WALL, SIGN = 1, 2, 3, 4, 7, 8, 9, 10

_STREET_M = (70.0, 110.0)  # length of the street ahead of the vehicle at the end of the drive
_TUNNEL_M = (-8.2, 8.2, 5.6)  # left, right, height
_TUNNEL_LABELS = (PERSON, POLE, CAR, SIGN, None)  # labels that may be inside
_WALK_PHASES = 16
_STEPS_HZ = 1.8
_HOUSE_COLORS: tuple[Color, ...] = (
    (0.76, 0.68, 0.54),
    (0.62, 0.40, 0.32),
    (0.70, 0.70, 0.68),
    (0.66, 0.56, 0.50),
    (0.50, 0.53, 0.58),
    (0.80, 0.74, 0.66),
)
_CAR_COLORS: tuple[Color, ...] = (
    (0.70, 0.10, 0.10),
    (0.14, 0.26, 0.52),
    (0.82, 0.83, 0.84),
    (0.16, 0.17, 0.18),
    (0.52, 0.54, 0.56),
    (0.16, 0.36, 0.26),
)


@dataclass(frozen=True, eq=False)
class Scene:
    """A street long enough for a drive: its quads and its ground."""

    quads: tuple[Quad, ...]
    ground: Ground


def build_scene(rng: np.random.Generator, seconds: float, conditions: Conditions) -> Scene:
    """Lay out a street for a drive of so many seconds."""
    builder = _Builder(rng, seconds, conditions)
    for side in (-1, 1):
        builder.houses(side)
        builder.sidewalk(side)
        builder.parked_cars(side)
    builder.end()
    builder.traffic()
    builder.people()
    ground = Ground(rng)
    if conditions.light.glow:
        builder.lit_windows()
    if conditions.light.tunnel_end_m is not None:
        builder.tunnel(conditions.light.tunnel_end_m)
    return Scene(tuple(builder.quads), ground)


class _Builder:
    """Collects the quads of a street that reaches from behind the start to where the drive sees no more."""

    def __init__(self, rng: np.random.Generator, seconds: float, conditions: Conditions) -> None:
        self.quads: list[Quad] = []
        self._rng = rng
        self._seconds = seconds
        self._speed = conditions.motion.speed
        self._end_m = self._speed * seconds + float(rng.uniform(*_STREET_M))
        self._gardens = 0
        self._houses = [
            (height, textures.facade(rng, color, width_m=12, height_m=height))
            for color, height in zip(_HOUSE_COLORS * 2, rng.uniform(8, 17, 12), strict=True)
        ]
        self._gables = [textures.plain(rng, color) for color in _HOUSE_COLORS * 2]
        self._low = {
            VEGETATION: (1.4, textures.leaves(rng, width_m=6, height_m=1.4)),
            FENCE: (1.5, textures.slats(rng, width_m=6, height_m=1.5)),
            WALL: (1.9, textures.bricks(rng, width_m=6, height_m=1.9)),
        }
        self._trees = [textures.tree(rng, width_m=4.6, height_m=6.0) for _ in range(4)]
        self._metal = textures.plain(rng, (0.33, 0.35, 0.36))
        self._white = textures.plain(rng, (0.95, 0.93, 0.85), contrast=0.02)
        self._red = textures.plain(rng, (0.80, 0.06, 0.05), contrast=0.02)
        self._concrete = textures.concrete(rng, width_m=12, height_m=6)
        self._shadow = textures.plain(rng, (0.11, 0.115, 0.12), contrast=0.12)
        self._signs = [textures.traffic_sign(kind) for kind in range(3)]
        self._cars = [cars_and_people.car(rng, color) for color in _CAR_COLORS]
        self._people = [cars_and_people.person(rng, phases=_WALK_PHASES) for _ in range(5)]

    def houses(self, side: int) -> None:
        """Add house fronts along one side, with gardens behind a hedge, a fence or a wall between some."""
        z = -6.0 if side < 0 else -11.0
        gardens = [VEGETATION, FENCE, WALL]
        gap = True
        while z < self._end_m:
            x = side * (SIDEWALK_HALF_M + float(self._rng.choice([0.0, 0.0, 0.6])))
            style = int(self._rng.integers(len(self._houses)))
            height, front = self._houses[style]
            shade = 1.0 if side < 0 else 0.72
            self._add(0, x, (z, z + 12), (-height, 0), front, BUILDING, shade=shade)
            outer = (x, x + side * 12)
            if gap:
                self._add(2, z, (min(outer), max(outer)), (-height, 0), self._gables[style], BUILDING, shade=0.78)
            z += 12
            gap = self._rng.random() < 0.55
            if gap:
                kind = gardens[self._gardens % 3]
                self._gardens += 1
                self._garden(side, z, kind)
                z += 6

    def _garden(self, side: int, z: float, kind: int) -> None:
        height, texture = self._low[kind]
        shade = 0.95 if side < 0 else 0.75
        self._add(0, side * SIDEWALK_HALF_M, (z, z + 6), (-height, 0), texture, kind, shade=shade)
        x = side * (SIDEWALK_HALF_M + 3.2)
        self._tree(x, z + 2.5, 1.2)
        across = (SIDEWALK_HALF_M, 20.0) if side > 0 else (-20.0, -SIDEWALK_HALF_M)
        self._add(2, z + 5.9, across, (-2.4, 0), self._low[VEGETATION][1], VEGETATION, shade=0.7)

    def end(self) -> None:
        """Add the houses that the street runs up to."""
        for left in (-30, -18, -6, 6, 18):
            height, front = self._houses[int(self._rng.integers(len(self._houses)))]
            self._add(2, self._end_m, (left, left + 12), (-height, 0), front, BUILDING, shade=0.85)

    def sidewalk(self, side: int) -> None:
        """Add trees, lamps and signs in a row beside the curb."""
        x = side * (ROAD_HALF_M + 0.7)
        for number, z in enumerate(np.arange(LAMPS_AT_M[side], self._end_m, 9.0)):
            place = float(z + self._rng.uniform(-0.8, 0.8))
            if number % 3 == 0:
                self._lamp(x, place, side)
            elif number % 3 == 1:
                self._tree(x, place, float(self._rng.uniform(0.8, 1.05)))
            else:
                self._sign(x, place)

    def _tree(self, x: float, z: float, size: float) -> None:
        texture = self._trees[int(self._rng.integers(len(self._trees)))]
        self._add(2, z, (x - 2.3 * size, x + 2.3 * size), (-6.0 * size, 0), texture, VEGETATION)

    def _lamp(self, x: float, z: float, side: int) -> None:
        self._add(2, z, (x - 0.08, x + 0.08), (-6.5, 0), self._metal, POLE)
        arm = sorted((x, x - side * 1.6))
        self._add(2, z, (arm[0], arm[1]), (-6.5, -6.38), self._metal, POLE)
        end = x - side * 1.6
        self._add(2, z - 0.01, (end - 0.3, end + 0.3), (-6.4, -6.25), self._white, POLE, glow=1.5)

    def _sign(self, x: float, z: float) -> None:
        self._add(2, z + 0.02, (x - 0.05, x + 0.05), (-2.4, 0), self._metal, POLE)
        self._add(2, z, (x - 0.38, x + 0.38), (-2.76, -2.0), self._signs[int(self._rng.integers(3))], SIGN)

    def parked_cars(self, side: int) -> None:
        """Add a row of parked cars with gaps, none on a zebra crossing."""
        z = 9.0 if side > 0 else 4.0
        while z < self._end_m:
            from_crossing = abs((z + 2.1 - CROSSING_AT_M + CROSSINGS_M / 2) % CROSSINGS_M - CROSSINGS_M / 2)
            if self._rng.random() < 0.62 and from_crossing > 5.5:
                self._car(side * (LANE_M + 1.15), z, ahead=side > 0)
            z += float(self._rng.uniform(5.6, 7.5))

    def traffic(self) -> None:
        """Add one car ahead in our lane, and some oncoming ones."""
        ahead_m = float(self._rng.uniform(9, 26))
        self._car(LANE_M / 2 + 0.1, ahead_m, ahead=True, speed=self._speed + float(self._rng.uniform(-1, 1)))
        z = float(self._rng.uniform(10, 34))
        while z < self._end_m + 9.0 * self._seconds:
            self._car(-LANE_M / 2 - 0.1, z, ahead=False, speed=-9.0)
            z += float(self._rng.uniform(22, 45))

    def people(self) -> None:
        """Add people on both sidewalks, and some who cross the road on the zebra crossings."""
        for side in (-1, 1):
            z = 7.0
            while z < self._end_m:
                x = side * float(self._rng.uniform(ROAD_HALF_M + 1.2, SIDEWALK_HALF_M - 0.6))
                self._person(x, z, (0.0, float(self._rng.choice([-1.2, 1.2]))))
                z += float(self._rng.uniform(5, 14))
        for crossing in np.arange(CROSSING_AT_M, self._end_m, CROSSINGS_M):
            arrival = (crossing - 22) / self._speed  # seconds until the vehicle is 22 m away
            self._person(3.6 + 1.4 * arrival, float(crossing) - 0.6, (-1.4, 0.0))
            self._person(-4.4 - 1.2 * arrival, float(crossing) + 0.6, (1.2, 0.0))

    def lit_windows(self) -> None:
        """Add lit windows to some of the houses."""
        for house in [quad for quad in self.quads if quad.label == BUILDING and quad.axis == 0]:
            for _ in range(int(self._rng.integers(0, 4))):
                z, floor = house.columns[0] + float(self._rng.uniform(0.8, 10)), int(self._rng.integers(1, 4))
                rows = (-3.0 * floor - 2.2, -3.0 * floor - 0.9)
                if rows[0] > house.rows[0]:
                    x = house.offset - 0.01 * float(np.sign(house.offset))
                    self._add(0, x, (z, z + 1.0), rows, self._white, BUILDING, glow=0.06)

    def tunnel(self, end_m: float) -> None:
        """Add walls, a ceiling and lamps up to `end_m`; keep inside only what belongs on a road."""
        self.quads = [quad for quad in self.quads if from_z(quad) > end_m or quad.label in _TUNNEL_LABELS]
        left, right, height = _TUNNEL_M
        for start in np.arange(end_m - 12, -24, -12).tolist():
            self._add(0, left, (start, start + 12), (-height, 0), self._concrete, WALL)
            self._add(0, right, (start, start + 12), (-height, 0), self._concrete, WALL)
            self._add(1, -height, (left, right), (start, start + 12), self._concrete, WALL)
            self._add(1, -height + 0.02, (-0.2, 0.2), (start + 4, start + 6), self._white, WALL, glow=1.0)
        for x in (left - 14, right):  # the hill above and beside the portal
            self._add(2, end_m, (x, x + 14), (-12, 0), self._concrete, WALL)
        self._add(2, end_m, (left, right), (-12, -height), self._concrete, WALL)

    def _person(self, x: float, z: float, velocity: tuple[float, float]) -> None:
        frames = self._people[int(self._rng.integers(len(self._people)))]
        direction = 1 if velocity[0] >= 0 else -1
        across = (x - 0.45 * direction, x + 0.45 * direction)
        rate_hz = _STEPS_HZ / 2 * _WALK_PHASES
        self.quads.append(Quad(2, z, across, (-1.8, 0), frames, PERSON, velocity=velocity, rate_hz=rate_hz))
        under = (x - 0.3, x + 0.3), (z - 0.1, z + 0.4)
        self._add(1, -0.01, *under, self._shadow, None, velocity=velocity, shade=1.5)

    def _car(self, x: float, z: float, *, ahead: bool, speed: float = 0.0) -> None:
        """Add a car from z to z + 4.2, seen from behind (`ahead`) or from the front."""
        paint: CarPaint = self._cars[int(self._rng.integers(len(self._cars)))]
        velocity = (0.0, speed)
        across, near, far = (x - 0.9, x + 0.9), z, z + 4.2
        if ahead:
            self._add(2, near, across, (-1.5, 0), paint.rear, CAR, velocity=velocity)
        else:
            self._add(2, near, across, (-0.9, 0), paint.nose, CAR, velocity=velocity)
            self._add(2, near + 1.1, across, (-1.5, -0.9), paint.screen, CAR, velocity=velocity)
            over = (x - 0.82, x + 0.82), (near + 0.1, near + 1.2)
            self._add(1, -0.88, *over, paint.bonnet, CAR, velocity=velocity, shade=1.15)
        lamp, glow = (self._red, 0.15) if ahead else (self._white, 1.2)
        for left in (x - 0.78, x + 0.52):
            self._add(2, near - 0.01, (left, left + 0.26), (-0.75, -0.58), lamp, CAR, velocity=velocity, glow=glow)
        length = (near, far) if ahead else (far, near)
        for side, shade in ((-1, 0.7), (1, 0.95)):
            edge = x + 0.9 * side
            self._add(0, edge, length, (-1.5, 0), paint.side, CAR, velocity=velocity, shade=shade, facing=side)
        under = (x - 1.05, x + 1.05), (near - 0.25, far + 0.25)
        self._add(1, -0.005, *under, self._shadow, None, velocity=velocity)

    def _add(
        self,
        axis: int,
        offset: float,
        columns: tuple[float, float],
        rows: tuple[float, float],
        texture: Texture,
        label: int | None,
        *,
        shade: float = 1.0,
        velocity: tuple[float, float] = (0.0, 0.0),
        glow: float = 0.0,
        facing: int = 0,
    ) -> None:
        self.quads.append(
            Quad(axis, offset, columns, rows, (texture,), label, shade, velocity, glow=glow, facing=facing)
        )


def from_z(quad: Quad) -> float:
    """Return where along the street a quad begins, meters."""
    return min({0: quad.columns, 1: quad.rows, 2: (quad.offset,)}[quad.axis])
