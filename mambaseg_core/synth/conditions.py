"""Conditions of `mambaseg synth`: how the vehicle moves and the light on the street.

The same frame camera and event camera meet all of them. Defects of their output follow from motion and light.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from mambaseg_core.synth.light import Light
from mambaseg_core.synth.pinhole import Pose, rotation

LANE_CENTRE_M: Final = 1.6


@dataclass(frozen=True)
class Motion:
    """Motion of the vehicle along z, near the middle of the right lane.

    Attributes:
        speed: meters per second.
        eye_m: height of the cameras, meters.
        offset_m: offset from the middle of the lane to the right, meters.
        yaw: slow turns to both sides, radians.
        shake: fast pitching and yawing, radians.
        phase: phase of all these oscillations, 0..1.
    """

    speed: float = 8.0
    eye_m: float = 1.5
    offset_m: float = 0.0
    yaw: float = 0.012
    shake: float = 0.003
    phase: float = 0.0

    def pose(self, seconds: float) -> Pose:
        """Return the camera's pose at a time."""
        wave = 2 * np.pi * (seconds + 10 * self.phase)
        x = LANE_CENTRE_M + self.offset_m + 0.12 * np.sin(0.23 * wave)
        yaw = self.yaw * np.sin(0.31 * wave) + self.shake * np.sin(3.1 * wave)
        pitch = 0.003 * np.sin(1.3 * wave) + self.shake * np.sin(4.3 * wave + 2)
        roll = 0.003 * np.sin(0.9 * wave + 1)
        y = -self.eye_m - 0.015 * np.sin(1.7 * wave)
        return Pose(np.asarray([x, y, self.speed * seconds]), rotation(pitch, yaw, roll))


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
    motion = Motion(
        speed=float(rng.uniform(7, 11)),
        eye_m=float(rng.uniform(1.35, 1.75)),
        offset_m=float(rng.uniform(-0.4, 0.4)),
        yaw=float(rng.uniform(0.01, 0.10)),
        phase=float(rng.random()),
    )
    return CONDITIONS[name](rng, motion, seconds)
