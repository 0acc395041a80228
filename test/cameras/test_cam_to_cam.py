"""DSEC's `cam_to_cam.yaml`, written and read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from mambaseg_core.cameras import cam_to_cam
from mambaseg_core.cameras.calibration import Calibration


@pytest.fixture
def written(turned: Calibration, tmp_path: Path) -> Path:
    path = tmp_path / "cam_to_cam.yaml"
    cam_to_cam.write(path, turned)
    return path


def test_what_is_written_is_read_back(turned: Calibration, written: Path) -> None:
    back = cam_to_cam.read(written)
    assert (back.event_raw, back.event, back.image) == (turned.event_raw, turned.event, turned.image)
    for name in ("R_rect0", "R_rect1", "T_10"):
        np.testing.assert_array_equal(getattr(back, name), getattr(turned, name))
    assert [path.name for path in written.parent.iterdir()] == ["cam_to_cam.yaml"]


def test_the_layout_is_that_of_dsec(written: Path) -> None:
    content = yaml.safe_load(written.read_text())
    assert list(content) == ["intrinsics", "extrinsics"]
    assert list(content["intrinsics"]) == ["cam0", "camRect0", "cam1", "camRect1"]
    assert content["intrinsics"]["cam0"]["resolution"] == [128, 96]
    assert content["intrinsics"]["cam0"]["camera_matrix"] == [110.0, 108.0, 66.0, 45.0]
    assert content["intrinsics"]["cam0"]["distortion_coeffs"] == [-0.12, 0.2, -0.001, 0.002]
    assert "distortion_coeffs" not in content["intrinsics"]["camRect0"]
    assert content["intrinsics"]["cam1"]["T_cn_cnm1"] == content["extrinsics"]["T_10"]


def _set(*keys: str, to: Any) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        for key in keys[:-1]:
            content = content[key]
        content[keys[-1]] = to

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda content: content.pop("extrinsics"), "extrinsics is nothing .*intrinsics"),
        (lambda content: content["intrinsics"].pop("camRect1"), "intrinsics/camRect1 is nothing"),
        (
            lambda content: content["intrinsics"]["cam0"].pop("distortion_coeffs"),
            "cam0/distortion_coeffs is nothing",
        ),
        (_set("intrinsics", "cam0", to=3), "intrinsics/cam0/camera_matrix is nothing"),
        (
            _set("intrinsics", "cam0", "camera_matrix", to=[[1, 0], [0, 1]]),
            r"camera_matrix is \[\[1.*shape \[4\]",
        ),
        (
            _set("intrinsics", "camRect0", "camera_matrix", to=[1, 2, "x", 4]),
            "camRect0/camera_matrix is .*'x'",
        ),
        (_set("intrinsics", "camRect0", "camera_matrix", to=[0, 2, 3, 4]), "camRect0 is camera_matrix"),
        (_set("intrinsics", "camRect1", "resolution", to=[640.5, 480]), "camRect1 is .*640.5"),
        (
            _set("intrinsics", "cam0", "distortion_model", to="equidistant"),
            "'equidistant', expected 'radtan'",
        ),
        (_set("extrinsics", "T_10", to=[[1, 0, 0], [0, 1, 0], [0, 0, 1]]), r"T_10 is .* shape \[4, 4\]"),
        (_set("extrinsics", "R_rect0", to=[[float("nan")] * 3] * 3), "R_rect0 is .*nan"),
        (
            _set("extrinsics", "R_rect1", to=[[2, 0, 0], [0, 1, 0], [0, 0, 1]]),
            "R_rect1 is .* a rotation matrix",
        ),
        (
            _set("extrinsics", "R_rect1", to=[[-1, 0, 0], [0, 1, 0], [0, 0, 1]]),
            "R_rect1 is .* a rotation matrix",
        ),
    ],
)
def test_a_wrong_key_is_named_with_its_file(
    written: Path, change: Callable[[dict[str, Any]], None], words: str
) -> None:
    content = yaml.safe_load(written.read_text())
    change(content)
    written.write_text(yaml.safe_dump(content))
    with pytest.raises(ValueError, match=words) as caught:
        cam_to_cam.read(written)
    assert str(written) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"intrinsics: [", "cannot be read"),
        (b"\xff\xfe\x00", "cannot be read"),
        (b"- 1\n- 2\n", "holds list"),
        (b"", "holds NoneType"),
    ],
)
def test_a_file_that_is_no_calibration(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "cam_to_cam.yaml"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=words) as caught:
        cam_to_cam.read(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"nowhere\.yaml cannot be read"):
        cam_to_cam.read(tmp_path / "nowhere.yaml")
