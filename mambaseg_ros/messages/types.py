"""Names of the message types that the node and the bag tools know, and the classes behind them."""

from __future__ import annotations

import importlib
from typing import Any

IMAGE_TYPE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE_TYPE = "sensor_msgs/msg/CompressedImage"
EVENT_ARRAY_TYPE = "mambaseg_ros/msg/EventArray"
EVENT_PACKET_TYPE = "event_camera_msgs/msg/EventPacket"
DVS_ARRAY_TYPE = "dvs_msgs/msg/EventArray"
PROPHESEE_ARRAY_TYPE = "prophesee_event_msgs/msg/EventArray"
STATUS_TYPE = "mambaseg_ros/msg/SegmentationStatus"

IMAGE_TYPES = (IMAGE_TYPE, COMPRESSED_IMAGE_TYPE)
EVENT_TYPES = (EVENT_ARRAY_TYPE, EVENT_PACKET_TYPE, DVS_ARRAY_TYPE, PROPHESEE_ARRAY_TYPE)
NUMBERED_TYPES = (EVENT_ARRAY_TYPE, EVENT_PACKET_TYPE)  # their seq also shows what the driver or a recorder lost
NESTED_TYPES = (DVS_ARRAY_TYPE, PROPHESEE_ARRAY_TYPE)  # rclpy would take 3 us an event to make objects of them


def package_of(name: str) -> str:
    """Return the package of a type."""
    return name.split("/")[0]


def message_class(name: str) -> Any:
    """Return the class that rclpy takes for a type.

    Raises:
        ValueError: its package is not installed here.
    """
    package, kind = package_of(name), name.split("/")[-1]
    try:
        return getattr(importlib.import_module(f"{package}.msg"), kind)
    except ImportError as error:
        raise ValueError(
            f"type {name} cannot be imported ({error}); expected the package {package} in this workspace: "
            "install it and source the workspace again"
        ) from error
