"""The street under construction: its road, place and weather, and the quads and shadows added so far."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from mambaseg_core.synth.conditions import Conditions
from mambaseg_core.synth.pinhole import Matrix
from mambaseg_core.synth.places import PLACES
from mambaseg_core.synth.plants import Plant
from mambaseg_core.synth.quads import VEGETATION, Mover, Quad, along_road, carried, upright
from mambaseg_core.synth.shadows import ShadowMap
from mambaseg_core.synth.sky import Weather
from mambaseg_core.synth.textures import Texture, plain

_AHEAD_M = (65.0, 140.0)  # length of the street ahead of the vehicle at the end of the drive


class Street:
    """Collects the quads of a street that reaches from behind the start to where the drive sees no more.

    Args:
        rng: draws the street.
        seconds: length of the drive.
        conditions: conditions of the drive.
        weather: the weather.
    """

    def __init__(self, rng: np.random.Generator, seconds: float, conditions: Conditions, weather: Weather) -> None:
        self.rng = rng
        self.seconds = seconds
        self.speed = conditions.motion.speed
        self.lane = conditions.motion.lane
        self.road = conditions.motion.road
        self.place = PLACES[self.road.place]
        self.weather = weather
        self.start_m = -12.0
        self.end_m = self.speed * seconds + float(rng.uniform(*_AHEAD_M))
        self.shadows = ShadowMap(weather, self.end_m)
        self.quads: list[Quad] = []
        self.black = plain(rng, (0.0, 0.0, 0.0), contrast=0.0, size=(8, 8))

    def add(self, *quads: Quad) -> None:
        """Add quads."""
        self.quads += quads

    def put(self, quads: Iterable[Quad], mover: Mover) -> None:
        """Add quads in their own axes where a mover is, or carried by it."""
        self.quads += carried(quads, mover)

    def at(self, along: float, across: float, turned: float = 0.0) -> Mover:
        """Return a place on the road."""
        return Mover(self.road, along, across, turned=turned)

    def wall(
        self,
        along: tuple[float, float],
        across: tuple[float, float],
        heights: tuple[float, float],
        texture: Texture,
        label: int,
        *,
        part: str = "",
        outward: int = 1,
    ) -> None:
        """Add a vertical quad between two places on the road, lit by the sun.

        Args:
            along: positions of its left and its right edge along the road.
            across: their distances from the center line.
            heights: bottom and top, meters above the road.
            texture: what it shows.
            label: class id.
            part: what it is a part of.
            outward: 1 if it faces where its texture is not mirrored, -1 if it faces the other way.
        """
        quad = along_road(self.road, along, across, heights, texture, label)
        self.quads.append(replace(quad, part=part, shade=self.weather.shade(_normal(quad.vectors(), outward))))

    def plant(self, plant: Plant, along: float, across: float, size: float = 1.0) -> None:
        """Add a plant with its shadow."""
        half, height = plant.width_m / 2 * size, plant.height_m * size
        if self.rng.random() < 0.5:
            half = -half
        quad = upright((-half, 0.0), (half, 0.0), (-0.1, height), plant.texture, VEGETATION)
        self.put([replace(quad, shade=float(self.rng.uniform(0.75, 1.15)))], self.at(along, across))
        self.shadows.crown(along, across, 0.65 * height, plant.crown_m * size)

    def is_free(self, along: float, side: int, margin_m: float = 0.0) -> bool:
        """Return whether no side street leaves the road there."""
        road = self.road
        if not road.side_half_m or side not in road.side_signs:
            return True
        each = road.crossing_each_m
        away = abs((along - road.crossing_at_m + each / 2) % each - each / 2)
        return away > road.side_half_m + road.walk_m + margin_m

    def next_crossing(self, along: float) -> float:
        """Return the position of the next side street or zebra crossing."""
        road = self.road
        return road.crossing_at_m + road.crossing_each_m * float(
            np.ceil((along - road.crossing_at_m) / road.crossing_each_m)
        )


def _normal(vectors: Matrix, outward: int) -> tuple[float, float, float]:
    normal = -outward * np.cross(vectors[1], vectors[2])
    x, y, z = (normal / np.linalg.norm(normal)).tolist()
    return x, y, z
