"""Motion of the vehicle along the road, and how the cameras are mounted on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from mambaseg_core.synth.pinhole import Pose, rotation
from mambaseg_core.synth.places import PLACES, draw_road
from mambaseg_core.synth.road import STRAIGHT, Road

FOCAL: Final = 0.80
"""Focal length of the frame camera, in widths of its image."""

_STANDING: Final = 0.05  # share of the drives in which the vehicle stands


@dataclass(frozen=True)
class Motion:
    """Motion of the vehicle along its lane, and the mount of its cameras.

    Attributes:
        speed: meters per second along z.
        eye_m: height of the cameras, meters.
        offset_m: offset from the middle of the lane to the right, meters.
        yaw: slow turns to both sides, radians.
        shake: fast pitching and yawing, radians.
        turn: turns to both sides by this angle, radians; the vehicle goes where it heads.
        turn_hz: turns to one side and back per second; the yaw rate reaches 2 pi turn_hz turn.
        phase: phase of all these oscillations, 0..1.
        road: the road.
        lane: number of the lane, from the middle of the road.
        pitch: how far the cameras look down, radians.
        roll: how far they lean, radians.
        turned: how far they look to the right of the road, radians.
        focal: focal length of the frame camera, in widths of its image.
    """

    speed: float = 8.0
    eye_m: float = 1.5
    offset_m: float = 0.0
    yaw: float = 0.012
    shake: float = 0.003
    turn: float = 0.0
    turn_hz: float = 0.4
    phase: float = 0.0
    road: Road = STRAIGHT
    lane: int = 0
    pitch: float = 0.0
    roll: float = 0.0
    turned: float = 0.0
    focal: float = FOCAL

    def pose(self, seconds: float) -> Pose:
        """Return the camera's pose at a time."""
        wave = 2 * np.pi * (seconds + 10 * self.phase)
        moving = min(1.0, self.speed / 4)  # a standing vehicle does not sway
        along = self.speed * seconds
        across = self.road.lane_across(self.lane) + self.offset_m + 0.12 * moving * np.sin(0.23 * wave)
        across += self.speed * self.turn / (2 * np.pi * self.turn_hz) * np.cos(self.turn_hz * wave)
        yaw = self.yaw * np.sin(0.31 * wave) + self.shake * np.sin(3.1 * wave)
        turn = self.turn * np.sin(self.turn_hz * wave)
        pitch = 0.003 * np.sin(1.3 * wave) + self.shake * np.sin(4.3 * wave + 2)
        roll = 0.003 * np.sin(0.9 * wave + 1)
        up = self.eye_m + 0.015 * moving * np.sin(1.7 * wave)
        heading, slope = self.road.angles(along)
        swaying = rotation(self.pitch + moving * pitch, moving * yaw + turn - self.turned, self.roll + moving * roll)
        course = rotation(-slope, 0.0, 0.0) @ rotation(0.0, -heading, 0.0)
        return Pose(self.road.point(along, float(across), float(up)), swaying @ course)


def draw_motion(rng: np.random.Generator, seconds: float, *, may_stand: bool = True) -> Motion:
    """Draw a road and a motion along it for a drive of so many seconds.

    Args:
        rng: draws everything.
        seconds: length of the drive.
        may_stand: whether the vehicle stands in some of the draws.
    """
    place = str(rng.choice(list(PLACES), p=[kind.share for kind in PLACES.values()]))
    speed = float(rng.uniform(*PLACES[place].speed))
    road = draw_road(place, rng, speed * seconds)
    standing = bool(rng.random() < _STANDING) and may_stand
    return Motion(
        speed=0.0 if standing else speed,
        eye_m=float(rng.uniform(1.2, 2.2)),
        offset_m=float(rng.uniform(-0.45, 0.45)),
        yaw=float(rng.uniform(0.01, 0.08)),
        phase=float(rng.random()),
        road=road,
        lane=int(rng.integers(road.lanes)),
        pitch=float(np.deg2rad(rng.uniform(-7, 6))),
        roll=float(np.deg2rad(rng.normal(0, 1.0))),
        turned=float(np.deg2rad(rng.normal(0, 4.0))),
        focal=float(rng.uniform(0.55, 1.1)),
    )
