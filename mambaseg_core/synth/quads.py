"""Quads: textured parallelograms, the only solids of the synthetic street; and what carries them along the road."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from mambaseg_core.synth.pinhole import Matrix
from mambaseg_core.synth.road import Road
from mambaseg_core.synth.textures import Texture

BUILDING, FENCE, PERSON, POLE, ROAD, SIDEWALK, VEGETATION, CAR, WALL, SIGN = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Mover:
    """A place on the road with a motion along it.

    Attributes:
        road: the road.
        along: position at time 0, meters.
        across: distance from the center line to the right at time 0, meters.
        speed: along the road, meters per second.
        aside: across the road, meters per second.
        turned: turn to the right against the road, radians.
    """

    road: Road
    along: float
    across: float
    speed: float = 0.0
    aside: float = 0.0
    turned: float = 0.0

    @property
    def moves(self) -> bool:
        """Return whether it moves at all."""
        return self.speed != 0 or self.aside != 0

    def frame(self, seconds: float) -> tuple[Matrix, Matrix]:
        """Return the origin [3] and the axes [3, 3] (local to world) at a time."""
        along = self.along + self.speed * seconds
        heading, slope = self.road.angles(along)
        (sh, ch), (ss, cs), (st, ct) = ((math.sin(a), math.cos(a)) for a in (heading, slope, self.turned))
        right, ahead = (ch, 0.0, -sh), (sh * cs, -ss, ch * cs)
        axes = np.asarray(
            [
                [ct * r - st * a for r, a in zip(right, ahead, strict=True)],
                [sh * ss, cs, ch * ss],
                [ct * a + st * r for r, a in zip(right, ahead, strict=True)],
            ]
        ).T
        return self.road.point(along, self.across + self.aside * seconds), axes


@dataclass(frozen=True, eq=False)
class Quad:
    """A parallelogram.

    Attributes:
        corner: top left corner of the texture, meters; in the world, or in its mover's axes.
        across: vector from there to the top right corner.
        down: vector from there to the bottom left corner.
        textures: textures shown in turn.
        label: class id; None for a shadow, which darkens the ground.
        shade: factor on the texture's brightness.
        mover: what carries it; None stands still.
        rate_hz: textures per second.
        glow: how much it shines by itself, scaled by `Light.glow`.
        facing: 1: visible only from where the texture is not mirrored, -1: only from the other side; 0: from both.
        part: what it is a part of, for the thermal camera.
    """

    corner: Triple
    across: Triple
    down: Triple
    textures: tuple[Texture, ...]
    label: int | None
    shade: float = 1.0
    mover: Mover | None = None
    rate_hz: float = 0.0
    glow: float = 0.0
    facing: int = 0
    part: str = ""

    def vectors(self) -> Matrix:
        """Return corner, across and down, float64 [3, 3]."""
        return np.asarray([self.corner, self.across, self.down], np.float64)

    @property
    def nearest_z(self) -> float:
        """Return the smallest z of its corners at time 0, meters."""
        vectors = self.vectors()
        if self.mover is not None:
            origin, axes = self.mover.frame(0.0)
            vectors = vectors @ axes.T
            vectors[0] += origin
        (z, across, down) = vectors[:, 2]
        return float(z + min(0.0, across, down, across + down))


def upright(
    start: tuple[float, float], end: tuple[float, float], heights: tuple[float, float], texture: Texture, label: int
) -> Quad:
    """Return a vertical quad.

    Args:
        start: (x, z) of the texture's left edge.
        end: (x, z) of its right edge.
        heights: (bottom, top) above y = 0.
        texture: what it shows.
        label: class id.
    """
    bottom, top = heights
    across = (end[0] - start[0], 0.0, end[1] - start[1])
    return Quad((start[0], -top, start[1]), across, (0.0, top - bottom, 0.0), (texture,), label)


def flat(x: tuple[float, float], z: tuple[float, float], height: float, texture: Texture, label: int | None) -> Quad:
    """Return a horizontal quad; the texture's top edge lies at the far z."""
    return Quad((x[0], -height, z[1]), (x[1] - x[0], 0.0, 0.0), (0.0, 0.0, z[0] - z[1]), (texture,), label)


def carried(quads: Iterable[Quad], mover: Mover) -> list[Quad]:
    """Return quads in a mover's axes as they stand in the world, or carried by it if it moves."""
    if mover.moves:
        return [replace(quad, mover=mover) for quad in quads]
    origin, axes = mover.frame(0.0)
    placed = []
    for quad in quads:
        vectors = quad.vectors() @ axes.T
        vectors[0] += origin
        corner, across, down = (as_triple(vector) for vector in vectors)
        placed.append(replace(quad, corner=corner, across=across, down=down))
    return placed


def along_road(
    road: Road,
    along: tuple[float, float],
    across: tuple[float, float],
    heights: tuple[float, float],
    texture: Texture,
    label: int,
) -> Quad:
    """Return a vertical quad between two places on the road, its foot on the lower of the two."""
    first, last = (as_triple(road.point(*place)) for place in zip(along, across, strict=True))
    level, foot = -max(first[1], last[1]), -min(first[1], last[1])
    bounds = min(level, foot) + heights[0], max(level, foot) + heights[1]
    return upright((first[0], first[2]), (last[0], last[2]), bounds, texture, label)


def as_triple(vector: Matrix) -> Triple:
    """Return a vector [3] as a tuple."""
    x, y, z = vector.tolist()
    return x, y, z
