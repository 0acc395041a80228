"""dvs_msgs/EventArray and prophesee_event_msgs/EventArray as ROS 1 serializes them.

Fields follow each other without padding, in little endian: the header's uint32 seq, time and string, uint32 height and
width, and a sequence of events of 13 bytes: uint16 x, uint16 y, time ts (uint32 sec, uint32 nsec), bool polarity. A
string's length and a sequence's number of elements come before their content.
"""

from __future__ import annotations

import struct
from typing import Final

import numpy as np

from mambaseg_core.events.array import Events
from mambaseg_core.events.columns import check_size
from mambaseg_core.events.decode.cdr import KINDS, CdrEventArray, DecodeError

_EVENT: Final = np.dtype([("x", "<u2"), ("y", "<u2"), ("sec", "<u4"), ("nsec", "<u4"), ("p", "u1")])
_HEAD: Final = struct.Struct("<IIII")  # seq, sec, nsec, length of the frame_id
_SIZE: Final = struct.Struct("<III")  # height, width, number of events


def read_ros1_event_array(kind: str, data: bytes) -> CdrEventArray:
    """Read an EventArray serialized by ROS 1; bytes after the last event are ignored.

    Args:
        kind: the message's package, one of `KINDS`; their layouts are the same.
        data: the bytes of a bag.

    Raises:
        DecodeError: the bytes are cut short, or claim an impossible size.
        ValueError: an unknown kind.
    """
    if kind not in KINDS:
        raise ValueError(f"kind is {kind!r}, expected one of {', '.join(KINDS)}; give the message's package")
    try:
        _, sec, nsec, length = _HEAD.unpack_from(data)
        height, width, number = _SIZE.unpack_from(data, _HEAD.size + length)
        at = _HEAD.size + length + _SIZE.size
        check_size(height, width)
        table = np.frombuffer(data, _EVENT, number, at)
    except (struct.error, ValueError) as error:
        raise DecodeError(
            f"{kind}/EventArray of {len(data)} bytes cannot be read ({error}), expected a whole message of ROS 1; it "
            "was cut short, or is of another type"
        ) from None
    t_ns = table["sec"].astype(np.int64) * 1_000_000_000 + table["nsec"]
    events, outside = Events.from_sensor(table["x"], table["y"], t_ns, table["p"] != 0, height=height, width=width)
    frame_id = data[_HEAD.size : _HEAD.size + length].decode(errors="replace")
    return CdrEventArray(sec * 1_000_000_000 + nsec, frame_id, height, width, events, outside)
