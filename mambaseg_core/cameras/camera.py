"""`Camera`: intrinsics and distortion of one pinhole camera."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Camera:
    """A pinhole camera, with distortion if it is not rectified.

    Attributes:
        fx: focal length in columns, pixels.
        fy: focal length in rows, pixels.
        cx: column of the principal point, pixels.
        cy: row of the principal point, pixels.
        height: rows.
        width: columns.
        distortion: coefficients in OpenCV's order: radtan k1, k2, p1, p2[, k3[, k4, k5, k6]], the last three of the
            rational model; equidistant k1, k2, k3, k4.
        distortion_model: `radtan` or `equidistant` (fisheye).
    """

    fx: float
    fy: float
    cx: float
    cy: float
    height: int
    width: int
    distortion: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0)
    distortion_model: str = "radtan"

    @property
    def size(self) -> tuple[int, int]:
        """(height, width), pixels."""
        return self.height, self.width

    def matrix(self) -> Matrix:
        """Return K, float64 [3, 3]."""
        return np.array([[self.fx, 0, self.cx], [0, self.fy, self.cy], [0, 0, 1]], np.float64)


def resize_pixels(size: tuple[int, int], new_size: tuple[int, int]) -> Matrix:
    """Return the map from pixels of a picture to pixels of its resized copy, float64 [3, 3].

    A pixel's center has integer coordinates and the outer edges stay, as in OpenCV's `resize`: x becomes
    s (x + 0.5) - 0.5.

    Args:
        size: (height, width) of the picture.
        new_size: (height, width) of the copy.
    """
    y, x = new_size[0] / size[0], new_size[1] / size[1]
    return np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2], [0, 0, 1]])


def is_rotation(matrix: Matrix) -> bool:
    """Return whether a matrix [3, 3] is orthonormal to 1e-3 with determinant 1."""
    return bool(np.abs(matrix @ matrix.T - np.eye(3)).max() <= 1e-3 and np.linalg.det(matrix) > 0)
