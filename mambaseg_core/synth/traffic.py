"""Vehicles and people in the synthetic street: parked and moving cars, cyclists, people on sidewalk and road."""

from __future__ import annotations

import numpy as np

from mambaseg_core.synth import people, vehicles
from mambaseg_core.synth.quads import Mover, flat
from mambaseg_core.synth.street import Street
from mambaseg_core.synth.vehicle_shape import draw_shape

_NEAR_M = 5.0  # nobody in our own lane is nearer


class Traffic:
    """Builds the movers of a street.

    Args:
        street: the street.
    """

    def __init__(self, street: Street) -> None:
        rng = street.rng
        self._street = street
        shapes = [draw_shape(rng) for _ in range(6)]
        self._moving = [vehicles.draw_vehicle(rng, shape) for shape in shapes]
        parked = 5 if street.place.parked else 0
        self._parked = [vehicles.draw_vehicle(rng, draw_shape(rng, parked=True)) for _ in range(parked)]
        self._people = [people.draw_person(rng) for _ in range(5 if street.place.people else 0)]

    def parked(self, side: int) -> None:
        """Park cars along one side, none in a crossing."""
        street, road, rng = self._street, self._street.road, self._street.rng
        if not self._parked or rng.random() < 0.25:
            return
        on_walk = not road.parking_m
        if on_walk and rng.random() < 0.6:
            return
        across = road.half_m - (0.3 if on_walk else road.parking_m / 2)
        own_lane = side == road.own_side and on_walk
        along = street.start_m
        while along < street.end_m:
            vehicle = self._parked[int(rng.integers(len(self._parked)))]
            length = vehicle.shape.length
            clear = street.is_free(along, side, 2.0) and street.is_free(along + length, side, 2.0)
            if rng.random() < street.place.parked and clear and not (own_lane and -8 < along < 6):
                ahead = (side == road.own_side) == (rng.random() < 0.92)
                self._vehicle(vehicle, along, side * across + float(rng.normal(0, 0.08)), 0.0, ahead=ahead)
            along += length + float(rng.uniform(0.6, 3.0))

    def lanes(self) -> None:
        """Fill the lanes of both directions."""
        road, rng = self._street.road, self._street.rng
        busy = float(rng.choice([0.2, 1.0, 2.0]))
        for own in (True, False):
            for lane in range(road.lanes):
                self._lane(lane, busy, own=own)

    def _lane(self, lane: int, busy: float, *, own: bool) -> None:
        street, rng = self._street, self._street.rng
        speed = float(rng.uniform(*street.place.speed))
        ours = own and lane == street.lane
        if ours:
            speed = street.speed + float(rng.uniform(0, 2)) * (rng.random() < 0.7)
        elif rng.random() < 0.15:
            speed = 0.0  # a queue
        distance_m = 100 / (street.place.traffic * busy)
        end = street.end_m + (0 if own else speed * street.seconds)
        along = float(rng.uniform(_NEAR_M, _NEAR_M + distance_m)) if ours else street.start_m
        while along < end:
            vehicle = self._moving[int(rng.integers(len(self._moving)))]
            across = street.road.lane_across(lane, own=own) + float(rng.normal(0, 0.15))
            place = along if own else along + vehicle.shape.length
            self._vehicle(vehicle, place, across, speed if own else -speed, ahead=own)
            along += vehicle.shape.length + 3.0 + float(rng.exponential(distance_m))

    def cyclists(self, side: int) -> None:
        """Add cyclists along one side of the road, and some who cross it."""
        street, road, rng = self._street, self._street.road, self._street.rng
        own = side == road.own_side
        for along in self._places(street.place.two_wheelers):
            if own and along < _NEAR_M + 2:
                continue
            across = side * (road.lanes_half_m - float(rng.uniform(0.3, 0.8)))
            speed = float(rng.uniform(2.5, 6.5)) * (1 if own else -1)
            quads = people.cyclist_quads(rng, aside=False, leftward=False)
            self._street.put(quads, Mover(road, along, across, speed))
        if rng.random() < 0.1 * min(street.place.two_wheelers, 2):
            quads = people.cyclist_quads(rng, aside=True, leftward=side > 0)
            along, speed = float(rng.uniform(9, 40)) + street.speed * street.seconds, float(rng.uniform(2, 5))
            start = side * float(rng.uniform(-2, road.half_m)) + side * speed * street.seconds / 2
            self._street.put(quads, Mover(road, along, start, aside=-side * speed))

    def walkers(self, side: int) -> None:
        """Add people on one sidewalk, and some who cross the road."""
        street, road, rng = self._street, self._street.road, self._street.rng
        density = street.place.people * float(rng.choice([0.15, 1.0, 2.0], p=[0.4, 0.4, 0.2]))
        walk_m = max(road.walk_m, 0.8)
        for along in self._places(density):
            across = side * (road.walk_from_m + float(rng.uniform(0.4, max(walk_m - 0.3, 0.5))))
            speed = float(rng.choice([-1, 1]) * rng.uniform(0.8, 1.7)) if rng.random() < 0.75 else 0.0
            self._person(Mover(road, along, across, speed))
            if rng.random() < 0.3:
                self._person(Mover(road, along + 0.1, across + 0.6, speed))
        for along in self._places(0.12 * density, ahead_m=8 + street.speed * street.seconds):
            speed = -side * float(rng.uniform(0.9, 1.8))
            start = side * float(rng.uniform(-road.half_m, road.half_m)) - speed * street.seconds / 2
            self._person(Mover(road, along, start, aside=speed))
        crossing = street.next_crossing(6.0)
        while crossing < street.end_m and density > 1:
            arrival = (crossing - 16) / max(street.speed, 1.0)  # seconds until the vehicle is 16 m away
            speed = -side * float(rng.uniform(1.0, 1.6))
            along = crossing - road.side_half_m - 2 + float(rng.uniform(-0.7, 0.7))
            self._person(Mover(road, along, side * float(rng.uniform(0, road.half_m)) - speed * arrival, aside=speed))
            crossing += road.crossing_each_m

    def _places(self, per_100_m: float, *, ahead_m: float | None = None) -> list[float]:
        street = self._street
        start = 1.5 if ahead_m is None else ahead_m
        count = int(street.rng.poisson(per_100_m * max(0.0, street.end_m - start) / 100))
        return sorted(street.rng.uniform(start, street.end_m, count).tolist()) if count else []

    def _person(self, mover: Mover) -> None:
        street = self._street
        person = self._people[int(street.rng.integers(len(self._people)))]
        aside = mover.aside != 0 or bool(street.rng.random() < 0.25 and not mover.moves)
        leftward = mover.aside < 0 or bool(street.rng.random() < 0.5)
        speed = mover.speed or mover.aside
        figure = people.standing_quad(person, aside=aside, leftward=leftward, speed=speed)
        under = flat((-0.3, 0.3), (-0.2, 0.3), 0.0, street.black, None)
        street.put([vehicles.darker(under, 0.6), figure], mover)

    def _vehicle(self, vehicle: vehicles.Vehicle, along: float, across: float, speed: float, *, ahead: bool) -> None:
        street = self._street
        mover = Mover(street.road, along, across, speed, turned=0.0 if ahead else float(np.pi))
        lit = vehicles.lit(vehicle, street.weather, street.road.angles(along)[0] + mover.turned)
        street.put([*vehicles.shadow_under(vehicle.shape, street.black), *lit], mover)
