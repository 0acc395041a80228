"""Messages as the node's functions see them, without ROS: the same attributes and buffer types."""

from __future__ import annotations

from array import array
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest


def header(stamp_ns: int = 0, frame_id: str = "camera") -> Any:
    second, nanosecond = divmod(stamp_ns, 1_000_000_000)
    return SimpleNamespace(stamp=SimpleNamespace(sec=second, nanosec=nanosecond), frame_id=frame_id)


def make_image(picture: np.ndarray, encoding: str, *, stamp_ns: int = 0, pad: int = 0) -> Any:
    rows = np.pad(picture.reshape(picture.shape[0], -1), ((0, 0), (0, pad)))
    return SimpleNamespace(
        header=header(stamp_ns),
        height=picture.shape[0],
        width=picture.shape[1],
        step=rows.shape[1],
        encoding=encoding,
        is_bigendian=0,
        data=array("B", rows.tobytes()),
    )


def make_events(
    x: Any, y: Any, t_offset_ns: Any, p: Any, *, stamp_ns: int = 0, seq: int = 0, height: int = 4, width: int = 6
) -> Any:
    return SimpleNamespace(
        header=header(stamp_ns, "event_camera"),
        height=height,
        width=width,
        seq=seq,
        x=array("H", x),
        y=array("H", y),
        t_offset_ns=array("I", t_offset_ns),
        p=array("B", p),
    )


@pytest.fixture
def image_message() -> Any:
    """Makes sensor_msgs/Image."""
    return make_image


@pytest.fixture
def event_message() -> Any:
    """Makes mambaseg_ros/EventArray."""
    return make_events
