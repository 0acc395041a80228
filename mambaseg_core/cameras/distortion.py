"""Lens distortion and its inversion."""

from __future__ import annotations

import numpy as np

from mambaseg_core.cameras.camera import Camera, Matrix

_ITERATIONS = 100
_CONVERGED = 1e-12  # in normalized coordinates
_TOLERANCE_PX = 0.01


def undistort(distorted: Matrix, camera: Camera) -> Matrix:
    """Remove the distortion from points by fixed-point iteration.

    Args:
        distorted: float64 [..., 2], normalized coordinates: (pixel - principal point) / focal length.
        camera: the camera with this distortion.

    Returns:
        float64 [..., 2], normalized.

    Raises:
        ValueError: the distortion cannot be inverted at some point, or its model is unknown.
    """
    inverse = _undistort_equidistant if _is_equidistant(camera) else _undistort_radtan
    points, error = inverse(distorted, camera)
    error_px = float(np.abs(error * (camera.fx, camera.fy)).max())
    if not error_px < _TOLERANCE_PX:
        raise ValueError(
            f"the camera of {camera.width}x{camera.height} pixels has distortion {list(camera.distortion)}, which "
            f"cannot be inverted over the whole sensor (off by {error_px:.3g} px), expected less than "
            f"{_TOLERANCE_PX} px; check its distortion coefficients and camera matrix"
        )
    return points


def distort(points: Matrix, camera: Camera) -> Matrix:
    """Return where a camera with distortion sees points.

    Args:
        points: float64 [..., 2], normalized coordinates without distortion.
        camera: the camera with this distortion.

    Returns:
        float64 [..., 2], normalized coordinates with distortion.

    Raises:
        ValueError: the distortion model is unknown.
    """
    if not _is_equidistant(camera):
        radial, tangential = _radtan_terms(points, camera)
        return points * radial + tangential
    radius = np.linalg.norm(points, axis=-1, keepdims=True)
    angle = np.arctan(radius)
    scaled: Matrix = points * np.where(radius > 0, angle * _equidistant_factor(angle, camera), 1)
    return scaled / np.where(radius > 0, radius, 1)


def _is_equidistant(camera: Camera) -> bool:
    if camera.distortion_model not in ("radtan", "equidistant"):
        raise ValueError(
            f"distortion model is {camera.distortion_model!r}, expected radtan or equidistant; calibrate with one"
        )
    return camera.distortion_model == "equidistant"


def _undistort_radtan(distorted: Matrix, camera: Camera) -> tuple[Matrix, Matrix]:
    """Return the points, and their error when distorted again."""
    points = distorted
    with np.errstate(all="ignore"):
        for _ in range(_ITERATIONS):
            radial, tangential = _radtan_terms(points, camera)
            previous, points = points, (distorted - tangential) / radial
            if np.abs(points - previous).max() < _CONVERGED:
                break
        radial, tangential = _radtan_terms(points, camera)
        return points, points * radial + tangential - distorted


def _radtan_terms(points: Matrix, camera: Camera) -> tuple[Matrix, Matrix]:
    """Return the radial factor [..., 1] and tangential shift [..., 2] at undistorted points [..., 2]."""
    k1, k2, p1, p2, k3, k4, k5, k6 = (*camera.distortion, *[0.0] * 8)[:8]
    x, y = points[..., 0], points[..., 1]
    r2 = x * x + y * y
    radial = (1 + r2 * (k1 + r2 * (k2 + r2 * k3))) / (1 + r2 * (k4 + r2 * (k5 + r2 * k6)))
    tangential = np.stack([2 * p1 * x * y + p2 * (r2 + 2 * x * x), p1 * (r2 + 2 * y * y) + 2 * p2 * x * y], axis=-1)
    return radial[..., None], tangential


def _undistort_equidistant(distorted: Matrix, camera: Camera) -> tuple[Matrix, Matrix]:
    """Return the same as `_undistort_radtan`; here the radius is a polynomial of the angle to the optical axis."""
    seen = np.linalg.norm(distorted, axis=-1, keepdims=True)
    angle = seen
    with np.errstate(all="ignore"):
        for _ in range(_ITERATIONS):
            previous, angle = angle, seen / _equidistant_factor(angle, camera)
            if np.abs(angle - previous).max() < _CONVERGED:
                break
        error = np.where(angle < np.pi / 2, angle * _equidistant_factor(angle, camera) - seen, np.nan)
        scale = np.where(seen > 0, np.tan(angle) / np.where(seen > 0, seen, 1), 1)
    return distorted * scale, np.broadcast_to(error, distorted.shape)


def _equidistant_factor(angle: Matrix, camera: Camera) -> Matrix:
    k1, k2, k3, k4 = camera.distortion
    a2 = angle * angle
    factor: Matrix = 1 + a2 * (k1 + a2 * (k2 + a2 * (k3 + a2 * k4)))
    return factor
