"""What stands beside the synthetic road: trees, lamps, masts, signs, traffic lights, bollards and guard rails."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mambaseg_core.synth import furniture, plants
from mambaseg_core.synth.light import LAMPS_AT_M, LAMPS_M
from mambaseg_core.synth.quads import FENCE, POLE, SIGN, VEGETATION, WALL, upright
from mambaseg_core.synth.street import Street
from mambaseg_core.synth.textures import Texture, plain, varied


class Roadside:
    """Builds what stands beside the road.

    Args:
        street: the street.
        white: texture of lamps.
    """

    def __init__(self, street: Street, white: Texture) -> None:
        rng = street.rng
        self._street, self._white = street, white
        self._metal = plain(rng, varied(rng, (0.30, 0.32, 0.33), 0.35))
        self._wood = plain(rng, varied(rng, (0.32, 0.25, 0.19), 0.2))
        kinds = [*furniture.SIGNS[:7], *(["direction"] * 2 if street.road.half_m > 6 else [])]
        self._signs = [furniture.sign(rng, kinds[int(rng.integers(len(kinds)))]) for _ in range(4)]
        self._light = furniture.sign(rng, "light")
        self._trees = plants.draw_trees(rng, 5)
        self._bushes = [plants.bush(rng, plants.leaf_color(rng)) for _ in range(3)]
        self._lamp_m = float(rng.uniform(4.5, 9.0))
        self._arm_m = float(rng.choice([0.0, 0.8, 1.8]))
        self._sparse = float(np.exp(rng.uniform(0, 1.2)))

    def along(self, side: int) -> None:
        """Build one side of the road."""
        street = self._street
        edge = street.road.half_m + 0.6
        if street.road.lit:
            for along in np.arange(LAMPS_AT_M[side] - LAMPS_M, street.end_m, LAMPS_M).tolist():
                self._lamp(along, side * edge, side)
        self._row_of_trees(side)
        self._each(side, 14.0 * self._sparse, lambda along: self._sign(along, side * (edge + 0.3)))
        if street.rng.random() < 0.35:
            height = float(street.rng.uniform(6, 10))
            far = side * (street.road.street_half_m + float(street.rng.uniform(-0.3, 1.0)))
            self._each(side, 30.0, lambda along: self._mast(along, far, height, 0.13, self._wood))
        if street.road.walk_m and street.rng.random() < 0.3:
            high = float(street.rng.uniform(0.7, 1.1))
            self._each(
                side, 2.5 * self._sparse, lambda along: self._mast(along, side * (edge - 0.2), high, 0.06, self._metal)
            )
        self._rails(side)
        if street.road.side_half_m and street.rng.random() < 0.5:
            crossing = street.next_crossing(street.start_m)
            while crossing < street.end_m:
                near = crossing - street.road.side_half_m - 1.5
                self._mast(near, side * edge, 3.2, 0.07, self._metal)
                self._board(near - 0.03, side * edge, self._light, 2.2)
                crossing += street.road.crossing_each_m

    def _each(self, side: int, distance_m: float, build: object) -> None:
        assert callable(build)
        street = self._street
        along = street.start_m + float(street.rng.uniform(0, distance_m))
        while along < street.end_m:
            if street.is_free(along, side):
                build(along)
            along += distance_m * float(street.rng.uniform(0.7, 1.3))

    def _row_of_trees(self, side: int) -> None:
        street, road, rng = self._street, self._street.road, self._street.rng
        distance_m = float(rng.uniform(*street.place.trees_m))
        wild = not road.walk_m
        kind = int(rng.integers(len(self._trees)))
        mixed, size = wild or rng.random() < 0.4, float(rng.uniform(0.6, 1.1))

        def build(along: float) -> None:
            plant = self._trees[int(rng.integers(len(self._trees))) if mixed else kind]
            away = road.half_m + (road.verge_m / 2 if road.verge_m else 1.0)
            if wild:
                away = road.half_m + float(rng.uniform(2.5, 16))
                if rng.random() < 0.6:
                    street.plant(
                        self._bushes[int(rng.integers(3))], along + 1, side * (away - float(rng.uniform(0, 2)))
                    )
            street.plant(plant, along, side * away, size * float(rng.uniform(0.8, 1.2)))

        if wild or rng.random() < 0.7:
            self._each(side, distance_m, build)

    def _lamp(self, along: float, across: float, side: int) -> None:
        street, high, arm = self._street, self._lamp_m, -side * self._arm_m
        self._mast(along, across, high, 0.08, self._metal)
        parts = []
        if arm:
            parts.append(upright((min(arm, 0.0), 0.0), (max(arm, 0.0), 0.0), (high - 0.12, high), self._metal, POLE))
        wide = 0.3 if arm else 0.2
        head = upright((arm - wide, -0.01), (arm + wide, -0.01), (high - 0.2, high + 0.05), self._white, POLE)
        parts.append(replace(head, glow=1.5))
        street.put(parts, street.at(along, across))

    def _mast(self, along: float, across: float, high: float, half: float, texture: Texture) -> None:
        quad = upright((-half, 0.0), (half, 0.0), (-0.1, high), texture, POLE)
        shade = float(self._street.rng.uniform(0.7, 1.2))
        self._street.put([replace(quad, shade=shade)], self._street.at(along, across))

    def _sign(self, along: float, across: float) -> None:
        chosen = self._signs[int(self._street.rng.integers(len(self._signs)))]
        above = float(self._street.rng.uniform(1.9, 2.5))
        if chosen[1] > 1.2:
            above, across = above + 0.6, across + float(np.sign(across)) * chosen[1] / 2
        self._mast(along, across, above + 0.1, 0.045, self._metal)
        self._board(along - 0.02, across, chosen, above)

    def _board(self, along: float, across: float, sign: tuple[Texture, float, float], above: float) -> None:
        texture, wide, high = sign
        quad = upright((-wide / 2, 0.0), (wide / 2, 0.0), (above, above + high), texture, SIGN)
        shade = float(self._street.rng.uniform(0.8, 1.1))
        turned = float(self._street.rng.normal(0, 0.15))
        self._street.put([replace(quad, shade=shade)], self._street.at(along, across, turned))

    def _rails(self, side: int) -> None:
        street, road, rng = self._street, self._street.road, self._street.rng
        if rng.random() < street.place.rail:
            rail = furniture.rail(rng, width_m=8)
            self._line(side * (road.half_m + 0.4), 0.8, rail, FENCE)
            if road.median_m and side > 0:
                self._line(0.0, 0.8, rail, FENCE)
        if road.walk_m and rng.random() < 0.12:
            height = float(rng.uniform(0.8, 1.2))
            self._line(side * (road.half_m + 0.3), height, furniture.fence(rng, width_m=8, height_m=height), FENCE)
        if road.place == "motorway" and rng.random() < 0.3:
            height = float(rng.uniform(2.5, 5.0))
            self._line(side * (road.half_m + 3.5), height, furniture.concrete(rng, width_m=8, height_m=height), WALL)
        elif not road.walk_m and rng.random() < 0.4:
            texture = plants.hedge(rng, plants.leaf_color(rng), width_m=8, height_m=2.0)
            self._line(side * (road.half_m + float(rng.uniform(1, 6))), float(rng.uniform(1, 3)), texture, VEGETATION)

    def _line(self, across: float, height: float, texture: Texture, label: int) -> None:
        street = self._street
        for along in np.arange(street.start_m, street.end_m + 20, 8.0).tolist():
            side = 1 if across >= 0 else -1
            if street.is_free(along + 4, side, 4.0):
                street.wall((along, along + 8), (across, across), (-0.2, height), texture, label, outward=-side)
