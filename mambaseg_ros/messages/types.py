"""Names of the message types that the node and the bag tools know, and the classes behind them.

Launch files import this, without torch; those of events are also in `mambaseg_core.events.messages`.
"""

from __future__ import annotations

import importlib
from typing import Any

IMAGE_TYPE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE_TYPE = "sensor_msgs/msg/CompressedImage"
STATUS_TYPE = "mambaseg_ros/msg/SegmentationStatus"

COLUMNS_TYPE = "mambaseg_ros/msg/EventArray"
PACKET_TYPES = ("event_camera_msgs/msg/EventPacket", "event_array_msgs/msg/EventArray")
NESTED_TYPES = (  # rclpy would take 3 us an event to make objects of them
    "dvs_msgs/msg/EventArray",
    "prophesee_event_msgs/msg/EventArray",
    "dv_ros_msgs/msg/EventArray",
    "dv_ros2_msgs/msg/EventArray",
)

EVENT_TYPES = (COLUMNS_TYPE, *PACKET_TYPES, *NESTED_TYPES)
IMAGE_TYPES = (IMAGE_TYPE, COMPRESSED_IMAGE_TYPE)
NUMBERED_TYPES = (COLUMNS_TYPE, *PACKET_TYPES)  # their seq also shows what the driver or a recorder lost


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
