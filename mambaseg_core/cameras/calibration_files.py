"""A `Calibration` from any file of calibration, by its content."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

from mambaseg_core.cameras import cam_to_cam, camera_info, kalibr
from mambaseg_core.cameras.calibration import Calibration
from mambaseg_core.cameras.fields import Fields, load

_PAIR: Final = "two files of camera_info, EVENT.yaml,IMAGE.yaml"
EXPECTED: Final = f"{cam_to_cam.EXPECTED}, {kalibr.EXPECTED}, or {_PAIR}"


def read(paths: str | Path) -> Calibration:
    """Read a calibration.

    Args:
        paths: DSEC's `cam_to_cam.yaml`; Kalibr's `camchain.yaml`; or two files of `camera_calibration`, the event
            camera's and the frame camera's, with a comma between them. The two belong to one stereo calibration, and
            images are rectified (`camera_info.calibration`).

    Raises:
        ValueError: a file is missing or of another kind, or a value is missing or wrong; one sentence.
    """
    parts = [str(paths)] if Path(paths).is_file() else [part.strip() for part in str(paths).split(",")]
    if len(parts) > 2 or "" in parts:
        raise ValueError(f"calibration is {str(paths)!r}, expected a file or {_PAIR}; give one or two paths")
    if len(parts) == 2:
        return _of_pair(*(Path(part) for part in parts))
    path = Path(parts[0])
    content = load(path, EXPECTED)
    if "intrinsics" in content or "extrinsics" in content:
        return cam_to_cam.parse(path, content)
    if "cam0" in content or "cam1" in content:
        return kalibr.parse(path, content)
    if "camera_matrix" in content or "image_width" in content:
        raise ValueError(f"calibration {path} is the camera_info of one camera, expected {_PAIR}; give both")
    found = ", ".join(str(key) for key in list(content)[:8])
    raise ValueError(f"calibration {path} holds the keys {found or 'none'}, expected {EXPECTED}; give such a file")


def _of_pair(event: Path, image: Path) -> Calibration:
    contents = [load(path, "a camera_info as camera_calibration writes it") for path in (event, image)]
    named = ["event" in str(content.get("camera_name", "")).lower() for content in contents]
    if named == [False, True]:
        raise ValueError(
            f"calibration {image} is of camera {contents[1]['camera_name']!r} and stands second, expected {_PAIR}; "
            "exchange the two files"
        )
    infos = [_info(path, content) for path, content in zip((event, image), contents, strict=True)]
    return camera_info.calibration(*infos)


def _info(path: Path, content: Mapping[str, Any]) -> SimpleNamespace:
    """Return a file of camera_calibration with the names of `sensor_msgs/CameraInfo`."""
    fields = Fields(path, content, "use the file as camera_calibration writes it")

    def data(key: str, size: int) -> list[float]:
        return fields.numbers(key, "data", shape=(size,)).tolist()  # type: ignore[no-any-return]

    coefficients = fields.value("distortion_coefficients", "data")
    height, width = (fields.numbers(key, shape=()).item() for key in ("image_height", "image_width"))
    if height % 1 or width % 1:
        raise fields.error("image_height and image_width", f"{height}, {width}", "whole numbers")
    return SimpleNamespace(
        height=int(height),
        width=int(width),
        distortion_model=str(fields.value("distortion_model")),
        d=data("distortion_coefficients", len(coefficients) if isinstance(coefficients, list) else 5),
        k=data("camera_matrix", 9),
        r=data("rectification_matrix", 9),
        p=data("projection_matrix", 12),
    )
