"""EventArrays of dvs_msgs, prophesee_event_msgs, dv_ros_msgs and dv_ros2_msgs from their raw CDR.

All are a std_msgs/Header, uint32 height, uint32 width and a sequence of events: uint16 x, uint16 y, time ts (int32
sec, uint32 nanosec), bool polarity. rclpy makes a Python object of every event, which takes seconds. A subscription
with `raw=True` returns the bytes that are read here. CDR begins with four bytes that name the byte order. Then each
field is aligned to its size, counted from their end. A string's length (with its NUL) and a sequence's number of
elements come before their content.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable
from ctypes import c_int64, c_void_p
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mambaseg_core import extension
from mambaseg_core.events.array import Events
from mambaseg_core.events.columns import check_size
from mambaseg_core.events.decode.octets import Bytes, as_octets

KINDS: Final = ("dvs_msgs", "prophesee_event_msgs", "dv_ros_msgs", "dv_ros2_msgs")
"""Packages whose EventArray can be read."""

_SIZES: Final = {"B": 1, "H": 2, "i": 4, "I": 4}


class DecodeError(ValueError):
    """The bytes are not the expected message."""


@dataclass(frozen=True)
class CdrEventArray:
    """An EventArray.

    Attributes:
        stamp_ns: the header's stamp in nanoseconds.
        frame_id: the header's frame.
        height: rows of the sensor.
        width: columns of the sensor.
        events: those inside the sensor, sorted by time.
        outside: events dropped because they lay outside the sensor.
    """

    stamp_ns: int
    frame_id: str
    height: int
    width: int
    events: Events
    outside: int


class _Cursor:
    """Reads one field after the other as CDR aligns them."""

    def __init__(self, octets: NDArray[np.uint8], order: str, at: int) -> None:
        self.octets, self.order, self.at = octets, order, at

    def take(self, field: str) -> int:
        size = _SIZES[field]
        self.at += -self.at % size  # the encapsulation has 4 bytes, so counting from its start aligns the same
        (value,) = struct.unpack_from(self.order + field, self.octets.data, self.at)
        self.at += size
        return int(value)

    def take_time_ns(self) -> int:
        return self.take("i") * 1_000_000_000 + self.take("I")


def read_event_array(kind: str, data: Bytes, *, backend: str | None = None) -> CdrEventArray:
    """Read a serialized EventArray, of either byte order.

    Args:
        kind: the message's package, one of `KINDS`; their layouts are the same.
        data: the bytes of a raw subscription or of a bag; bytes after the last event are ignored.
        backend: "cpu" (compiled) or "reference" (plain Python); default: the first that works.

    Raises:
        DecodeError: the bytes are cut short, have another representation, or claim an impossible size. Memory is
            never allocated for more events than there are bytes.
        TypeError: data is not bytes.
        ValueError: an unknown kind or back end.
    """
    if kind not in KINDS:
        raise ValueError(f"kind is {kind!r}, expected one of {', '.join(KINDS)}; give the message's package")
    octets = as_octets(data)
    try:
        return _read(octets, extension.choose(backend, missing()))
    except struct.error:
        raise DecodeError(
            f"{kind}/EventArray has {len(octets)} bytes, which end within its head; expected a whole message: it "
            f"was cut short, or is of another type"
        ) from None
    except DecodeError as error:
        raise DecodeError(f"{kind}/EventArray {error}") from None


def _read(octets: NDArray[np.uint8], backend: str) -> CdrEventArray:
    representation = octets[:2].tobytes().hex()
    if len(octets) >= 2 and representation not in ("0000", "0001"):
        raise DecodeError(
            f"is encapsulated as 0x{representation}, expected 0x0000 or 0x0001 (plain CDR); choose XCDR1 in the "
            f"middleware of its publisher"
        )
    cursor = _Cursor(octets, "<" if representation == "0001" else ">", 4)
    stamp_ns = cursor.take_time_ns()
    frame_id = _take_string(cursor)
    height, width = cursor.take("I"), cursor.take("I")
    try:
        check_size(height, width)
    except ValueError as error:
        raise DecodeError(f"cannot be read: {error}") from None
    number = cursor.take("I")
    needed, left = 16 * number - 3, len(octets) - cursor.at
    if number and needed > left:
        raise DecodeError(
            f"claims {number} events, which take {needed} bytes, but {left} are left; it was cut short, or is "
            f"of another type"
        )
    events, outside = (_compiled if backend == "cpu" else _reference)(cursor, number, height, width)
    return CdrEventArray(stamp_ns, frame_id, height, width, events, outside)


def _take_string(cursor: _Cursor) -> str:
    length = cursor.take("I")
    end = cursor.at + length
    if end > len(cursor.octets):
        raise DecodeError(
            f"claims a frame_id of {length} bytes, but {len(cursor.octets) - cursor.at} are left; it was cut short, "
            f"or is of another type"
        )
    text = cursor.octets[cursor.at : end].tobytes().removesuffix(b"\0")
    cursor.at = end
    return text.decode(errors="replace")


def _reference(cursor: _Cursor, number: int, height: int, width: int) -> tuple[Events, int]:
    columns = np.empty((number, 4), np.int64)
    for row in columns:
        row[:] = cursor.take("H"), cursor.take("H"), cursor.take_time_ns(), cursor.take("B")
    x, y, t_ns, polarity = columns.T
    return Events.from_sensor(x, y, t_ns, polarity, height=height, width=width)


def _compiled(cursor: _Cursor, number: int, height: int, width: int) -> tuple[Events, int]:
    x, y = np.empty(number, np.uint16), np.empty(number, np.uint16)
    t_ns, p = np.empty(number, np.int64), np.empty(number, np.int8)
    counts = np.zeros(2, np.int64)  # outside, stepped back
    octets = cursor.octets[cursor.at :]
    pointers = [x.ctypes.data, y.ctypes.data, t_ns.ctypes.data, p.ctypes.data, counts.ctypes.data]
    inside = _function()(octets.ctypes.data, len(octets), number, cursor.order == ">", height, width, *pointers)
    x, y, t_ns, p = x[:inside], y[:inside], t_ns[:inside], p[:inside]
    if counts[1]:
        order = np.argsort(t_ns, kind="stable")
        x, y, t_ns, p = x[order], y[order], t_ns[order], p[order]
    return Events(x, y, t_ns, p, height, width), int(counts[0])


@functools.cache
def _function() -> Callable[..., int]:
    return extension.symbol("mambaseg_cdr_events", [c_void_p, *[c_int64] * 5, *[c_void_p] * 5])


@functools.cache
def missing() -> str:
    """Return why the compiled reader cannot be used in this process; an empty string if it can."""
    if extension.MISSING:
        return extension.MISSING
    try:
        _function()
    except AttributeError as error:
        return f"{extension.LIBRARY} is older than this code ({error})"
    return ""
