"""Events of event messages, whether they come from a subscription or from a bag."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np

from mambaseg_core.events.array import Events
from mambaseg_core.events.decode.cdr import CdrEventArray, read_event_array
from mambaseg_core.events.decode.packet_cdr import RawColumns, RawPacket, read_columns, read_packet
from mambaseg_core.events.decode.ros1 import read_ros1_event_array

PACKET_TYPES: Final = ("event_camera_msgs/msg/EventPacket", "event_array_msgs/msg/EventArray")
"""Types whose events are packed bytes; a `Decoder` reads them. The second is the first's old name."""

COLUMNS_TYPE: Final = "mambaseg_ros/msg/EventArray"
"""Our type, whose events are in columns; `events_from_message` reads it."""

NESTED_TYPES: Final = (
    "dvs_msgs/msg/EventArray",
    "prophesee_event_msgs/msg/EventArray",
    "dv_ros_msgs/msg/EventArray",
    "dv_ros2_msgs/msg/EventArray",
)
"""Types with one nested message per event; a `RawArray` reads them."""

EVENT_TYPES: Final = (COLUMNS_TYPE, *PACKET_TYPES, *NESTED_TYPES)
"""All types of event messages."""


class RawArray(NamedTuple):
    """A serialized EventArray with one nested message per event, such as dvs_msgs/EventArray.

    Attributes:
        package: of the message.
        data: its bytes.
        ros1: whether ROS 1 serialized it; else it is CDR.
    """

    package: str
    data: bytes
    ros1: bool = False

    def read(self) -> CdrEventArray:
        """Return its content.

        Raises:
            ValueError: the bytes are not such a message.
        """
        return (read_ros1_event_array if self.ros1 else read_event_array)(self.package, self.data)


class RawMessage(NamedTuple):
    """A message of `COLUMNS_TYPE` or `PACKET_TYPES` as CDR.

    Attributes:
        type: of the message.
        data: its bytes.
    """

    type: str
    data: bytes

    def read(self) -> RawPacket | RawColumns:
        """Return its content, under the names of the message's fields.

        Raises:
            ValueError: the bytes are not such a message.
        """
        return read_columns(self.data) if self.type == COLUMNS_TYPE else read_packet(self.data)


def events_from_message(message: Any) -> tuple[Events, int]:
    """Return the events of a mambaseg_ros/EventArray.

    Returns:
        events, and how many were refused because they lie outside the sensor.

    Raises:
        ValueError: columns of different lengths, or a size of 0.
    """
    lengths = {name: len(getattr(message, name)) for name in ("x", "y", "t_offset_ns", "p")}
    if len(set(lengths.values())) != 1:
        raise ValueError(f"EventArray has columns of lengths {lengths}; expected equal lengths: check the publisher")
    stamp = message.header.stamp
    stamp_ns = int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)
    return Events.from_sensor(
        np.asarray(message.x, np.uint16),
        np.asarray(message.y, np.uint16),
        stamp_ns + np.asarray(message.t_offset_ns, np.uint32).astype(np.int64),
        np.asarray(message.p, np.uint8) != 0,
        height=int(message.height),
        width=int(message.width),
    )
