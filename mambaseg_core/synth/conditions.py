"""Conditions of `mambaseg synth`: how the vehicle moves and the light on the street.

The same frame camera and event camera meet all of them. Defects of their output follow from motion and light.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from mambaseg_core.synth.light import Light
from mambaseg_core.synth.motion import Motion, draw_motion


@dataclass(frozen=True)
class Conditions:
    """Conditions of one drive.

    Attributes:
        name: "day", "night", "glare" or "fast".
        motion: motion of the vehicle.
        light: light on the street.
    """

    name: str
    motion: Motion
    light: Light


def _day(rng: np.random.Generator, motion: Motion, seconds: float) -> Conditions:
    return Conditions("day", motion, Light())


def _night(rng: np.random.Generator, motion: Motion, seconds: float) -> Conditions:
    """Return a night: street lamps, the vehicle's own low beam, lit windows, a moonless sky."""
    light = Light(ambient=0.0012, sky=0.0006, low_beam=0.016, lamps=0.009, glow=0.6)
    return Conditions("night", motion, light)


def _glare(rng: np.random.Generator, motion: Motion, seconds: float) -> Conditions:
    """Return glare: the end of a tunnel in half of the draws, the low sun ahead in the others."""
    if rng.random() < 0.5:
        end_m = motion.speed * seconds * float(rng.random()) + float(rng.uniform(6, 24))
        return Conditions("glare", motion, Light(tunnel_end_m=end_m, tunnel=0.03, glow=0.3))
    sun = float(rng.uniform(-0.25, 0.25)), float(rng.uniform(0.06, 0.2))
    return Conditions("glare", motion, Light(ambient=0.6, sun=sun, veil=float(rng.uniform(4, 7))))


def _fast(rng: np.random.Generator, motion: Motion, seconds: float) -> Conditions:
    """Return a fast drive: a dull evening, 2.5 times the speed, a rough road."""
    faster = replace(motion, speed=2.5 * motion.speed, shake=float(rng.uniform(0.045, 0.065)))
    return Conditions("fast", faster, Light(ambient=0.10, sky=0.10))


CONDITIONS: Final = {"day": _day, "night": _night, "glare": _glare, "fast": _fast}


def draw_conditions(name: str, rng: np.random.Generator, seconds: float) -> Conditions:
    """Draw the conditions of one drive of so many seconds.

    Raises:
        ValueError: the name is unknown.
    """
    if name not in CONDITIONS:
        raise ValueError(f"condition is {name!r}, expected one of {', '.join(CONDITIONS)}; choose one of these")
    motion = draw_motion(rng, seconds, may_stand=name not in ("fast", "turn"))
    return CONDITIONS[name](rng, motion, seconds)
