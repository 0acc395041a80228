"""Kalibr's camchain and pairs of camera_info files, against OpenCV's own projections."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml

from mambaseg_core.cameras import calibration_files, cam_to_cam
from mambaseg_core.cameras.calibration import Calibration

EVENT_SIZE, IMAGE_SIZE = (96, 128), (180, 240)
EVENT_K, IMAGE_K = (110.0, 108.0, 66.0, 45.0), (190.0, 192.0, 118.0, 92.0)
RADTAN, EQUIDISTANT = (-0.12, 0.08, -0.001, 0.002), (-0.02, 0.01, 0.003, -0.001)


def turn(degrees: float, axis: int) -> np.ndarray:
    vector = np.zeros(3)
    vector[axis] = np.deg2rad(degrees)
    return cv2.Rodrigues(vector)[0]


TURN = turn(1.4, 1) @ turn(-2.6, 0) @ turn(3.0, 2)  # from the event camera to the frame camera
POSE = np.eye(4)
POSE[:3, :3], POSE[:3, 3] = TURN, (-0.05, 0.01, 0.002)


def camera(k: tuple[float, ...], size: tuple[int, int], lens: str, topic: str) -> dict[str, Any]:
    coefficients = {"radtan": RADTAN, "equidistant": EQUIDISTANT, "none": ()}[lens]
    return {
        "camera_model": "pinhole", "intrinsics": list(k), "distortion_model": lens, "cam_overlaps": [1],
        "distortion_coeffs": list(coefficients), "resolution": list(size[::-1]), "rostopic": topic,
    }  # fmt: skip


def camchain(event_lens: str = "radtan", image_lens: str = "radtan", event: int = 0) -> dict[str, Any]:
    cameras = [
        camera(EVENT_K, EVENT_SIZE, event_lens, "/event_camera/image" if event else "/davis/rendered"),
        camera(IMAGE_K, IMAGE_SIZE, image_lens, "/camera/image_raw"),
    ]
    first, second = cameras[event], cameras[1 - event]
    second["T_cn_cnm1"] = (np.linalg.inv(POSE) if event else POSE).tolist()
    return {"cam0": first, "cam1": second}


def saved(path: Path, content: object) -> Path:
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return path


def project(points: np.ndarray, k: tuple[float, ...], lens: str) -> np.ndarray:
    """Pixels of points in a camera's own coordinates, by OpenCV."""
    fx, fy, cx, cy = k
    matrix, zero = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]]), np.zeros(3)
    if lens == "equidistant":
        return cv2.fisheye.projectPoints(points[:, None], zero, zero, matrix, np.array(EQUIDISTANT))[0][:, 0]
    return cv2.projectPoints(points, zero, zero, matrix, np.array(RADTAN if lens == "radtan" else [0.0] * 4))[0][:, 0]


def inside(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return ((pixels > 1) & (pixels < np.array(size[::-1]) - 2)).all(axis=1)


def looked_up(table: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    x, y = pixels.astype(np.float32).T
    return cv2.remap(table, x, y, cv2.INTER_LINEAR).reshape(-1, 2)


def check_far_points(calibration: Calibration, event_lens: str, image_lens: str) -> None:
    """A point at infinity has one place in the rectified event view, from its event and from its image pixel."""
    points = np.random.default_rng(0).uniform((-0.5, -0.4, 1), (0.5, 0.4, 1), (2000, 3))  # directions
    raw, image = project(points, EVENT_K, event_lens), project(points @ TURN.T, IMAGE_K, image_lens)
    rectified = points[:, :2] * EVENT_K[:2] + EVENT_K[2:]
    both = inside(raw, EVENT_SIZE) & inside(image, IMAGE_SIZE) & inside(rectified, EVENT_SIZE)
    assert both.sum() > 200
    # OpenCV interpolates at 1/32 px
    np.testing.assert_allclose(looked_up(calibration.rectify_map(), raw)[both], rectified[both], rtol=0, atol=0.06)
    found = looked_up(calibration.image_to_event_map(), rectified)
    np.testing.assert_allclose(found[both], image[both], rtol=0, atol=0.12)
    columns = np.tile(np.arange(EVENT_SIZE[1], dtype=np.uint8), (EVENT_SIZE[0], 1))
    x, y = np.rint(image[both]).astype(int).T
    back = calibration.warp_mask_to_image(columns)[y, x]
    assert np.abs(back - rectified[both][:, 0]).max() < 1.0  # half a pixel of either camera


@pytest.mark.parametrize("event", [0, 1])
@pytest.mark.parametrize(
    ("event_lens", "image_lens"),
    [("radtan", "radtan"), ("radtan", "equidistant"), ("equidistant", "radtan"), ("none", "none"), ("radtan", "none")],
)
def test_points_at_infinity_of_a_camchain(tmp_path: Path, event: int, event_lens: str, image_lens: str) -> None:
    calibration = calibration_files.read(saved(tmp_path / "camchain.yaml", camchain(event_lens, image_lens, event)))
    assert (calibration.event_size, calibration.image_size) == (EVENT_SIZE, IMAGE_SIZE)
    np.testing.assert_allclose(calibration.T_10, POSE, atol=1e-12)
    check_far_points(calibration, event_lens, image_lens)


def test_what_the_frame_camera_does_not_see_comes_from_nowhere(tmp_path: Path) -> None:
    """Far outside, a lens model folds back into the image."""
    content = camchain("none", "radtan")
    content["cam1"]["distortion_coeffs"] = [-0.15, 0.0, 0.0, 0.0]
    content["cam0"]["intrinsics"] = [25.0, 25.0, 64.0, 48.0]  # of a wide event camera
    calibration = calibration_files.read(saved(tmp_path / "camchain.yaml", content))
    table = calibration.image_to_event_map()
    x, y = table[..., 0], table[..., 1]
    seen = (x > -0.5) & (x < IMAGE_SIZE[1] - 0.5) & (y > -0.5) & (y < IMAGE_SIZE[0] - 0.5)
    rows, columns = np.nonzero(seen)
    assert 30 < np.ptp(columns) < 60  # 118 / 190 to each side, somewhat more by the distortion
    assert seen[rows.min() : rows.max(), columns.min() + 8 : columns.max() - 8].mean() > 0.9  # in one piece
    white = np.full(IMAGE_SIZE, 255, np.uint8)
    assert calibration.warp_image(white)[~seen].mean() < 20


def test_a_calibration_of_raw_images_is_not_written_as_one_of_rectified_images(tmp_path: Path) -> None:
    calibration = calibration_files.read(saved(tmp_path / "camchain.yaml", camchain()))
    with pytest.raises(ValueError, match=r"the frame camera has distortion \[-0.12.*expected rectified images"):
        cam_to_cam.write(tmp_path / "cam_to_cam.yaml", calibration)


def camera_info(name: str, k: tuple[float, ...], size: tuple[int, int], r: np.ndarray, d: Any) -> dict[str, Any]:
    fx, fy, cx, cy = k

    def data(*values: float) -> dict[str, Any]:
        return {"rows": 1, "cols": len(values), "data": list(values)}

    return {
        "image_width": size[1], "image_height": size[0], "camera_name": name,
        "camera_matrix": data(fx, 0.0, cx, 0.0, fy, cy, 0.0, 0.0, 1.0), "distortion_model": "plumb_bob",
        "distortion_coefficients": data(*d), "rectification_matrix": data(*r.ravel().tolist()),
        "projection_matrix": data(fx, 0.0, cx, 0.0, 0.0, fy, cy, 0.0, 0.0, 0.0, 1.0, 0.0),
    }  # fmt: skip


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """Files of camera_calibration: R of the event camera turns it to the frame camera's orientation."""
    event = camera_info("event_camera", EVENT_K, EVENT_SIZE, TURN, (*RADTAN, 0.0))
    image = camera_info("camera", IMAGE_K, IMAGE_SIZE, np.eye(3), (0.0,) * 5)
    return saved(tmp_path / "event.yaml", event), saved(tmp_path / "image.yaml", image)


@pytest.mark.parametrize("comma", [",", " , "])
def test_points_at_infinity_of_two_camera_infos(pair: tuple[Path, Path], comma: str) -> None:
    calibration = calibration_files.read(f"{pair[0]}{comma}{pair[1]}")
    points = np.random.default_rng(0).uniform((-0.4, -0.3, 1), (0.4, 0.3, 1), (500, 3))
    raw, turned = project(points, EVENT_K, "radtan"), points @ TURN.T
    rectified = turned[:, :2] / turned[:, 2:] * EVENT_K[:2] + EVENT_K[2:]
    image = turned[:, :2] / turned[:, 2:] * IMAGE_K[:2] + IMAGE_K[2:]
    both = inside(raw, EVENT_SIZE) & inside(rectified, EVENT_SIZE)
    assert both.sum() > 200
    np.testing.assert_allclose(looked_up(calibration.rectify_map(), raw)[both], rectified[both], rtol=0, atol=0.06)
    found = looked_up(calibration.image_to_event_map(), rectified)[both]
    np.testing.assert_allclose(found, image[both], rtol=0, atol=0.06)


def test_dsec_files_are_read_as_before(turned: Calibration, tmp_path: Path) -> None:
    path = tmp_path / "cam,to,cam.yaml"  # a comma in a file's name
    cam_to_cam.write(path, turned)
    assert calibration_files.read(path).digest == calibration_files.read(str(path)).digest == turned.digest


def changed(content: dict[str, Any], *keys: str, to: Any = None) -> dict[str, Any]:
    inner = content
    for key in keys[:-1]:
        inner = inner[key]
    if to is None:
        del inner[keys[-1]]
    else:
        inner[keys[-1]] = to
    return content


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (lambda: changed(camchain(), "cam1"), r"the file is of the cameras \['cam0'\], expected cam0 and cam1"),
        (lambda: {**camchain(), "cam2": {}}, r"the cameras \['cam0', 'cam1', 'cam2'\]"),
        (lambda: changed(camchain(), "cam1", "T_cn_cnm1"), "cam1/T_cn_cnm1 is nothing"),
        (lambda: changed(camchain(), "cam1", "T_cn_cnm1", to=np.eye(3).tolist()), r"finite numbers of shape \[4, 4\]"),
        (lambda: changed(camchain(), "cam1", "T_cn_cnm1", to=(2 * np.eye(4)).tolist()), "a rotation matrix"),
        (lambda: changed(camchain(), "cam1", "T_cn_cnm1", to=POSE.T.tolist()), "a last row of 0, 0, 0, 1"),
        (lambda: changed(camchain(), "cam0", "camera_model", to="omni"), "cam0 is of the models 'omni' and 'radtan'"),
        (lambda: changed(camchain(), "cam0", "distortion_model", to=["fov"]), "expected pinhole and one of radtan"),
        (lambda: changed(camchain(), "cam1", "distortion_coeffs", to=[0.1] * 5), r"of shape \[4\]"),
        (lambda: changed(camchain(), "cam1", "intrinsics", to=[1.0, 0.0, 3.0, 4.0]), "sizes above 0"),
        (lambda: changed(camchain(), "cam0", "resolution", to=[10**400, 3]), r"of shape \[2\]"),
        (lambda: changed(camchain(), "cam0", to=[1, 2]), "cam0/camera_model is nothing"),
        (lambda: {"cams": 3, 7: 8}, r"holds the keys cams, 7, expected DSEC's .*Kalibr's .*two files of camera_info"),
        (lambda: {}, "holds the keys none, expected"),
        (
            lambda: changed(camchain(event_lens="none"), "cam0", "resolution", to=[240, 180]),
            r"rostopic is \['/davis/rendered', '/camera/image_raw'\] of two cameras of one size, expected 'event' in",
        ),
        (lambda: "a: [", "cannot be read"),
        (lambda: "a: " + "[" * 5000, "cannot be read"),
        (lambda: "a: 2024-13-99", "cannot be read"),
        (lambda: "[1, 2]", "holds list"),
        (lambda: "a: !!python/object/apply:os.system ['true']", "cannot be read"),
    ],
)  # fmt: skip
def test_a_wrong_value_of_a_camchain_is_named(tmp_path: Path, content: Callable[[], object], words: str) -> None:
    path = saved(tmp_path / "camchain.yaml", content())
    with pytest.raises(ValueError, match=words) as caught:
        calibration_files.read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("keys", "value", "words"),
    [
        (("camera_matrix", "data"), [1.0] * 8, r"event.yaml: camera_matrix/data is .* shape \[9\]"),
        (("camera_matrix",), None, "event.yaml: camera_matrix is nothing"),
        (("distortion_coefficients", "data"), [0.1, 0.2], "'plumb_bob' with 2 coefficients"),
        (("distortion_coefficients", "data"), "x", "distortion_coefficients/data is 'x'"),
        (("distortion_model",), ["plumb_bob"], "has distortion model"),
        (("image_width",), "wide", "image_width is 'wide'"),
        (("image_height",), 96.5, "image_height and image_width is 96.5, 128.0, expected whole numbers"),
        (("rectification_matrix", "data"), [0.0] * 9, "r of the event camera is"),
        (("projection_matrix", "data"), [0.0] * 12, "focal lengths 0, 0"),
    ],
)
def test_a_wrong_value_of_a_camera_info_is_named(
    pair: tuple[Path, Path], keys: tuple[str, ...], value: Any, words: str
) -> None:
    saved(pair[0], changed(yaml.safe_load(pair[0].read_text()), *keys, to=value))
    with pytest.raises(ValueError, match=words) as caught:
        calibration_files.read(f"{pair[0]},{pair[1]}")
    assert "\n" not in str(caught.value)


def test_pairs_that_are_none(pair: tuple[Path, Path]) -> None:
    event, image = pair
    for text, words in (
        (f"{image},{event}", "is of camera 'event_camera' and stands second.*exchange the two files"),
        (str(event), "is the camera_info of one camera, expected two files of camera_info"),
        (f"{event},", "expected a file or two files"),
        (f"{event},{image},{image}", "expected a file or two files"),
        (f"{event},{image.parent / 'none.yaml'}", r"none\.yaml cannot be read"),
        (f"{event.parent / 'none.yaml'}", r"none\.yaml cannot be read .*expected DSEC's cam_to_cam.yaml"),
        (f"{event.parent}", "cannot be read"),
    ):
        with pytest.raises(ValueError, match=words) as caught:
            calibration_files.read(text)
        assert "\n" not in str(caught.value)


JUNK = (
    None, "", "x", True, -1, 0, 10**400, float("nan"), float("inf"), [], {}, [None] * 4, [[]], [[1, 2], [3]], ["1", {}],
    [float("inf")] * 4, [1e308] * 4, {"data": None}, {"data": [1.0]}, np.ones((4, 4)).tolist(), [0] * 9,
)  # fmt: skip


def places(content: Any, *keys: str) -> list[tuple[str, ...]]:
    """Every place of a file, from the outermost inwards."""
    inner = (
        [found for key in content for found in places(content[key], *keys, key)] if isinstance(content, dict) else []
    )
    return [keys, *inner] if keys else inner


def refusal(paths: str) -> str:
    """Return why a calibration is refused; empty if it is not."""
    try:
        calibration_files.read(paths)
    except ValueError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("junk", JUNK, ids=lambda value: repr(value)[:20])
def test_junk_at_any_place_is_one_sentence_or_no_fault(pair: tuple[Path, Path], tmp_path: Path, junk: Any) -> None:
    info, path = yaml.safe_load(pair[0].read_text()), tmp_path / "camchain.yaml"
    for name, content, text in (("camchain", camchain(), str(path)), ("event", info, f"{pair[0]},{pair[1]}")):
        for keys in places(content):
            holder = inner = yaml.safe_load(yaml.safe_dump(content))
            for key in keys[:-1]:
                inner = inner[key]
            inner[keys[-1]] = junk
            saved(path if name == "camchain" else pair[0], holder)
            said = refusal(text)
            assert "\n" not in said, keys
            assert not said or "expected" in said, keys
