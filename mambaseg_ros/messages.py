"""Messages to arrays and back. Pure functions: no node, no clock, no state.

The buffers of sensor_msgs/Image are viewed, not copied; `msg.data.frombytes` is the one way to fill a `uint8[]`
that is fast in the rclpy of every distribution (docs/ros.md, "Costs of rclpy").
"""

from __future__ import annotations

import importlib
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from mambaseg_core.events import Events

Image = npt.NDArray[np.uint8]

# encoding: (channels, OpenCV's conversion to RGB or None)
_ENCODINGS: dict[str, tuple[int, int | None]] = {
    "rgb8": (3, None),
    "bgr8": (3, cv2.COLOR_BGR2RGB),
    "rgba8": (4, cv2.COLOR_RGBA2RGB),
    "bgra8": (4, cv2.COLOR_BGRA2RGB),
    "mono8": (1, None),
}


def message_class(name: str) -> Any:
    """The class that rclpy takes for a type such as "sensor_msgs/msg/Image".

    Raises:
        ValueError: its package is not installed here.
    """
    package, _, kind = name.split("/")
    try:
        return getattr(importlib.import_module(f"{package}.msg"), kind)
    except ImportError as error:
        raise ValueError(
            f"type {name} cannot be imported ({error}); expected the package {package} in this workspace: "
            "install it and source the workspace again"
        ) from error


def stamp_to_ns(stamp: Any) -> int:
    """Nanoseconds of a builtin_interfaces/Time."""
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def image_from_message(message: Any) -> Image:
    """The picture of a sensor_msgs/Image: RGB uint8 [H, W, 3], or grey uint8 [H, W] for mono8.

    Honours `step` (rows may be padded).

    Raises:
        ValueError: an unknown encoding, a size of 0, or data that do not fill the rows.
    """
    if message.encoding not in _ENCODINGS:
        raise ValueError(
            f"image has encoding {message.encoding!r}; expected one of {', '.join(_ENCODINGS)}: "
            "set it in the camera driver or convert the topic"
        )
    channels, conversion = _ENCODINGS[message.encoding]
    height, width, step = int(message.height), int(message.width), int(message.step)
    if height == 0 or width == 0 or step < width * channels:
        raise ValueError(
            f"image is {height} x {width} {message.encoding} with step {step}; expected a size above 0 and a step of "
            f"at least {width * channels}: check the camera driver"
        )
    if len(message.data) < height * step:
        raise ValueError(
            f"image holds {len(message.data)} bytes; expected height x step = {height * step}: check the camera driver"
        )
    rows = np.frombuffer(message.data, np.uint8, count=height * step).reshape(height, step)
    pixels = rows[:, : width * channels]
    if channels == 1:
        return pixels
    picture = pixels.reshape(height, width, channels)
    return picture if conversion is None else cv2.cvtColor(picture, conversion)  # type: ignore[return-value]


def fill_image_message(message: Any, picture: Image, *, header: Any, encoding: str) -> Any:
    """Fill an empty sensor_msgs/Image with a contiguous picture [H, W] (mono8) or [H, W, 3] (rgb8)."""
    message.header = header
    message.height, message.width = picture.shape[:2]
    message.encoding = encoding
    message.is_bigendian = 0
    message.step = message.width * (1 if picture.ndim == 2 else picture.shape[2])
    message.data.frombytes(np.ascontiguousarray(picture).reshape(-1).data)
    return message


def events_from_message(message: Any) -> tuple[Events, int]:
    """The events of a mambaseg_ros/EventArray.

    Returns:
        events, and how many were refused because they lie outside the sensor.

    Raises:
        ValueError: columns of different lengths, or a size of 0.
    """
    lengths = {name: len(getattr(message, name)) for name in ("x", "y", "t_offset_ns", "p")}
    if len(set(lengths.values())) != 1:
        raise ValueError(f"EventArray has columns of lengths {lengths}; expected equal lengths: check the publisher")
    t_ns = stamp_to_ns(message.header.stamp) + np.asarray(message.t_offset_ns, np.uint32).astype(np.int64)
    return Events.from_sensor(
        np.asarray(message.x, np.uint16),
        np.asarray(message.y, np.uint16),
        t_ns,
        np.asarray(message.p, np.uint8) != 0,
        height=int(message.height),
        width=int(message.width),
    )
