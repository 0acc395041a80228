"""Vehicles of the synthetic street: hatchbacks, saloons, vans, lorries and buses as boxes of textured quads.

A vehicle stands in its own axes: x right, y down, z ahead, its tail at z = 0, its wheels at y = 0.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from mambaseg_core.synth.quads import CAR, Quad, flat, upright
from mambaseg_core.synth.sky import Weather
from mambaseg_core.synth.textures import Color, Texture, any_color, plain, varied
from mambaseg_core.synth.vehicle_paint import paint_nose, paint_screen, paint_side, paint_tail
from mambaseg_core.synth.vehicle_shape import Shape

_COMMON: Final[tuple[Color, ...]] = ((0.82, 0.83, 0.84), (0.10, 0.10, 0.11), (0.55, 0.56, 0.58), (0.30, 0.31, 0.33))


@dataclass(frozen=True, eq=False)
class Vehicle:
    """A vehicle's quads in its own axes."""

    shape: Shape
    quads: tuple[Quad, ...]


def draw_vehicle(rng: np.random.Generator, shape: Shape) -> Vehicle:
    """Paint a vehicle."""
    color = varied(rng, _COMMON[int(rng.integers(4))], 0.1) if rng.random() < 0.65 else any_color(rng, (0.1, 0.8), 0.7)
    if shape.kind in ("van", "lorry", "bus") and rng.random() < 0.4:
        color = (0.85, 0.85, 0.84)
    half, top, up = shape.width / 2, shape.height, shape.bonnet_up
    nose_z, screen_z = shape.length, shape.length - shape.bonnet_m
    roof_z = screen_z - shape.screen_m
    saloon = shape.kind == "saloon"
    tail_up, tail_z = (1.0, 0.55) if saloon else (top, 0.0)
    roof_from = tail_z + (0.55 if saloon else 0.12)
    side = paint_side(rng, shape, color, tail_up=tail_up, tail_m=tail_z)
    roof = plain(rng, color, contrast=0.02)
    quads = [
        _part(upright((-half, 0.0), (half, 0.0), (0.0, tail_up), paint_tail(rng, shape, color, tail_up), CAR), "rear"),
        _part(upright((half, nose_z), (-half, nose_z), (0.0, up), paint_nose(rng, shape, color), CAR), "nose"),
        _part(upright((half, 0.0), (half, nose_z), (0.0, top), side, CAR), "side"),
        replace(_part(upright((-half, 0.0), (-half, nose_z), (0.0, top), side, CAR), "side"), facing=-1),
        _screen(half, (screen_z, up), (roof_z, top), paint_screen(rng, shape, color)),
        _part(flat((-half, half), (screen_z, nose_z), up, roof, CAR), "bonnet", shade=1.1, facing=0),
        _part(flat((-half, half), (roof_from, roof_z), top, roof, CAR), "roof", shade=1.15, facing=0),
    ]
    if saloon:
        quads.append(_screen(-half, (tail_z, tail_up), (roof_from, top), paint_screen(rng, shape, color)))
        quads.append(_part(flat((-half, half), (0.0, tail_z), tail_up, roof, CAR), "bonnet", shade=1.1, facing=0))
    quads += _lamps(rng, shape, tail_up)
    return Vehicle(shape, tuple(quads))


def shadow_under(shape: Shape, black: Texture) -> list[Quad]:
    """Return the shadows below a vehicle: one soft, one dark."""
    half = shape.width / 2
    soft = flat((-half - 0.25, half + 0.25), (-0.3, shape.length + 0.3), 0.0, black, None)
    dark = flat((-half, half), (0.0, shape.length), 0.0, black, None)
    return [replace(soft, shade=0.65), replace(dark, shade=0.5)]


def _lamps(rng: np.random.Generator, shape: Shape, tail_up: float) -> list[Quad]:
    """Return lamps that shine in the dark, a finger in front of nose and tail."""
    half = shape.width / 2
    red, white = plain(rng, (0.80, 0.06, 0.05), contrast=0.02), plain(rng, (0.95, 0.93, 0.85), contrast=0.02)
    high = 0.8 if shape.kind != "lorry" else 1.0
    lamps = []
    for left in (-half + 0.06, half - 0.34):
        rear = upright((left, -0.01), (left + 0.28, -0.01), (high - 0.1, min(high + 0.06, tail_up)), red, CAR)
        ahead = shape.length + 0.01
        front = upright((left + 0.28, ahead), (left, ahead), (0.6, 0.76), white, CAR)
        lamps += [_part(rear, "lamp", glow=0.15), _part(front, "lamp", glow=1.2)]
    return lamps


def _screen(half: float, low: tuple[float, float], high: tuple[float, float], texture: Texture) -> Quad:
    """Return a sloped window from (z, height) `low` to `high`; `half` is at its left for who looks at it."""
    down = (0.0, high[1] - low[1], low[0] - high[0])
    return _part(Quad((half, -high[1], high[0]), (-2 * half, 0.0, 0.0), down, (texture,), CAR), "screen")


def _part(quad: Quad, part: str, *, shade: float = 1.0, facing: int = 1, glow: float = 0.0) -> Quad:
    return replace(quad, part=part, shade=shade, facing=facing, glow=glow)


def lit(vehicle: Vehicle, weather: Weather, heading: float) -> list[Quad]:
    """Return a vehicle's quads with the light that the sun throws on each face."""
    quads = []
    for quad in vehicle.quads:
        vectors = quad.vectors()
        normal = -(quad.facing or 1) * np.cross(vectors[1], vectors[2])
        x, y, z = (normal / np.linalg.norm(normal)).tolist()
        if quad.facing == 0:
            y = -abs(y)  # roofs face up
        cos, sin = float(np.cos(heading)), float(np.sin(heading))
        quads.append(darker(quad, weather.shade((cos * x + sin * z, y, cos * z - sin * x))))
    return quads


def darker(quad: Quad, factor: float) -> Quad:
    """Return a quad with its shade multiplied."""
    return replace(quad, shade=quad.shade * factor)
