from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from mambaseg_core.cameras import cam_to_cam
from mambaseg_core.cameras.calibration import Calibration
from mambaseg_core.cameras.camera import Camera
from mambaseg_core.events import Events

# corners (column, row) of the published rectify_map.h5 that belongs to the real file (shared/data/README.md)
REAL_CORNERS = {
    (0, 0): (-11.992482, -3.8135486),
    (639, 0): (656.11633, -6.081475),
    (0, 479): (-10.26636, 490.16754),
    (639, 479): (652.2097, 497.89062),
}
CORNER_TOLERANCE_PX = 0.001


@pytest.fixture
def plain() -> Calibration:
    """Return two cameras with the same pose and no distortion: every map is the identity."""
    camera = Camera(100.0, 100.0, 31.5, 23.5, 48, 64)
    return Calibration(camera, camera, camera, np.eye(3), np.eye(3), np.eye(4))


def test_the_real_rectify_map_comes_out() -> None:
    root = Path(os.environ.get("MAMBASEG_SHARED", Path(__file__).parents[2] / ".." / "shared"))
    path = root / "data" / "dsec" / "cam_to_cam.yaml"
    if not path.is_file():
        pytest.skip(f"no {path}; set MAMBASEG_SHARED to the folder that has data/")
    calibration = cam_to_cam.read(path)
    rectified = calibration.rectify_map()
    assert rectified.shape == (480, 640, 2)
    assert rectified.dtype == np.float32
    assert calibration.image_size == (1080, 1440)
    for (x, y), expected in REAL_CORNERS.items():
        np.testing.assert_allclose(rectified[y, x], expected, rtol=0, atol=CORNER_TOLERANCE_PX)
    # the rows below 472 sample below the image
    rows = calibration.image_to_event_map()[..., 1]
    assert rows[472].min() < 1079
    assert rows[474].min() > 1079


def test_rectify_map_is_where_points_of_the_world_are_seen(turned: Calibration) -> None:
    points = np.random.default_rng(0).uniform((-0.4, -0.3, 0.9), (0.4, 0.3, 1.1), (200, 3))
    raw_camera = turned.event_raw
    raw = cv2.projectPoints(points, np.zeros(3), np.zeros(3), raw_camera.matrix(), np.asarray(raw_camera.distortion))[
        0
    ][:, 0]
    in_rectified = points @ turned.R_rect0.T @ turned.event.matrix().T
    in_rectified = in_rectified[:, :2] / in_rectified[:, 2:]
    x, y = raw.astype(np.float32).T
    seen = cv2.remap(turned.rectify_map(), x, y, cv2.INTER_LINEAR).reshape(-1, 2)
    inside = (x > 0) & (y > 0) & (x < 127) & (y < 95)
    assert inside.sum() > 150
    # OpenCV interpolates at 1/32 px
    np.testing.assert_allclose(seen[inside], in_rectified[inside], rtol=0, atol=0.05)


def test_image_map_is_where_far_points_are_seen(turned: Calibration) -> None:
    directions = np.random.default_rng(0).uniform((-0.4, -0.3, 1), (0.4, 0.3, 1), (50, 3))  # in the raw event camera
    event = directions @ turned.R_rect0.T @ turned.event.matrix().T
    image = directions @ turned.T_10[:3, :3].T @ turned.R_rect1.T @ turned.image.matrix().T
    event, image = event[:, :2] / event[:, 2:], image[:, :2] / image[:, 2:]
    x, y = event.astype(np.float32).T
    seen = cv2.remap(turned.image_to_event_map(), x, y, cv2.INTER_LINEAR).reshape(-1, 2)
    inside = (x > 0) & (y > 0) & (x < 127) & (y < 95)
    assert inside.sum() > 30
    np.testing.assert_allclose(seen[inside], image[inside], rtol=0, atol=0.1)


def test_nothing_moves_without_distortion_and_rotation(plain: Calibration) -> None:
    x, y = np.meshgrid(np.arange(64), np.arange(48))
    np.testing.assert_allclose(plain.rectify_map(), np.stack([x, y], -1), atol=1e-4)
    np.testing.assert_allclose(plain.image_to_event_map(), np.stack([x, y], -1), atol=1e-4)
    picture = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    np.testing.assert_array_equal(plain.warp_image(picture), picture)
    np.testing.assert_array_equal(plain.warp_mask_to_image(picture[..., 0]), picture[..., 0])


@pytest.mark.parametrize(
    ("shift", "expected"),
    [
        (-0.9, {0: 0, 1: 0, 63: 62}),  # -0.9 is cut to 0, not to -1
        (-1.5, {1: 0, 2: 0, 63: 61}),  # -1.5 is cut to -1 and dropped
        (0.9, {0: 0, 1: 1, 63: 63}),
        (1.5, {0: 1, 1: 2, 62: 63}),  # 64.5 is dropped
    ],
)
def test_rectified_coordinates_are_cut_toward_zero_and_then_dropped(
    plain: Calibration, shift: float, expected: dict[int, int]
) -> None:
    calibration = replace(plain, event=replace(plain.event, cx=plain.event.cx + shift))
    columns = sorted({0, 1, 2, 62, 63} & set(expected) | {0, 63})
    events = Events.from_arrays(
        columns, [5] * len(columns), range(len(columns)), [1] * len(columns), height=48, width=64
    )
    rectified = calibration.rectify(events)
    got = dict(zip((columns[t] for t in rectified.t_ns), rectified.x.tolist(), strict=True))
    assert got == expected


def test_rectify_keeps_times_and_polarities_and_agrees_with_the_map(turned: Calibration) -> None:
    rng = np.random.default_rng(1)
    x, y = rng.integers(0, 128, 3000), rng.integers(0, 96, 3000)
    t, p = np.sort(rng.integers(0, 10**9, 3000)), rng.choice([-1, 1], 3000)
    rectified = turned.rectify(Events.from_arrays(x, y, t, p, height=96, width=128))
    moved = turned.rectify_map()[y, x].astype(np.int64)
    inside = ((moved >= 0) & (moved < (128, 96))).all(axis=1)
    assert 0 < (~inside).sum() < 1500
    np.testing.assert_array_equal(np.stack([rectified.x, rectified.y], -1), moved[inside])
    np.testing.assert_array_equal(rectified.t_ns, t[inside])
    np.testing.assert_array_equal(rectified.p, p[inside])
    assert (rectified.height, rectified.width) == turned.event_size


def test_rectify_without_events(turned: Calibration) -> None:
    assert len(turned.rectify(Events.empty(96, 128))) == 0


def test_rectify_refuses_another_sensor(turned: Calibration) -> None:
    with pytest.raises(ValueError, match="346x260, expected 128x96"):
        turned.rectify(Events.empty(260, 346))


@pytest.mark.parametrize("channels", [(), (1,), (3,), (4,)])
def test_warped_image_keeps_its_channels(turned: Calibration, channels: tuple[int, ...]) -> None:
    image = np.full((180, 240, *channels), 100, np.uint8)
    warped = turned.warp_image(image)
    assert warped.shape == (96, 128, *channels)
    assert warped.dtype == np.uint8
    assert np.median(warped) == 100


def test_the_mask_comes_back_to_where_the_image_was(turned: Calibration) -> None:
    image = np.zeros((180, 240), np.uint8)
    image[60:120, 90:150] = 200
    mask = (turned.warp_image(image) > 100).astype(np.uint8)
    back = turned.warp_mask_to_image(mask)
    assert back.shape == (180, 240)
    edge = cv2.dilate(image, np.ones((7, 7))) != cv2.erode(image, np.ones((7, 7)))
    known = (back != 255) & ~edge
    np.testing.assert_array_equal(back[known], image[known] // 200)
    assert back[90, 120] == 1


def test_the_mask_is_filled_where_the_event_camera_saw_nothing(plain: Calibration) -> None:
    wide = replace(plain, image=replace(plain.image, fx=50.0, fy=50.0))  # twice the angle of the event view
    back = wide.warp_mask_to_image(np.zeros((48, 64), np.uint8), fill=77)
    assert (back[:10] == 77).all()
    assert (back[:, :14] == 77).all()
    assert (back[13:35, 17:47] == 0).all()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda c: c.warp_image(np.zeros((96, 128), np.uint8)),
            r"image has shape \[96, 128\], expected 180 rows",
        ),
        (
            lambda c: c.warp_mask_to_image(np.zeros((180, 240), np.uint8)),
            r"mask has shape \[180, 240\], expected 96",
        ),
    ],
)
def test_other_sizes_are_refused(turned: Calibration, call: Callable[[Calibration], Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        call(turned)


def test_maps_are_made_once_and_cannot_be_written_to(turned: Calibration) -> None:
    assert turned.rectify_map() is turned.rectify_map()
    assert turned.image_to_event_map() is turned.image_to_event_map()
    with pytest.raises(ValueError, match="read-only"):
        turned.rectify_map()[0] = 0


def test_a_calibration_can_be_pickled(turned: Calibration) -> None:
    turned.rectify_map()
    copy = pickle.loads(pickle.dumps(turned))
    np.testing.assert_array_equal(copy.rectify_map(), turned.rectify_map())


def test_a_distortion_without_inverse_is_refused(turned: Calibration) -> None:
    folded = replace(turned, event_raw=replace(turned.event_raw, distortion=(-3.0, 0.0, 0.0, 0.0)))
    with pytest.raises(ValueError, match=r"camera of 128x96 pixels has distortion \[-3.0, .* cannot be inverted"):
        folded.rectify_map()
