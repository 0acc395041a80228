"""A pair of cameras whose geometry has every part: distortion, rotations and two resolutions."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mambaseg_core.cameras.calibration import Calibration
from mambaseg_core.cameras.camera import Camera


def turn(degrees: float, axis: int) -> np.ndarray:
    vector = np.zeros(3)
    vector[axis] = np.deg2rad(degrees)
    return cv2.Rodrigues(vector)[0]


def pose(rotation: np.ndarray) -> np.ndarray:
    transform = np.eye(4)
    transform[:3, :3] = rotation
    return transform


@pytest.fixture
def turned() -> Calibration:
    """Return a calibration with distortion, rotations about all axes, and a frame camera of another resolution."""
    return Calibration(
        Camera(110.0, 108.0, 66.0, 45.0, 96, 128, (-0.12, 0.2, -0.001, 0.002)),
        Camera(115.0, 115.0, 64.0, 47.0, 96, 128),
        Camera(190.0, 190.0, 118.0, 92.0, 180, 240),
        turn(1.0, 0) @ turn(-2.0, 1) @ turn(1.5, 2),
        turn(-0.7, 1) @ turn(0.8, 2),
        pose(turn(1.4, 1) @ turn(-0.6, 0)),
    )
