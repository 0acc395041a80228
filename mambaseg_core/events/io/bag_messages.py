"""Event messages in bags, by type: their definitions, and how each becomes `Events`."""

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
"""Types whose events are packed bytes, which a `Decoder` reads."""

COLUMNS: Final = "mambaseg_ros/msg/EventArray"
NESTED: Final = ("dvs_msgs/msg/EventArray", "prophesee_event_msgs/msg/EventArray")
"""Types with one message an event."""

EVENT_TYPES: Final = (*PACKETS, COLUMNS, *NESTED)
"""All types that a bag's events may have."""

# an event of the nested types in CDR: 13 bytes, and 3 more up to the next
_NESTED_EVENT: Final = np.dtype(
    {
        "names": ["x", "y", "sec", "nanosec", "p"],
        "formats": ["<u2", "<u2", "<i4", "<u4", "u1"],
        "offsets": [0, 2, 4, 8, 12],
        "itemsize": 16,
    }
)


def event_typestore() -> Typestore:
    """The definitions of `EVENT_TYPES`; those that bags carry are not always readable."""
    store = get_typestore(Stores.ROS2_HUMBLE)
    for name in PACKETS:
        store.register(get_types_from_msg(_PACKET, name))
    store.register(get_types_from_msg(_COLUMNS, COLUMNS))
    return store


def events_of_columns(message: Any) -> tuple[Events, int]:
    """The events of a `mambaseg_ros/EventArray`, and the number of those outside the sensor.

    Raises:
        ValueError: columns of different lengths, or a size of 0.
    """
    t_ns = _stamp_ns(message.header.stamp) + message.t_offset_ns.astype(np.int64)
    size = {"height": int(message.height), "width": int(message.width)}
    return Events.from_sensor(message.x, message.y, t_ns, message.p != 0, **size)


def events_of_nested(data: bytes) -> tuple[Events, int]:
    """The events of a `dvs_msgs/EventArray` from its CDR, and the number of those outside the sensor.

    Raises:
        ValueError: big endian, cut off, or a size of 0.
    """
    if data[:2] != b"\x00\x01":
        raise ValueError(f"message begins with {data[:4]!r}, expected little-endian CDR")
    body = memoryview(data)[4:]
    name_bytes = int.from_bytes(body[8:12], "little")
    at = -(-(12 + name_bytes) // 4) * 4
    height, width, count = (int.from_bytes(body[at + k : at + k + 4], "little") for k in (0, 4, 8))
    at += 12
    if at + 16 * count - 3 > len(body) and count:
        raise ValueError(f"message claims {count} events, {len(body)} bytes are there")
    padded = bytes(body[at : at + 16 * count]).ljust(16 * count, b"\0")
    rows = np.frombuffer(padded, _NESTED_EVENT)
    t_ns = rows["sec"].astype(np.int64) * 1_000_000_000 + rows["nanosec"]
    return Events.from_sensor(rows["x"], rows["y"], t_ns, rows["p"] != 0, height=height, width=width)


def _stamp_ns(stamp: Any) -> int:
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)
