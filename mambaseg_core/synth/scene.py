"""The synthetic street: a road of some kind of place, houses, plants, vehicles and people; a tunnel in some conditions.

The class ids are those of DSEC-Semantic's 11 classes (`labels.DSEC_11`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mambaseg_core.synth.conditions import Conditions
from mambaseg_core.synth.furniture import concrete
from mambaseg_core.synth.ground import Ground
from mambaseg_core.synth.houses import Houses, lit_windows
from mambaseg_core.synth.quads import CAR, PERSON, POLE, SIGN, WALL, Quad, as_triple
from mambaseg_core.synth.roadside import Roadside
from mambaseg_core.synth.sky import Weather, draw_weather
from mambaseg_core.synth.street import Street
from mambaseg_core.synth.textures import Texture, plain
from mambaseg_core.synth.traffic import Traffic

_TUNNEL_UP_M = 5.6
_TUNNEL_LABELS = (PERSON, POLE, CAR, SIGN, None)  # labels that may be inside
_DARK = 0.5  # ambient light below which the sun casts no shadow


@dataclass(frozen=True, eq=False)
class Scene:
    """A street long enough for a drive: its quads and its ground."""

    quads: tuple[Quad, ...]
    ground: Ground


def build_scene(rng: np.random.Generator, seconds: float, conditions: Conditions) -> Scene:
    """Lay out a street for a drive of so many seconds."""
    light = conditions.light
    street = Street(rng, seconds, conditions, _weather(rng, conditions))
    white = plain(rng, (0.95, 0.93, 0.85), contrast=0.02)
    houses, roadside, traffic = Houses(street), Roadside(street, white), Traffic(street)
    for side in (-1, 1):
        houses.along(side)
        houses.side_streets(side)
        roadside.along(side)
        traffic.parked(side)
        traffic.cyclists(side)
        traffic.walkers(side)
    houses.end()
    traffic.lanes()
    ground = Ground(rng, street.road, street.weather, shadows=street.shadows, town=0.7 * street.place.houses)
    if light.glow:
        lit_windows(street, white)
    if light.tunnel_end_m is not None:
        _tunnel(street, light.tunnel_end_m, white)
    return Scene(tuple(street.quads), ground)


def _weather(rng: np.random.Generator, conditions: Conditions) -> Weather:
    """Draw the weather: an overcast sky in rain; no sun in the dark."""
    weather, light = draw_weather(rng, overcast=conditions.dirt.drops > 0), conditions.light
    if light.ambient < _DARK:
        return replace(weather, contrast=0.0, warm=(0.0, 0.0, 0.0))
    return weather


def _tunnel(street: Street, end_m: float, white: Texture) -> None:
    """Add walls, a ceiling and lamps up to `end_m`; keep inside only what belongs on a road."""
    road, panels = street.road, concrete(street.rng, width_m=12, height_m=6)
    half, top = road.street_half_m + 0.4, _TUNNEL_UP_M
    street.quads = [quad for quad in street.quads if quad.nearest_z > end_m or quad.label in _TUNNEL_LABELS]
    for start in np.arange(end_m - 6, -24, -6).tolist():
        along = start, start + 6
        for side in (-1, 1):
            street.wall(along, (side * half,) * 2, (0, top), panels, WALL, outward=-side)
        _ceiling(street, along, (-half, half), top, panels, 0.0)
        _ceiling(street, (start + 2, start + 4), (-0.2, 0.2), top - 0.02, white, 1.0)
    for side in (-1, 1):  # the hill above and beside the portal
        street.wall((end_m,) * 2, (side * half, side * (half + 14)), (0, 12), panels, WALL)
    street.wall((end_m,) * 2, (-half, half), (top, 12), panels, WALL)


def _ceiling(
    street: Street,
    along: tuple[float, float],
    across: tuple[float, float],
    up: float,
    texture: Texture,
    glow: float,
) -> None:
    corner = street.road.point(along[0], across[0], up)
    sides = street.road.point(along[0], across[1], up) - corner, street.road.point(along[1], across[0], up) - corner
    first, second, third = (as_triple(vector) for vector in (corner, *sides))
    street.add(Quad(first, second, third, (texture,), WALL, glow=glow))
