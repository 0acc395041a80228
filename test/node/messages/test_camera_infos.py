"""CameraInfo of masks: a point of the world is seen by the mask's pixel that belongs to the image's pixel."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field, replace
from typing import Any

import cv2
import numpy as np
import pytest

from mambaseg_core.cameras.camera import Camera
from mambaseg_core.preprocessing import DDD17
from mambaseg_ros.messages.camera_infos import MaskView, fill_camera_info, image_size

SIZE, MODEL = (120, 160), (30, 52)
SETUP = replace(DDD17, size=MODEL)
DISTORTION = [-0.11, 0.05, 0.001, -0.002, 0.0]


@dataclass
class Roi:
    """Fields of `sensor_msgs/RegionOfInterest`."""

    x_offset: int = 0
    y_offset: int = 0
    height: int = 0
    width: int = 0
    do_rectify: bool = False


@dataclass
class Info:
    """Fields of `sensor_msgs/CameraInfo`; an empty message without arguments."""

    header: Any = None
    height: int = 0
    width: int = 0
    distortion_model: str = ""
    d: Any = ()
    k: Any = (0.0,) * 9
    r: Any = (0.0,) * 9
    p: Any = (0.0,) * 12
    binning_x: int = 0
    binning_y: int = 0
    roi: Roi = field(default_factory=Roi)


def camera(**changes: Any) -> Info:
    k = [130.0, 0, 77, 0, 128, 62, 0, 0, 1]
    p = [125.0, 0, 80, -11, 0, 125, 60, 3, 0, 0, 1, 0]
    r = cv2.Rodrigues(np.array([0.01, -0.02, 0.03]))[0].ravel()
    return Info("of the camera", *SIZE, "plumb_bob", array("d", DISTORTION), array("d", k), r, p, **changes)


def filled(view: MaskView, size: tuple[int, int], info: Info | None) -> Info:
    return fill_camera_info(Info(), view, size, header="of the mask", camera_info=info)


def seen_by(info: Info, points: np.ndarray) -> np.ndarray:
    """Pixels of points, by OpenCV: (x, y)."""
    zero = np.zeros(3)
    return cv2.projectPoints(points, zero, zero, np.reshape(info.k, (3, 3)), np.array(info.d))[0][:, 0]


def points_behind(info: Info) -> np.ndarray:
    """Return a point of the world behind the center of every pixel of the image, and the pixels (x, y)."""
    pixels = np.stack(np.meshgrid(np.arange(SIZE[1]), np.arange(SIZE[0])), -1).reshape(-1, 1, 2).astype(np.float64)
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_MAX_ITER, 200, 1e-12)
    rays = cv2.undistortPointsIter(pixels, np.reshape(info.k, (3, 3)), np.array(info.d), None, None, criteria)[:, 0]
    return np.column_stack([rays, np.ones(len(rays))]) * np.random.default_rng(0).uniform(2, 40, (len(rays), 1))


def model_view(view_size: tuple[int, int] = SIZE, **changes: Any) -> MaskView:
    return MaskView(view_size, SETUP.view_to_mask(view_size), **changes)


def test_a_point_is_seen_by_the_pixel_of_the_mask_that_the_image_has_its_class_from() -> None:
    info = camera()
    of_mask = filled(model_view(), MODEL, info)
    ids = np.random.default_rng(1).integers(0, 250, MODEL, dtype=np.uint8)
    in_image = SETUP.mask_in_view(ids, SIZE)
    x, y = np.rint(seen_by(of_mask, points_behind(info))).astype(int).T
    inside = (x >= 0) & (y >= 0) & (x < MODEL[1]) & (y < MODEL[0])
    found = np.full(len(x), 255)
    found[inside] = ids[y[inside], x[inside]]
    np.testing.assert_array_equal(found.reshape(SIZE), in_image)
    assert (in_image == 255).sum() == (SIZE[0] - SETUP.kept_rows(SIZE[0])) * SIZE[1]  # the bonnet


def test_by_hand() -> None:
    view = MaskView((480, 640), np.array([[0.25, 0, -0.375], [0, 0.5, -0.25], [0, 0, 1]]))
    info = replace(camera(), height=480, width=640)
    found = filled(view, (240, 160), info)
    assert (found.height, found.width, found.header) == (240, 160, "of the mask")
    assert found.k == [32.5, 0, 18.875, 0, 64, 30.75, 0, 0, 1]
    assert found.p == [31.25, 0, 19.625, -2.75, 0, 62.5, 29.75, 1.5, 0, 0, 1, 0]
    assert (list(found.d), found.distortion_model) == (DISTORTION, "plumb_bob")
    np.testing.assert_array_equal(found.r, info.r)


def test_a_mask_of_the_camera_s_size_has_the_camera_s_info_with_its_own_header() -> None:
    roi = Roi(8, 4, 240, 320, do_rectify=True)
    for info in (camera(), camera(binning_x=2, binning_y=2, roi=roi)):
        found = filled(MaskView(SIZE, np.eye(3)), SIZE, info)
        assert found == replace(info, header="of the mask")


def test_region_and_binning_of_the_camera_are_taken_into_the_intrinsics() -> None:
    """As image_geometry has them: cx - x_offset, all over the binning."""
    info = replace(camera(binning_x=2, binning_y=4, roi=Roi(10, 20, 480, 320)), height=600, width=400)
    assert image_size(info) == SIZE
    found = filled(model_view(), MODEL, info)
    k = np.reshape(info.k, (3, 3)).copy()
    k[0, 2], k[1, 2] = k[0, 2] - 10, k[1, 2] - 20
    k[0], k[1] = k[0] / 2, k[1] / 4
    np.testing.assert_allclose(np.reshape(found.k, (3, 3)), SETUP.view_to_mask(SIZE) @ k)
    assert (found.binning_x, found.binning_y, found.roi) == (0, 0, Roi())


def test_a_region_of_interest_is_cut_from_the_intrinsics() -> None:
    region = np.array([[1.0, 0, -20], [0, 1, -10], [0, 0, 1]])
    cut = filled(MaskView((40, 60), np.eye(3)).of_part(SIZE, region), (40, 60), camera())
    k = np.reshape(camera().k, (3, 3)).copy()
    k[0, 2], k[1, 2] = k[0, 2] - 20, k[1, 2] - 10
    np.testing.assert_array_equal(np.reshape(cut.k, (3, 3)), k)
    assert (cut.height, cut.width, cut.p[:4]) == (40, 60, [125.0, 0, 60, -11])
    small = filled(model_view((40, 60)).of_part(SIZE, region), MODEL, camera())
    np.testing.assert_allclose(np.reshape(small.k, (3, 3)), SETUP.view_to_mask((40, 60)) @ k)
    x, y = seen_by(cut, points_behind(camera())).reshape(*SIZE, 2)[10, 20]
    np.testing.assert_allclose((x, y), (0, 0), atol=1e-6)  # the region's first pixel


def test_a_mask_of_events_alone_has_the_camera_s_view_at_the_sensor_s_resolution() -> None:
    sensor = (60, 80)
    found = filled(MaskView(sensor, np.eye(3), has_image=False), sensor, camera())
    x, y = 77 / 2 - 0.25, 62 / 2 - 0.25
    assert (found.height, found.width, found.k) == (60, 80, [65.0, 0, x, 0, 64, y, 0, 0, 1])


def test_the_rectified_event_camera_needs_no_camera_info() -> None:
    event = Camera(55.0, 56.0, 31.5, 29.0, 48, 64, (0.1, 0.0, 0.0, 0.0))
    found = filled(MaskView(event.size, np.eye(3), event), event.size, None)
    assert (found.height, found.width) == (48, 64)
    assert (found.k, found.d) == ([55.0, 0, 31.5, 0, 56, 29, 0, 0, 1], [0.0] * 5)
    assert found.p == [55.0, 0, 31.5, 0, 0, 56, 29, 0, 0, 0, 1, 0]
    assert found.r == [1.0, 0, 0, 0, 1, 0, 0, 0, 1]
    small = filled(MaskView(event.size, SETUP.view_to_mask(event.size), event), MODEL, None)
    scale = MODEL[1] / 64, MODEL[0] / SETUP.kept_rows(48)
    assert small.k[:6] == pytest.approx(
        [55 * scale[0], 0, 32 * scale[0] - 0.5, 0, 56 * scale[1], 29.5 * scale[1] - 0.5]
    )


@pytest.mark.parametrize("changes", [{"height": 240, "width": 320}, {"height": 0, "width": 0}, {"binning_x": 2}])
def test_an_info_of_other_images_is_refused(changes: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"^camera_info is of images of \d+x\d+ pixels and the image has 160x120 \(w"):
        filled(MaskView(SIZE, np.eye(3)), SIZE, replace(camera(), **changes))


def test_a_camera_that_is_not_calibrated_stays_so() -> None:
    found = filled(model_view(), MODEL, replace(camera(), k=[0.0] * 9, p=[0.0] * 12))
    assert (found.k, found.p) == ([0.0] * 9, [0.0] * 12)
