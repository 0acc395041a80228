"""A `Calibration` from two ROS `sensor_msgs/CameraInfo`, or objects with the same attributes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from mambaseg_core.cameras.calibration import Calibration
from mambaseg_core.cameras.camera import Camera, Matrix, is_rotation

# distortion_model of ROS: ours, and its possible numbers of coefficients
_MODELS: Final = {
    "plumb_bob": ("radtan", (0, 4, 5)),
    "rational_polynomial": ("radtan", (8,)),
    "equidistant": ("equidistant", (4,)),
    "": ("radtan", (0,)),  # drivers of ideal cameras leave it empty
}


class CameraInfo(Protocol):
    """The attributes of `sensor_msgs/CameraInfo` that are used here, with its names."""

    height: int
    width: int
    distortion_model: str
    d: Sequence[float]
    k: Sequence[float]
    r: Sequence[float]
    p: Sequence[float]


def calibration(event: CameraInfo, image: CameraInfo, *, rotation: npt.ArrayLike | None = None) -> Calibration:
    """Return the calibration of a pair of cameras.

    The images must be rectified (`image_rect`), as everywhere in `Calibration`.

    Args:
        event: info of the event camera.
        image: info of the frame camera.
        rotation: [3, 3], from the raw event camera's optical frame to the raw frame camera's, for example from tf.
            None: both infos come from one stereo calibration, whose R rotate both cameras to one orientation.

    Raises:
        ValueError: a camera is not calibrated, its distortion model is unknown, or R or `rotation` is no rotation
            matrix.
    """
    r_event, r_image = (_rotation(name, info.r) for name, info in (("event", event), ("image", image)))
    turn = r_image.T @ r_event if rotation is None else _rotation("event to image", rotation)
    transform = np.eye(4)
    transform[:3, :3] = turn
    return Calibration(
        event_raw=_raw("event", event),
        event=_rectified("event", event),
        image=_rectified("image", image),
        R_rect0=r_event,
        R_rect1=r_image,
        T_10=transform,
    )


def look_one_way(calibration: Calibration) -> bool:
    """Return True if the cameras are taken as not turned against each other: R of both is the identity.

    Such are the infos of two cameras that were calibrated one by one.
    """
    return all(np.array_equal(r, np.eye(3)) for r in (calibration.R_rect0, calibration.R_rect1, calibration.rotation))


def _raw(name: str, info: CameraInfo) -> Camera:
    coefficients = tuple(float(value) for value in info.d)
    model, lengths = _MODELS.get(info.distortion_model, ("", ()))
    if not model or len(coefficients) not in lengths:
        raise ValueError(
            f"camera_info of the {name} camera has distortion model {info.distortion_model!r} with "
            f"{len(coefficients)} coefficients, expected plumb_bob with 4 or 5, rational_polynomial with 8 or "
            f"equidistant with 4; calibrate the camera with one of these"
        )
    matrix = _matrix(f"k of the {name} camera", info.k, (3, 3))
    return _camera(name, info, matrix, coefficients or (0.0,) * 4, model)


def _rectified(name: str, info: CameraInfo) -> Camera:
    return _camera(name, info, _matrix(f"p of the {name} camera", info.p, (3, 4)))


def _camera(
    name: str, info: CameraInfo, matrix: Matrix, distortion: tuple[float, ...] = (0.0,) * 4, model: str = "radtan"
) -> Camera:
    fx, fy, cx, cy = (float(matrix[at]) for at in ((0, 0), (1, 1), (0, 2), (1, 2)))
    height, width = int(info.height), int(info.width)
    if min(fx, fy, height, width) <= 0:
        raise ValueError(
            f"camera_info of the {name} camera has focal lengths {fx:g}, {fy:g} and {width}x{height} pixels, expected "
            f"numbers above 0; calibrate the camera (zeros mean that it is not)"
        )
    return Camera(fx, fy, cx, cy, height, width, distortion, model)


def _rotation(name: str, values: npt.ArrayLike) -> Matrix:
    matrix = _matrix(f"r of the {name} camera", values, (3, 3))
    if not is_rotation(matrix):
        raise ValueError(
            f"camera_info: r of the {name} camera is {matrix.tolist()}, expected a rotation matrix; "
            f"calibrate the cameras as a stereo pair"
        )
    return matrix


def _matrix(name: str, values: npt.ArrayLike, shape: tuple[int, int]) -> Matrix:
    matrix = np.asarray(values, np.float64)
    if matrix.size != shape[0] * shape[1] or not np.isfinite(matrix).all():
        raise ValueError(
            f"camera_info: {name} is {matrix.tolist()}, expected {shape[0] * shape[1]} finite numbers; "
            f"calibrate the camera"
        )
    return matrix.reshape(shape)
