"""Motion of the vehicle that carries the cameras through the synthetic street."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

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
