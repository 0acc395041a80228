"""The synthetic street: houses, trees, parked and moving cars, people; and the vehicle that drives there.

Class ids are those of DSEC-Semantic's 11 classes (`labels.DSEC_11`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mambaseg_core.data import figures, textures
from mambaseg_core.data.figures import CarPaint
from mambaseg_core.data.ground import (
    CROSSING_AT_M,
    CROSSINGS_M,
    LANE_M,
    ROAD_HALF_M,
    SIDEWALK_HALF_M,
    Ground,
)
from mambaseg_core.data.render import FAR_M, Pose, Quad
from mambaseg_core.data.textures import Color, Texture

BUILDING, FENCE, PERSON, POLE, VEGETATION, CAR, WALL, SIGN = 1, 2, 3, 4, 7, 8, 9, 10

SPEED = 8.0  # metres per second
_EYE_M = 1.5
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
    """A street that is long enough for a drive: its quads and its ground."""

    quads: tuple[Quad, ...]
    ground: Ground


def build_scene(rng: np.random.Generator, seconds: float) -> Scene:
    """Lay out a street for a drive of so many seconds."""
    end_m = SPEED * seconds + FAR_M
    builder = _Builder(rng, end_m)
    for side in (-1, 1):
        builder.houses(side)
        builder.sidewalk(side)
        builder.parked_cars(side)
    builder.traffic(seconds)
    builder.people()
    return Scene(tuple(builder.quads), Ground(rng))


def vehicle_pose(seconds: float) -> Pose:
    """Where the camera is: driving ahead in the right lane, swaying and pitching a little."""
    wave = 2 * np.pi * seconds
    x = LANE_M / 2 + 0.12 * np.sin(0.23 * wave)
    yaw, pitch, roll = 0.012 * np.sin(0.31 * wave), 0.004 * np.sin(1.3 * wave), 0.003 * np.sin(0.9 * wave + 1)
    position = np.asarray([x, -_EYE_M - 0.015 * np.sin(1.7 * wave), SPEED * seconds])
    return Pose(position, rotation(pitch, yaw, roll))


def rotation(pitch: float, yaw: float, roll: float) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Rotation [3, 3] by angles in radians about x (right), then y (down), then z (ahead)."""
    (cp, cy, cr), (sp, sy, sr) = np.cos((pitch, yaw, roll)), np.sin((pitch, yaw, roll))
    about_x = np.asarray([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    about_y = np.asarray([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.asarray([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    turned: np.ndarray[tuple[int, ...], np.dtype[np.float64]] = about_z @ about_y @ about_x
    return turned


class _Builder:
    """Collects the quads of a street that reaches from behind the start to `end_m`."""

    def __init__(self, rng: np.random.Generator, end_m: float) -> None:
        self.quads: list[Quad] = []
        self._rng = rng
        self._end_m = end_m
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
        self._shadow = textures.plain(rng, (0.11, 0.115, 0.12), contrast=0.12)
        self._signs = [textures.traffic_sign(kind) for kind in range(3)]
        self._cars = [figures.car(rng, color) for color in _CAR_COLORS]
        self._people = [figures.person(rng, phases=_WALK_PHASES) for _ in range(5)]

    def houses(self, side: int) -> None:
        """House fronts along one side, with gardens behind a hedge, a fence or a wall between some."""
        z = -6.0 if side < 0 else -11.0
        gardens = [VEGETATION, FENCE, WALL]
        while z < self._end_m:
            x = side * (SIDEWALK_HALF_M + float(self._rng.choice([0.0, 0.0, 0.6])))
            style = int(self._rng.integers(len(self._houses)))
            height, front = self._houses[style]
            shade = 1.0 if side < 0 else 0.72
            self._add(0, x, (z, z + 12), (-height, 0), front, BUILDING, shade=shade)
            outer = (x, x + side * 12)
            self._add(2, z, (min(outer), max(outer)), (-height, 0), self._gables[style], BUILDING, shade=0.78)
            z += 12
            if self._rng.random() < 0.55:
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

    def sidewalk(self, side: int) -> None:
        """Trees, lamps and signs in a row beside the kerb."""
        x = side * (ROAD_HALF_M + 0.7)
        for number, z in enumerate(np.arange(6.0 if side > 0 else 10.0, self._end_m, 9.0)):
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

    def _sign(self, x: float, z: float) -> None:
        self._add(2, z + 0.02, (x - 0.05, x + 0.05), (-2.4, 0), self._metal, POLE)
        self._add(2, z, (x - 0.38, x + 0.38), (-2.76, -2.0), self._signs[int(self._rng.integers(3))], SIGN)

    def parked_cars(self, side: int) -> None:
        """A row of parked cars with gaps, none on a zebra crossing."""
        z = 9.0 if side > 0 else 4.0
        while z < self._end_m:
            from_crossing = abs((z + 2.1 - CROSSING_AT_M + CROSSINGS_M / 2) % CROSSINGS_M - CROSSINGS_M / 2)
            if self._rng.random() < 0.62 and from_crossing > 5.5:
                self._car(side * (LANE_M + 1.15), z, ahead=side > 0)
            z += float(self._rng.uniform(5.6, 7.5))

    def traffic(self, seconds: float) -> None:
        """One car ahead in our lane, some that come towards us."""
        self._car(LANE_M / 2 + 0.1, 17.0, ahead=True, speed=SPEED + 0.6)
        z = 24.0
        while z < self._end_m + 9.0 * seconds:
            self._car(-LANE_M / 2 - 0.1, z, ahead=False, speed=-9.0)
            z += float(self._rng.uniform(22, 45))

    def people(self) -> None:
        """People on both sidewalks, and some who cross the road on the zebras."""
        for side in (-1, 1):
            z = 7.0
            while z < self._end_m:
                x = side * float(self._rng.uniform(ROAD_HALF_M + 1.2, SIDEWALK_HALF_M - 0.6))
                self._person(x, z, (0.0, float(self._rng.choice([-1.2, 1.2]))))
                z += float(self._rng.uniform(5, 14))
        for crossing in np.arange(CROSSING_AT_M, self._end_m, CROSSINGS_M):
            arrival = (crossing - 22) / SPEED  # seconds until the vehicle is 22 m away
            self._person(3.6 + 1.4 * arrival, float(crossing) - 0.6, (-1.4, 0.0))
            self._person(-4.4 - 1.2 * arrival, float(crossing) + 0.6, (1.2, 0.0))

    def _person(self, x: float, z: float, velocity: tuple[float, float]) -> None:
        frames = self._people[int(self._rng.integers(len(self._people)))]
        direction = 1 if velocity[0] >= 0 else -1
        across = (x - 0.45 * direction, x + 0.45 * direction)
        rate_hz = _STEPS_HZ / 2 * _WALK_PHASES
        self.quads.append(Quad(2, z, across, (-1.8, 0), frames, PERSON, velocity=velocity, rate_hz=rate_hz))
        under = (x - 0.3, x + 0.3), (z - 0.1, z + 0.4)
        self._add(1, -0.01, *under, self._shadow, None, velocity=velocity, shade=1.5)

    def _car(self, x: float, z: float, *, ahead: bool, speed: float = 0.0) -> None:
        """A car from z to z + 4.2, seen from behind (`ahead`) or from in front."""
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
        length = (near, far) if ahead else (far, near)
        for edge, shade in ((x - 0.9, 0.7), (x + 0.9, 0.95)):
            self._add(0, edge, length, (-1.5, 0), paint.side, CAR, velocity=velocity, shade=shade)
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
    ) -> None:
        self.quads.append(Quad(axis, offset, columns, rows, (texture,), label, shade, velocity))
