"""Houses along the synthetic street, with gardens, hedges, fences and walls between them."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np

from mambaseg_core.synth import facades, furniture, plants
from mambaseg_core.synth.facades import HousePaint
from mambaseg_core.synth.pinhole import Matrix
from mambaseg_core.synth.quads import BUILDING, FENCE, VEGETATION, WALL, Quad, as_triple
from mambaseg_core.synth.street import Street
from mambaseg_core.synth.textures import Texture

_PAINTS = 7


class Houses:
    """Builds the houses of a street.

    Args:
        street: the street.
    """

    def __init__(self, street: Street) -> None:
        rng, place = street.rng, street.place
        self._street = street
        count = _PAINTS if place.houses > 0.3 else 2
        self._paints = [
            facades.house(
                rng,
                width_m=float(rng.uniform(*place.lot_m)),
                eaves_m=float(rng.uniform(*place.tall_m)),
                pitched=bool(rng.random() < place.pitched),
            )
            for _ in range(count)
        ]
        self._bounds = [self._bound(label) for label in (VEGETATION, FENCE, WALL)]
        self._trees = plants.draw_trees(rng, 2)
        self._bushes = [plants.bush(rng, plants.leaf_color(rng)) for _ in range(2)]
        self._next_bound = int(rng.integers(3))

    def _bound(self, label: int) -> tuple[float, Texture, int]:
        rng = self._street.rng
        height = float(rng.uniform(0.7, 2.2))
        if label == VEGETATION:
            return height, plants.hedge(rng, plants.leaf_color(rng), width_m=6, height_m=height), label
        paint = furniture.fence if label == FENCE else furniture.wall
        return height, paint(rng, width_m=6, height_m=height), label

    def along(self, side: int) -> None:
        """Build one side of the street."""
        street, place = self._street, self._street.place
        along = street.start_m - float(street.rng.uniform(0, 10))
        while along < street.end_m:
            width = float(street.rng.uniform(*place.lot_m))
            middle = along + width / 2
            if not street.is_free(middle, side, width / 2):
                along += 2.0
                continue
            setback = float(street.rng.uniform(*place.setback_m))
            is_built = street.rng.random() < place.houses
            if is_built:
                front = street.road.street_half_m + setback
                self._house(side, (along, along + width), front)
            if setback > 1.5 and street.rng.random() < 0.8:
                self._garden(side, (along, along + width), setback, with_tree=not is_built)
            if (setback > 1.5 or not is_built) and street.rng.random() < place.bounded:
                self._boundary(side, (along, along + width))
            along += width + (0.0 if street.rng.random() < 0.6 else float(street.rng.uniform(1, 5)))

    def _house(self, side: int, along: tuple[float, float], front: float) -> None:
        street = self._street
        paint = self._paints[int(street.rng.integers(len(self._paints)))]
        depth, eaves = float(street.rng.uniform(7, 14)), paint.eaves_m
        first, back = side * front, side * (front + depth)
        street.wall(along, (first, first), (0, eaves), paint.front, BUILDING, part="front", outward=-side)
        street.shadows.box(along, (first, back), eaves + 0.5 * paint.roof_m)
        street.wall((along[0],) * 2, (first, back), (0, eaves), paint.side, BUILDING, part="side", outward=side)
        if paint.roof_m:
            self._roof(side, along, (front, front + depth), paint)

    def _roof(self, side: int, along: tuple[float, float], across: tuple[float, float], paint: HousePaint) -> None:
        street, road = self._street, self._street.road
        eaves, top = paint.eaves_m, paint.eaves_m + paint.roof_m
        middle = sum(across) / 2
        base = road.point(along[0], side * across[0], eaves - 0.02)
        if street.rng.random() < 0.65:  # the ridge lies along the street
            ridge, last = road.point(along[0], side * middle, top), road.point(along[1], side * middle, top)
            self._slope(ridge, last - ridge, base - ridge, paint)
            street.wall(
                (along[0],) * 2, (side * across[0], side * across[1]), (eaves, top), paint.gable, BUILDING, part="side"
            )
            return
        center = sum(along) / 2
        street.wall(along, (side * across[0],) * 2, (eaves, top), paint.gable, BUILDING, part="front", outward=-side)
        ridge, last = road.point(center, side * across[0], top), road.point(center, side * across[1], top)
        self._slope(ridge, last - ridge, base - ridge, paint)

    def _slope(self, corner: Matrix, across: Matrix, down: Matrix, paint: HousePaint) -> None:
        first, second, third = (as_triple(vector) for vector in (corner, across, down))
        self._street.add(Quad(first, second, third, (paint.roof,), BUILDING, part="roof"))

    def _garden(self, side: int, along: tuple[float, float], setback: float, *, with_tree: bool) -> None:
        street, rng = self._street, self._street.rng
        edge = street.road.street_half_m
        for _ in range(int(rng.integers(0, 3))):
            bush = self._bushes[int(rng.integers(len(self._bushes)))]
            street.plant(bush, float(rng.uniform(*along)), side * (edge + float(rng.uniform(0.8, setback + 0.5))))
        if with_tree or rng.random() < 0.35:
            tree = self._trees[int(rng.integers(len(self._trees)))]
            reach = 8.0 if with_tree else setback
            place = side * (edge + float(rng.uniform(1.0, reach + 0.5)))
            street.plant(tree, float(rng.uniform(*along)), place, float(rng.uniform(0.6, 1.0)))

    def _boundary(self, side: int, along: tuple[float, float]) -> None:
        street = self._street
        if street.rng.random() < 0.5:
            self._next_bound = (self._next_bound + 1) % 3
        height, texture, label = self._bounds[self._next_bound]
        across = side * (street.road.street_half_m + 0.1)
        parts = max(1, round((along[1] - along[0]) / 8))
        edges = np.linspace(*along, parts + 1).tolist()
        for first, last in pairwise(edges):
            street.wall((first, last), (across, across), (0, height), texture, label, outward=-side)

    def side_streets(self, side: int) -> None:
        """Build the fronts along the far side of each side street."""
        street, road = self._street, self._street.road
        if not road.side_half_m or side not in road.side_signs or street.place.houses < 0.3:
            return
        crossing = street.next_crossing(street.start_m)
        while crossing < street.end_m:
            along = crossing + road.side_half_m + road.walk_m + 0.3
            across = road.street_half_m + float(street.rng.uniform(8, 16))
            while across < 70:
                width = float(street.rng.uniform(*street.place.lot_m))
                paint = self._paints[int(street.rng.integers(len(self._paints)))]
                edges = side * across, side * (across + width)
                if street.rng.random() < street.place.houses:
                    self._street.wall((along,) * 2, edges, (0, paint.eaves_m), paint.front, BUILDING, part="front")
                across += width
            crossing += road.crossing_each_m

    def end(self) -> None:
        """Build the houses that the street runs up to, in some streets."""
        street = self._street
        if street.rng.random() > street.place.houses - 0.25:
            return
        across = -40.0
        while across < 40:
            width = float(street.rng.uniform(*street.place.lot_m))
            paint = self._paints[int(street.rng.integers(len(self._paints)))]
            street.wall(
                (street.end_m,) * 2, (across, across + width), (0, paint.eaves_m), paint.front, BUILDING, part="side"
            )
            across += width


def lit_windows(street: Street, white: Texture) -> None:
    """Add lit windows to some of the fronts."""
    rng = street.rng
    for front in [quad for quad in street.quads if quad.part == "front"]:
        vectors = front.vectors()
        width, height = np.linalg.norm(vectors[1]), float(vectors[2][1])
        for _ in range(int(rng.integers(0, 5))):
            u, v = float(rng.uniform(0.05, 0.85)), float(rng.uniform(0.1, 0.8))
            toward = np.asarray([-np.sign(vectors[0][0]) * 0.02, 0, -0.02])
            corner = vectors[0] + u * vectors[1] + v * vectors[2] + toward
            x, y, z = corner.tolist()
            ax, ay, az = (vectors[1] * min(1.0, width) / width).tolist()
            window = replace(front, corner=(x, y, z), across=(ax, ay, az), down=(0.0, min(1.3, 0.2 * height), 0.0))
            street.add(replace(window, textures=(white,), glow=0.06, part="lit", shade=1.0))
