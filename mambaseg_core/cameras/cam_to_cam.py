"""Read and write DSEC's `cam_to_cam.yaml`; its right pair of cameras is ignored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import yaml

from mambaseg_core.cameras.calibration import Calibration
from mambaseg_core.cameras.camera import Camera
from mambaseg_core.cameras.fields import Fields, load
from mambaseg_core.files import write_text

EXPECTED: Final = "DSEC's cam_to_cam.yaml with the keys intrinsics and extrinsics"


def read(path: str | Path) -> Calibration:
    """Read the left pair.

    Raises:
        ValueError: the file is missing, is not YAML, or a key is missing or has the wrong shape.
    """
    path = Path(path)
    return parse(path, load(path, EXPECTED))


def parse(path: Path, content: Mapping[str, Any]) -> Calibration:
    """Return the left pair of a file's content; raise as `read` does."""
    fields = Fields(path, content, "use the file as DSEC publishes it")
    return Calibration(
        event_raw=_camera(fields, "cam0", distorted=True),
        event=_camera(fields, "camRect0"),
        image=_camera(fields, "camRect1"),
        R_rect0=fields.pose("extrinsics", "R_rect0", size=3),
        R_rect1=fields.pose("extrinsics", "R_rect1", size=3),
        T_10=fields.pose("extrinsics", "T_10", size=4),
    )


def write(path: str | Path, calibration: Calibration) -> None:
    """Write the left pair in DSEC's layout.

    A `Calibration` does not hold the raw frame camera (cam1). It is written with the rectified camera's intrinsics and
    without distortion. The right cameras and `disparity_to_depth` are left out.

    Args:
        path: the file.
        calibration: the calibration to write.

    Raises:
        ValueError: DSEC's layout cannot hold the event camera's distortion, or the images are not rectified.
        WriteError: the file cannot be written.
    """
    raw = calibration.event_raw
    if raw.distortion_model != "radtan" or len(raw.distortion) != 4:
        raise ValueError(
            f"the event camera has distortion {raw.distortion_model} {list(raw.distortion)}, expected radtan with 4 "
            f"coefficients, which cam_to_cam.yaml can hold; calibrate with that model"
        )
    image = calibration.image
    if any(image.distortion):
        raise ValueError(
            f"the frame camera has distortion {list(image.distortion)}, expected rectified images, as cam_to_cam.yaml "
            f"has them; rectify the images and give their calibration"
        )
    intrinsics = {
        "cam0": _camera_fields(raw, "event", rectified=False),
        "camRect0": _camera_fields(calibration.event, "event", rectified=True),
        "cam1": {**_camera_fields(image, "frame", rectified=False), "T_cn_cnm1": calibration.T_10.tolist()},
        "camRect1": _camera_fields(image, "frame", rectified=True),
    }
    extrinsics = {name: getattr(calibration, name).tolist() for name in ("T_10", "R_rect0", "R_rect1")}
    content = {"intrinsics": intrinsics, "extrinsics": extrinsics}
    write_text(Path(path), yaml.safe_dump(content, sort_keys=False))


def _camera_fields(camera: Camera, camera_type: str, *, rectified: bool) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "camera_type": camera_type,
        "camera_location": "left",
        "is_rectified": rectified,
        "camera_model": "pinhole",
        "camera_matrix": [float(value) for value in (camera.fx, camera.fy, camera.cx, camera.cy)],
        "resolution": [camera.width, camera.height],
    }
    if not rectified:
        coefficients = [float(value) for value in camera.distortion]
        fields |= {"distortion_model": "radtan", "distortion_coeffs": coefficients}
    return fields


def _camera(fields: Fields, name: str, *, distorted: bool = False) -> Camera:
    camera = Camera(*fields.pinhole("camera_matrix", "intrinsics", name))
    if not distorted:
        return camera
    model = fields.value("intrinsics", name, "distortion_model")
    if model != "radtan":
        raise fields.error(f"intrinsics/{name}/distortion_model", repr(model), "'radtan'")
    k1, k2, p1, p2 = fields.numbers("intrinsics", name, "distortion_coeffs", shape=(4,)).tolist()
    return replace(camera, distortion=(k1, k2, p1, p2))
