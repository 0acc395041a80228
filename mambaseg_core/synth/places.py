"""Kinds of place that a synthetic street runs through, and the road that each of them has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from mambaseg_core.synth.road import Road

Range = tuple[float, float]


@dataclass(frozen=True)
class Place:
    """A kind of place; ranges are (least, most), and a tuple of several numbers holds choices.

    Attributes:
        share: share of the drives.
        speed: meters per second.
        lanes: lanes in each direction.
        lane_m: width of a lane.
        parking_m: width of the parking lane or shoulder.
        median_m: width between the directions.
        verge_m: width of the grass beside the road.
        walk_m: width of the sidewalks.
        radius_m: the sharpest bend and the widest.
        houses: share of the lots that have a house.
        lot_m: width of a lot.
        tall_m: height of the houses.
        setback_m: distance from sidewalk to house.
        pitched: share of the houses with a pitched roof.
        bounded: share of the lots with a hedge, fence or wall in front.
        trees_m: distance from tree to tree on one side.
        people: people on each 100 m of a side.
        parked: share of the parking places that are taken.
        traffic: vehicles on each 100 m of a lane.
        two_wheelers: cyclists on each 100 m of a side.
        side_streets: chance of side streets.
        rail: chance of guard rails.
        lit: chance of street lamps.
    """

    share: float
    speed: Range
    lanes: tuple[int, ...]
    lane_m: Range
    parking_m: tuple[float, ...]
    median_m: tuple[float, ...]
    verge_m: tuple[float, ...]
    walk_m: tuple[float, ...]
    radius_m: Range
    houses: float
    lot_m: Range
    tall_m: Range
    setback_m: Range
    pitched: float
    bounded: float
    trees_m: Range
    people: float
    parked: float
    traffic: float
    two_wheelers: float
    side_streets: float
    rail: float = 0.0
    lit: float = 1.0


# fmt: off
PLACES: Final = {
    "narrow": Place(0.16, (3, 8), (1,), (2.3, 2.9), (0, 0, 1.9), (0,), (0,), (1.2, 1.8, 2.6), (40, 200),
                    0.92, (5, 12), (6, 16), (0, 1.0), 0.6, 0.2, (20, 60), 16, 0.6, 0.6, 2.0, 0.5),
    "street": Place(0.24, (5, 11), (1,), (2.8, 3.5), (0, 2.1, 2.1), (0,), (0, 0, 1.5), (2.0, 3.0, 4.5), (60, 400),
                    0.85, (7, 18), (7, 20), (0, 2.5), 0.4, 0.5, (9, 30), 12, 0.6, 1.3, 1.2, 0.6),
    "avenue": Place(0.14, (7, 15), (2, 2, 3), (2.9, 3.5), (0, 2.2), (0, 0, 2.0, 4.0), (0, 2.0), (3.0, 5.0), (100, 800),
                    0.8, (12, 30), (12, 30), (0, 8), 0.15, 0.15, (8, 18), 10, 0.5, 2.2, 0.8, 0.6),
    "suburb": Place(0.18, (4, 12), (1,), (2.6, 3.4), (0, 0, 2.0), (0,), (0, 1.0, 2.0), (0, 1.8, 2.6), (40, 250),
                    0.75, (10, 20), (4.5, 8), (3, 10), 0.9, 0.85, (8, 30), 5, 0.35, 0.7, 0.8, 0.5),
    "square": Place(0.08, (3, 9), (1, 2), (2.8, 3.4), (0, 2.1), (0,), (0,), (8.0, 14.0, 22.0), (60, 500),
                    0.9, (10, 30), (9, 24), (0, 4), 0.3, 0.05, (10, 30), 26, 0.4, 1.2, 2.0, 0.7),
    "country": Place(0.11, (9, 22), (1,), (2.7, 3.6), (0, 0.5), (0,), (0,), (0, 0, 1.5), (60, 500),
                     0.10, (12, 30), (4, 8), (4, 25), 0.95, 0.15, (6, 60), 0.7, 0.03, 0.6, 0.6, 0.2, 0.3, 0.15),
    "motorway": Place(0.09, (18, 32), (2, 3, 3, 4), (3.4, 3.75), (1.0, 3.0), (2.0, 4.0, 10.0), (0,), (0,), (400, 2000),
                      0.04, (20, 60), (8, 25), (15, 50), 0.2, 0.2, (8, 80), 0, 0, 1.6, 0, 0, 0.85, 0.4),
}
# fmt: on


def draw_road(place: str, rng: np.random.Generator, driven_m: float) -> Road:
    """Draw a road of a kind of place for a drive of so many meters."""
    kind = PLACES[place]
    side_streets = rng.random() < kind.side_streets
    return Road(
        place=place,
        lanes=int(rng.choice(kind.lanes)),
        lane_m=float(rng.uniform(*kind.lane_m)),
        parking_m=float(rng.choice(kind.parking_m)),
        median_m=float(rng.choice(kind.median_m)),
        verge_m=float(rng.choice(kind.verge_m)),
        walk_m=float(rng.choice(kind.walk_m)),
        bends=_draw_bends(kind, rng),
        grade=float(rng.normal(0, 0.02)),
        bow=float(rng.choice((-1, 0, 1), p=(0.3, 0.4, 0.3)) * rng.uniform(0.1, 1.0) * min(2e-3, 0.1 / (driven_m + 30))),
        keep_left=bool(rng.random() < 0.4),
        side_half_m=float(rng.uniform(2.5, 5.5)) if side_streets else 0.0,
        side_signs=((-1, 1), (-1,), (1,))[int(rng.integers(3))] if side_streets else (),
        lit=bool(rng.random() < kind.lit),
        crossing_at_m=float(rng.uniform(8, 80)),
        crossing_each_m=float(rng.uniform(60, 140)),
    )


def _draw_bends(kind: Place, rng: np.random.Generator) -> tuple[tuple[float, float, float], ...]:
    """Draw none in some roads, else a bend of a radius within the kind's range."""
    if rng.random() < 0.3:
        return ()
    number = 2 * np.pi / float(rng.uniform(140, 320))
    radius = float(np.exp(rng.uniform(*np.log(kind.radius_m))))
    amplitude = min(1 / (radius * number**2), 0.5 / number)  # a heading of at most 27 degrees
    return ((amplitude, number, float(rng.uniform(0, 2 * np.pi))),)
