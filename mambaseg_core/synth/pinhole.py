"""Pinhole views of the synthetic street: their poses, the rays of their pixels, and the boxes that quads fill in them.

World axes: x right, y down, z along the street. Axes of a vehicle and of a camera: x right, y down, z ahead.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mambaseg_core.synth.textures import Plane

Matrix = npt.NDArray[np.float64]

NEAR_M = 0.2
"""Nothing nearer to a camera is visible, meters."""


@dataclass(frozen=True, eq=False)
class PinholeView:
    """A pinhole view.

    Attributes:
        matrix: K, float64 [3, 3].
        rotation: float64 [3, 3], from the vehicle's axes to the camera's.
        size: (height, width), pixels.
    """

    matrix: Matrix
    rotation: Matrix
    size: tuple[int, int]

    def rays(self) -> Plane:
        """Return the pixels' directions in the vehicle's axes with unit depth, float32 [3, H * W]."""
        height, width = self.size
        x, y = np.meshgrid(np.arange(width), np.arange(height))
        pixels = np.stack([x.ravel(), y.ravel(), np.ones(x.size)])
        return (self.rotation.T @ np.linalg.inv(self.matrix) @ pixels).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Pose:
    """Pose of the vehicle's camera.

    Attributes:
        position: position in the world, float64 [3], meters.
        rotation: float64 [3, 3], from the world's axes to the vehicle's.
    """

    position: Matrix
    rotation: Matrix


def rotation(pitch: float, yaw: float, roll: float) -> Matrix:
    """Return the rotation [3, 3] by angles in radians about x (right), then y (down), then z (ahead)."""
    (cp, cy, cr), (sp, sy, sr) = np.cos((pitch, yaw, roll)), np.sin((pitch, yaw, roll))
    about_x = np.asarray([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    about_y = np.asarray([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.asarray([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    turned: Matrix = about_z @ about_y @ about_x
    return turned


def bounding_boxes(points: Matrix, view: PinholeView) -> Matrix:
    """Return left, top, right, bottom [quads, 4], pixels, of quads with corners [quads, 4, 3] in camera axes."""
    boxes = np.empty((len(points), 4))
    in_front = points[..., 2].min(axis=1) >= NEAR_M
    boxes[in_front] = _box(points[in_front], view)
    for index in np.flatnonzero(~in_front):
        boxes[index] = _box(_clip_near(points[index]), view)
    return boxes


def _box(points: Matrix, view: PinholeView) -> Matrix:
    """Return bounding boxes [..., 4], cut to the view, of points [..., n, 3] in front of the camera."""
    pixels = points @ view.matrix.T
    pixels = pixels[..., :2] / pixels[..., 2:]
    low = np.maximum(np.floor(pixels.min(axis=-2)), 0)
    high = np.minimum(np.ceil(pixels.max(axis=-2)) + 1, view.size[::-1])
    return np.concatenate([low, high], axis=-1)


def _clip_near(points: Matrix) -> Matrix:
    """Cut a polygon [n, 3] at depth NEAR_M."""
    kept = []
    for first, second in zip(points, np.roll(points, -1, axis=0), strict=True):
        if first[2] >= NEAR_M:
            kept.append(first)
        if (first[2] >= NEAR_M) != (second[2] >= NEAR_M):
            kept.append(first + (NEAR_M - first[2]) / (second[2] - first[2]) * (second - first))
    return np.asarray(kept)
