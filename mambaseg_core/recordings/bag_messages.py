"""Types of event messages in bags: their definitions, and their conversion to `Events`."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from mambaseg_core.events.array import Events

_PACKET: Final = """
std_msgs/Header header
uint32 height
uint32 width
uint64 seq
uint64 time_base
string encoding
bool is_bigendian
uint8[] events
"""
_COLUMNS: Final = """
std_msgs/Header header
uint32 height
uint32 width
uint64 seq
uint16[] x
uint16[] y
uint32[] t_offset_ns
uint8[] p
"""

PACKETS: Final = ("event_camera_msgs/msg/EventPacket", "event_array_msgs/msg/EventArray")
"""Types whose events are packed bytes; a `Decoder` reads them."""

COLUMNS: Final = "mambaseg_ros/msg/EventArray"
NESTED: Final = ("dvs_msgs/msg/EventArray", "prophesee_event_msgs/msg/EventArray")
"""Types with one nested message per event."""

EVENT_TYPES: Final = (*PACKETS, COLUMNS, *NESTED)
"""All types of event messages."""


def event_typestore() -> Typestore:
    """Return the definitions of `EVENT_TYPES`; the ones stored in bags are not always readable."""
    store = get_typestore(Stores.ROS2_HUMBLE)
    for name in PACKETS:
        store.register(get_types_from_msg(_PACKET, name))
    store.register(get_types_from_msg(_COLUMNS, COLUMNS))
    return store


def events_of_columns(message: Any) -> tuple[Events, int]:
    """Return the events of a `mambaseg_ros/EventArray` and the number dropped outside the sensor.

    Raises:
        ValueError: the columns' lengths differ, or the size is 0.
    """
    t_ns = _stamp_ns(message.header.stamp) + message.t_offset_ns.astype(np.int64)
    size = {"height": int(message.height), "width": int(message.width)}
    return Events.from_sensor(message.x, message.y, t_ns, message.p != 0, **size)


def _stamp_ns(stamp: Any) -> int:
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)
