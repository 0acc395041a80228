"""Colors of the synthetic ground: asphalt from dark to bleached, sidewalks of any kind, grass by season."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mambaseg_core.synth.markings import Paint
from mambaseg_core.synth.places import PLACES
from mambaseg_core.synth.quads import ROAD, SIDEWALK, VEGETATION
from mambaseg_core.synth.road import Road
from mambaseg_core.synth.textures import Color

_SLABS: tuple[Color, ...] = (
    (0.59, 0.55, 0.50),
    (0.62, 0.61, 0.59),
    (0.50, 0.40, 0.34),
    (0.42, 0.42, 0.43),
    (0.55, 0.47, 0.38),
    (0.70, 0.67, 0.60),
)
_GRASS: tuple[Color, ...] = ((0.26, 0.38, 0.14), (0.36, 0.42, 0.18), (0.50, 0.45, 0.27), (0.20, 0.28, 0.12))


@dataclass(frozen=True)
class Surface:
    """One kind of ground: class id, color, and the relative depth of grain, stains and joints."""

    label: int
    color: Color
    grain: float
    stains: float
    joints: float = 0.0


@dataclass(frozen=True)
class Surfaces:
    """Surfaces of a street.

    Attributes:
        zones: median, road, verge, sidewalk and what lies beyond.
        paint: markings on the road.
        curb: color of the curb.
        curb_cover: how clearly it shows, 0..1.
        joint_m: distance between the sidewalk's joints.
    """

    zones: tuple[Surface, ...]
    paint: Paint
    curb: Color
    curb_cover: float
    joint_m: float

    @property
    def has_joints(self) -> bool:
        """Return whether joints show anywhere."""
        return any(zone.joints > 0 for zone in self.zones)


def draw_surfaces(rng: np.random.Generator, road: Road) -> Surfaces:
    """Draw the surfaces of a road."""
    asphalt = _varied(rng, (1.0, 1.0, 1.02), float(np.exp(rng.uniform(np.log(0.13), np.log(0.52)))), 0.025)
    alike = rng.random() < 0.35  # a sidewalk of asphalt, which only the curb tells from the road
    walk = _varied(rng, asphalt, float(rng.uniform(0.8, 1.35)), 0.02)
    if not alike:
        walk = _varied(rng, _SLABS[int(rng.integers(len(_SLABS)))], float(rng.uniform(0.7, 1.25)), 0.05)
    grass = _varied(rng, _GRASS[int(rng.integers(len(_GRASS)))], float(rng.uniform(0.7, 1.4)), 0.08)
    green = Surface(VEGETATION, grass, 0.25, 0.2)
    pavement = Surface(SIDEWALK, walk, 0.08, 0.07, 0.0 if alike else float(rng.uniform(0.05, 0.4)))
    track = Surface(ROAD, asphalt, float(rng.uniform(0.04, 0.13)), float(rng.uniform(0.03, 0.15)))
    paved = road.place in ("narrow", "square") or (road.place in ("street", "avenue") and rng.random() < 0.6)
    median = green if rng.random() < 0.6 else pavement
    return Surfaces(
        (median, track, green, pavement, pavement if paved else green),
        _draw_paint(rng, road),
        _varied(rng, (0.62, 0.61, 0.59), float(rng.uniform(0.6, 1.3)), 0.02),
        float(rng.uniform(0.2, 1.0)),
        float(rng.uniform(0.3, 1.5)),
    )


def _draw_paint(rng: np.random.Generator, road: Road) -> Paint:
    fast = PLACES[road.place].speed[1] > 14
    center = str(rng.choice(["dashed", "solid", "double", "none"], p=[0.55, 0.15, 0.15, 0.15]))
    if not fast and (road.lane_m < 2.8 or rng.random() < 0.25):
        center = "none"
    level = float(rng.uniform(0.65, 0.95))
    color = (level, level, level) if rng.random() < 0.85 else (0.9 * level, 0.72 * level, 0.2 * level)
    return Paint(
        color,
        cover=float(rng.uniform(0.35, 1.0)),
        center=center,
        edges=bool(rng.random() < (0.9 if fast else 0.4)),
        zebra=bool(road.walk_m and rng.random() < 0.5),
        dash_m=float(rng.uniform(1.5, 6.0)),
        gap_m=float(rng.uniform(2.0, 9.0)),
        wide_m=float(rng.uniform(0.05, 0.09)),
    )


def _varied(rng: np.random.Generator, color: Color, level: float, spread: float) -> Color:
    red, green, blue = np.clip(level * np.asarray(color) * (1 + rng.normal(0, spread, 3)), 0.02, 1).tolist()
    return red, green, blue
