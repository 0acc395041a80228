"""Conditions of `mambaseg synth`: how the vehicle moves, the light on the street and the dirt on the lenses.

The same frame camera and event camera meet all of them. Defects of their output follow from motion, light and dirt.
docs/synthetic.md has the brightness and the dynamic range of each as numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import pi
from typing import Final

import numpy as np

from mambaseg_core.synth.lens import CLEAN, Dirt
from mambaseg_core.synth.light import Light
from mambaseg_core.synth.motion import Motion, draw_motion


@dataclass(frozen=True)
class Conditions:
    """Conditions of one drive.

    Attributes:
        name: a key of `CONDITIONS`.
        motion: motion of the vehicle.
        light: light on the street.
        dirt: dirt on the lenses.
    """

    name: str
    motion: Motion
    light: Light
    dirt: Dirt = CLEAN


def _day(rng: np.random.Generator, motion: Motion, seconds: float) -> Conditions:
    return Conditions("day", motion, Light())


def _night(rng: np.random.Generator, motion: Motion, seconds: float) -> Conditions:
    """Return a night: few street lamps, the vehicle's own low beam, lit windows, a sky without a moon."""
    light = Light(
        ambient=_between(rng, 0.8e-4, 1.8e-4),
        sky=_between(rng, 0.3e-4, 1.0e-4),
        low_beam=_between(rng, 0.0012, 0.004),
        lamps=_between(rng, 0.0008, 0.0018),
        glow=_between(rng, 0.02, 0.08),
    )
    return Conditions("night", motion, light)


def _glare(rng: np.random.Generator, motion: Motion, seconds: float) -> Conditions:
    """Return the low sun ahead over a street in the shade: its veil fills the image, not the event camera's range."""
    sun = float(rng.uniform(-0.25, 0.25)), float(rng.uniform(0.06, 0.2))
    light = Light(
        ambient=_between(rng, 0.07, 0.13),
        sun=sun,
        veil=_between(rng, 0.3, 0.5),
        veil_rad=float(rng.uniform(0.2, 0.3)),
    )
    return Conditions("glare", motion, light)


def _tunnel(rng: np.random.Generator, motion: Motion, seconds: float) -> Conditions:
    """Return the end of a tunnel, which the vehicle reaches during the drive or soon after it."""
    end_m = motion.speed * seconds * float(rng.random()) + float(rng.uniform(6, 24))
    light = Light(tunnel_end_m=end_m, tunnel=_between(rng, 0.008, 0.03), glow=0.3)
    return Conditions("tunnel", motion, light)


def _rain(rng: np.random.Generator, motion: Motion, seconds: float) -> Conditions:
    """Return rain with drops on the lenses; in a quarter of the draws a dry day with dust on them."""
    seed = int(rng.integers(1 << 31))
    if rng.random() < 0.25:
        dust = Dirt(dust=int(rng.integers(25, 80)), seed=seed)
        return Conditions("rain", motion, Light(ambient=_between(rng, 0.5, 1.0)), dust)
    dull = _between(rng, 0.12, 0.4)
    light = Light(ambient=dull, sky=dull * _between(rng, 1.0, 1.6))
    film, drops, dust_spots = float(rng.uniform(0.05, 0.3)), int(rng.integers(20, 70)), int(rng.integers(0, 8))
    return Conditions("rain", motion, light, Dirt(drops=drops, dust=dust_spots, film=film, seed=seed))


def _fast(rng: np.random.Generator, motion: Motion, seconds: float) -> Conditions:
    """Return a fast drive: a dull evening, 2.5 times the speed, a rough road."""
    faster = replace(motion, speed=2.5 * motion.speed, shake=float(rng.uniform(0.045, 0.065)))
    return Conditions("fast", faster, Light(ambient=0.10, sky=0.10))


def _turn(rng: np.random.Generator, motion: Motion, seconds: float) -> Conditions:
    """Return a turn by day, whose yaw rate reaches 40 to 90 degrees per second."""
    angle, rate = float(rng.uniform(0.3, 0.5)), float(np.deg2rad(rng.uniform(40, 90)))
    slower = replace(motion, speed=float(rng.uniform(2.5, 4.5)), turn=angle, turn_hz=rate / (2 * pi * angle))
    return Conditions("turn", slower, Light(ambient=_between(rng, 0.5, 1.0)))


def _between(rng: np.random.Generator, low: float, high: float) -> float:
    """Draw a number whose logarithm is uniform."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


CONDITIONS: Final[dict[str, Callable[[np.random.Generator, Motion, float], Conditions]]] = {
    "day": _day,
    "night": _night,
    "glare": _glare,
    "tunnel": _tunnel,
    "rain": _rain,
    "fast": _fast,
    "turn": _turn,
}


def draw_conditions(name: str, rng: np.random.Generator, seconds: float) -> Conditions:
    """Draw the conditions of one drive of so many seconds.

    Raises:
        ValueError: the name is unknown.
    """
    if name not in CONDITIONS:
        raise ValueError(f"condition is {name!r}, expected one of {', '.join(CONDITIONS)}; choose one of these")
    motion = draw_motion(rng, seconds, may_stand=name not in ("fast", "turn"))
    return CONDITIONS[name](rng, motion, seconds)
