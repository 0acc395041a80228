"""Read and write DSEC's `cam_to_cam.yaml`; its right pair of cameras is ignored."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from mambaseg_core.cameras.calibration import Calibration
from mambaseg_core.cameras.camera import Camera, Matrix, is_rotation
from mambaseg_core.files import write_text


def read(path: str | Path) -> Calibration:
    """Read the left pair.

    Raises:
        ValueError: the file is missing, is not YAML, or a key is missing or has the wrong shape.
    """
    path = Path(path)
    fields = _Fields(path, _load(path))
    return Calibration(
        event_raw=fields.camera("cam0", distorted=True),
        event=fields.camera("camRect0"),
        image=fields.camera("camRect1"),
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
        ValueError: DSEC's layout cannot hold the event camera's distortion.
        WriteError: the file cannot be written.
    """
    raw = calibration.event_raw
    if raw.distortion_model != "radtan" or len(raw.distortion) != 4:
        raise ValueError(
            f"the event camera has distortion {raw.distortion_model} {list(raw.distortion)}, expected radtan with 4 "
            f"coefficients, which cam_to_cam.yaml can hold; calibrate with that model"
        )
    image = calibration.image
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


def _load(path: Path) -> Mapping[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(
            f"calibration {path} cannot be read ({reason}), expected DSEC's cam_to_cam.yaml; check the path "
            f"and the file"
        ) from error
    if not isinstance(content, Mapping):
        raise ValueError(
            f"calibration {path} holds {type(content).__name__}, expected the keys intrinsics and extrinsics; "
            f"give DSEC's cam_to_cam.yaml"
        )
    return content


class _Fields:
    """Checked values of a parsed file; every error names the file and the key."""

    def __init__(self, path: Path, content: Mapping[str, Any]) -> None:
        self._path = path
        self._content = content

    def camera(self, name: str, *, distorted: bool = False) -> Camera:
        fx, fy, cx, cy = self._numbers("intrinsics", name, "camera_matrix", shape=(4,))
        width, height = self._numbers("intrinsics", name, "resolution", shape=(2,))
        if min(fx, fy, width, height) <= 0 or width % 1 or height % 1:
            raise self._error(
                f"intrinsics/{name}",
                f"camera_matrix [{fx}, {fy}, {cx}, {cy}] and resolution [{width}, {height}]",
                "[fx, fy, cx, cy] and [width, height] with sizes above 0",
            )
        camera = Camera(float(fx), float(fy), float(cx), float(cy), int(height), int(width))
        if not distorted:
            return camera
        model = self._value("intrinsics", name, "distortion_model")
        if model != "radtan":
            raise self._error(f"intrinsics/{name}/distortion_model", repr(model), "'radtan'")
        k1, k2, p1, p2 = self._numbers("intrinsics", name, "distortion_coeffs", shape=(4,))
        return Camera(*(camera.fx, camera.fy, camera.cx, camera.cy), *camera.size, (k1, k2, p1, p2))

    def pose(self, *keys: str, size: int) -> Matrix:
        """Return a rotation [3, 3] or a transform [4, 4]."""
        matrix = self._numbers(*keys, shape=(size, size))
        rotation = matrix[:3, :3]
        if not is_rotation(rotation):
            raise self._error("/".join(keys), f"{rotation.tolist()}", "a rotation matrix (orthonormal, determinant 1)")
        matrix.flags.writeable = False
        return matrix

    def _numbers(self, *keys: str, shape: tuple[int, ...]) -> Matrix:
        value = self._value(*keys)
        try:
            numbers = np.asarray(value, np.float64)
        except (TypeError, ValueError):
            numbers = None
        if numbers is None or numbers.shape != shape or not np.isfinite(numbers).all():
            raise self._error("/".join(keys), repr(value), f"finite numbers of shape {list(shape)}")
        return numbers

    def _value(self, *keys: str) -> Any:
        value: Any = self._content
        for depth, key in enumerate(keys):
            if not isinstance(value, Mapping) or key not in value:
                found = list(value) if isinstance(value, Mapping) else repr(value)
                raise self._error("/".join(keys[: depth + 1]), f"nothing (found there: {found})", "this key")
            value = value[key]
        return value

    def _error(self, key: str, got: str, expected: str) -> ValueError:
        got = got if len(got) < 200 else f"{got[:200]}..."
        return ValueError(
            f"calibration {self._path}: {key} is {got}, expected {expected}; use the file as DSEC publishes it"
        )
