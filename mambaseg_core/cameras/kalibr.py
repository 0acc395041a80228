"""Kalibr's `camchain.yaml` of an event camera and a frame camera.

The frame camera stays raw: its images are taken with their distortion, and no image needs to be rectified.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from mambaseg_core.cameras.calibration import Calibration
from mambaseg_core.cameras.camera import Camera
from mambaseg_core.cameras.fields import Fields

EXPECTED: Final = "Kalibr's camchain.yaml with the keys cam0 and cam1"
_EVENT_WORDS: Final = ("event", "dvs")  # in a rostopic
_COEFFICIENTS: Final = {"radtan": 4, "equidistant": 4, "none": 0}


def parse(path: Path, content: Mapping[str, Any]) -> Calibration:
    """Return the calibration of a file's content.

    The event camera is the one whose rostopic has "event" or "dvs" in it. Where neither or both have, it is cam0 if the
    sizes differ, so that the other order is noticed at the first events.

    Args:
        path: of the file, for errors.
        content: what it holds.

    Raises:
        ValueError: there are not two cameras, nothing tells which one sees events, or a key is missing or has the wrong
            shape.
    """
    fields = Fields(path, content, "use the file as Kalibr writes it")
    cameras = sorted(str(key) for key in content if str(key).startswith("cam"))
    if cameras != ["cam0", "cam1"]:
        raise fields.error("the file", f"of the cameras {cameras}", "cam0 and cam1, an event camera and a frame camera")
    topics = [_rostopic(content[name]) for name in cameras]
    sees_events = [any(word in topic.lower() for word in _EVENT_WORDS) for topic in topics]
    event, frame = reversed(cameras) if sees_events == [False, True] else cameras
    raw, image = _camera(fields, event), _camera(fields, frame)
    if sees_events[0] == sees_events[1] and raw.size == image.size:
        raise fields.error("rostopic", f"{topics} of two cameras of one size", "'event' in that of the event camera")
    to_cam1 = fields.pose("cam1", "T_cn_cnm1", size=4)
    if not np.array_equal(to_cam1[3], (0, 0, 0, 1)):
        raise fields.error("cam1/T_cn_cnm1", f"{to_cam1.tolist()}", "a last row of 0, 0, 0, 1")
    return Calibration(
        event_raw=raw,
        event=Camera(raw.fx, raw.fy, raw.cx, raw.cy, *raw.size),
        image=image,
        R_rect0=np.eye(3),
        R_rect1=np.eye(3),
        T_10=to_cam1 if event == "cam0" else np.asarray(np.linalg.inv(to_cam1), np.float64),
    )


def _rostopic(camera: Any) -> str:
    return str(camera.get("rostopic", "")) if isinstance(camera, Mapping) else ""


def _camera(fields: Fields, name: str) -> Camera:
    model, lens = (str(fields.value(name, key)) for key in ("camera_model", "distortion_model"))
    if model != "pinhole" or lens not in _COEFFICIENTS:
        raise fields.error(
            name, f"of the models {model!r} and {lens!r}", f"pinhole and one of {', '.join(_COEFFICIENTS)}"
        )
    coefficients = fields.numbers(name, "distortion_coeffs", shape=(_COEFFICIENTS[lens],)).tolist()
    distortion = (tuple(coefficients), lens) if coefficients else ()
    return Camera(*fields.pinhole("intrinsics", name), *distortion)
