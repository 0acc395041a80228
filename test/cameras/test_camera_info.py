"""Calibration from two ROS camera_info, against OpenCV's own projection."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import pytest

from mambaseg_core.cameras import camera_info

PIXELS = 0.05  # OpenCV's remap interpolates at 1/32 px


@dataclass
class Info:
    """Fields of `sensor_msgs/CameraInfo`."""

    height: int
    width: int
    distortion_model: str
    d: Any
    k: Any
    r: Any
    p: Any


def turn(degrees: float, axis: int) -> np.ndarray:
    vector = np.zeros(3)
    vector[axis] = np.deg2rad(degrees)
    return cv2.Rodrigues(vector)[0]


R_EVENT = turn(1.0, 0) @ turn(-2.0, 1)
R_IMAGE = turn(-0.5, 1) @ turn(0.7, 2)


def event_info(model: str = "plumb_bob", d: Any = (-0.12, 0.2, -0.001, 0.002, 0.03)) -> Info:
    k = [110.0, 0, 66, 0, 108, 45, 0, 0, 1]
    return Info(96, 128, model, list(d), k, R_EVENT.ravel(), [115.0, 0, 64, 0, 0, 115, 47, 0, 0, 0, 1, 0])


def image_info() -> Info:
    k = [190.0, 0, 118, 0, 190, 92, 0, 0, 1]
    return Info(180, 240, "", [], k, R_IMAGE.ravel(), [190.0, 0, 120, -9.5, 0, 190, 90, 0, 0, 0, 1, 0])


@pytest.mark.parametrize(
    ("model", "d"),
    [
        ("plumb_bob", (-0.12, 0.2, -0.001, 0.002, 0.03)),
        ("plumb_bob", (-0.12, 0.2, -0.001, 0.002)),
        ("rational_polynomial", (0.2, 0.05, 0.001, -0.001, 0.01, 0.3, 0.04, 0.01)),
        ("equidistant", (-0.02, 0.01, 0.003, -0.001)),
        ("", ()),
    ],
)
def test_points_of_the_world_are_seen_where_opencv_projects_them(model: str, d: tuple[float, ...]) -> None:
    calibration = camera_info.calibration(event_info(model, d), image_info())
    points = np.random.default_rng(0).uniform((-0.4, -0.3, 0.9), (0.4, 0.3, 1.1), (200, 3))
    matrix = np.reshape(event_info().k, (3, 3))
    if model == "equidistant":
        raw = cv2.fisheye.projectPoints(points[:, None], np.zeros(3), np.zeros(3), matrix, np.array(d))[0][:, 0]
    else:
        raw = cv2.projectPoints(points, np.zeros(3), np.zeros(3), matrix, np.array(d))[0][:, 0]
    rectified = points @ R_EVENT.T @ calibration.event.matrix().T
    rectified = rectified[:, :2] / rectified[:, 2:]
    x, y = raw.astype(np.float32).T
    seen = cv2.remap(calibration.rectify_map(), x, y, cv2.INTER_LINEAR).reshape(-1, 2)
    inside = (x > 0) & (y > 0) & (x < 127) & (y < 95)
    assert inside.sum() > 150
    np.testing.assert_allclose(seen[inside], rectified[inside], rtol=0, atol=PIXELS)


def test_a_stereo_pair_looks_one_way_when_rectified() -> None:
    calibration = camera_info.calibration(event_info(), image_info())
    np.testing.assert_allclose(calibration.rotation, np.eye(3), atol=1e-12)
    # principal points 64 and 120, focal lengths 115 and 190: by hand
    np.testing.assert_allclose(calibration.image_to_event_map()[47, 64], (120, 90), atol=1e-4)
    np.testing.assert_allclose(calibration.image_to_event_map()[47, 0], (120 - 64 * 190 / 115, 90), atol=1e-4)


def test_a_rotation_from_tf_is_used() -> None:
    event, image = (replace(info, r=np.eye(3).ravel()) for info in (event_info(), image_info()))
    calibration = camera_info.calibration(event, image, rotation=turn(2.0, 1))
    np.testing.assert_allclose(calibration.rotation, turn(2.0, 1), atol=1e-12)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"k": [0.0] * 9}, "event camera has focal lengths 0, 0 .*calibrate the camera"),
        ({"p": [0.0] * 12}, "event camera has focal lengths 0, 0"),
        ({"p": [1.0] * 9}, "p of the event camera is .*expected 12 finite numbers"),
        ({"r": [0.0] * 9}, "r of the event camera is .*expected a rotation matrix"),
        ({"distortion_model": "thin_prism"}, "'thin_prism' with 5 coefficients, expected plumb_bob"),
        ({"d": [0.1] * 3}, "'plumb_bob' with 3 coefficients"),
        ({"k": [float("nan")] * 9}, "expected 9 finite numbers"),
        ({"height": 0}, "128x0 pixels"),
    ],
)
def test_what_is_no_calibration_is_said(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        camera_info.calibration(replace(event_info(), **change), image_info())


def test_a_published_map_takes_the_place_of_the_computed() -> None:
    calibration = camera_info.calibration(event_info(), image_info())
    shifted = calibration.rectify_map() + np.float32(3)
    assert replace(calibration, published_map=shifted).rectify_map() is shifted
    with pytest.raises(ValueError, match=r"\[95, 128, 2\], expected \[96, 128, 2\]"):
        replace(calibration, published_map=shifted[1:])
