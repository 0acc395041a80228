"""EventPackets and our EventArrays from their raw CDR, in the bytes of a subscription with `raw=True`.

rclpy copies a payload four times on its way into a message object, and takes longer for that than its decoding takes.
Here it stays where it came: the payload and the columns are views of the bytes. The attributes are those of the
messages. The fields of both types begin alike: a std_msgs/Header, uint32 height and width, uint64 seq. `cdr` describes
the alignment.
"""

from __future__ import annotations

import struct
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mambaseg_core.events.decode.cdr import DecodeError

_ORDERS: Final = {b"\0\0": ">", b"\0\1": "<"}  # the first two bytes: plain CDR
_STAMP: Final = {order: struct.Struct(f"{order}iII") for order in "<>"}  # sec, nanosec, length of the frame_id
_SIZE: Final = {order: struct.Struct(f"{order}II") for order in "<>"}  # height, width
_NUMBER: Final = {order: struct.Struct(f"{order}Q") for order in "<>"}
_LENGTH: Final = {order: struct.Struct(f"{order}I") for order in "<>"}
_STAMP_AT: Final = 4
_FRAME_AT: Final = _STAMP_AT + 12


class Stamp(NamedTuple):
    """A builtin_interfaces/Time."""

    sec: int
    nanosec: int


class Header(NamedTuple):
    """A std_msgs/Header."""

    stamp: Stamp
    frame_id: str


class RawPacket(NamedTuple):
    """An event_camera_msgs/EventPacket; `events` is a view, uint8 [N]."""

    header: Header
    height: int
    width: int
    seq: int
    time_base: int
    encoding: str
    is_bigendian: bool
    events: NDArray[np.uint8]


class RawColumns(NamedTuple):
    """A mambaseg_ros/EventArray; the columns are views in the byte order of the message."""

    header: Header
    height: int
    width: int
    seq: int
    x: NDArray[np.uint16]
    y: NDArray[np.uint16]
    t_offset_ns: NDArray[np.uint32]
    p: NDArray[np.uint8]


def read_seq(data: bytes) -> int | None:
    """Return the `seq` of an EventPacket or EventArray; None if the bytes end before it or are no plain CDR."""
    try:
        order, _, _, at = _head(data)
        return int(_NUMBER[order].unpack_from(data, at)[0])
    except (KeyError, struct.error):
        return None


def read_packet(data: bytes) -> RawPacket:
    """Read a serialized EventPacket, of either byte order; bytes after its last field are ignored.

    Raises:
        DecodeError: the bytes are cut short, or have another representation.
    """
    try:
        order, header, size, at = _head(data)
        seq, time_base = (int(_NUMBER[order].unpack_from(data, at + 8 * index)[0]) for index in range(2))
        encoding, at = _text(data, order, at + 16)
        events, _ = _column(data, order, at + 1, "u1")
        return RawPacket(header, *size, seq, time_base, encoding, bool(data[at]), events)
    except (KeyError, struct.error, IndexError, ValueError) as error:
        raise _unreadable("EventPacket", data, error) from None


def read_columns(data: bytes) -> RawColumns:
    """Read a serialized mambaseg_ros/EventArray, of either byte order; bytes after its last field are ignored.

    Raises:
        DecodeError: the bytes are cut short, or have another representation.
    """
    try:
        order, header, size, at = _head(data)
        (seq,) = _NUMBER[order].unpack_from(data, at)
        x, at = _column(data, order, at + 8, "u2")
        y, at = _column(data, order, at, "u2")
        t_offset_ns, at = _column(data, order, at, "u4")
        p, _ = _column(data, order, at, "u1")
        return RawColumns(header, *size, int(seq), x, y, t_offset_ns, p)
    except (KeyError, struct.error, ValueError) as error:
        raise _unreadable("EventArray", data, error) from None


_Head: TypeAlias = tuple[str, Header, tuple[int, int], int]


def _head(data: bytes) -> _Head:
    """Return the byte order, the header, height and width, and where `seq` begins."""
    order = _ORDERS[bytes(data[:2])]
    sec, nanosec, length = _STAMP[order].unpack_from(data, _STAMP_AT)
    at = _FRAME_AT + length
    frame_id = bytes(data[_FRAME_AT:at]).removesuffix(b"\0").decode(errors="replace")
    at += -at % 4
    height, width = _SIZE[order].unpack_from(data, at)
    at += 8
    return order, Header(Stamp(sec, nanosec), frame_id), (height, width), at + (_STAMP_AT - at) % 8


def _text(data: bytes, order: str, at: int) -> tuple[str, int]:
    """Return a string and where it ends."""
    (length,) = _LENGTH[order].unpack_from(data, at)
    end = at + 4 + length
    return bytes(data[at + 4 : end]).removesuffix(b"\0").decode(errors="replace"), end


def _column(data: bytes, order: str, at: int, kind: str) -> tuple[NDArray[Any], int]:
    """Return a sequence of numbers as a view, and where it ends."""
    at += -at % 4
    (number,) = _LENGTH[order].unpack_from(data, at)
    dtype = np.dtype(order + kind)
    at += 4  # a number of at most 4 bytes follows the length without padding
    end = at + number * dtype.itemsize
    if end > len(data):
        raise ValueError(f"a field of {number} elements, which take {end - at} bytes, where {len(data) - at} are left")
    return np.frombuffer(data, dtype, number, at), end


def _unreadable(kind: str, data: bytes, error: Exception) -> DecodeError:
    if isinstance(error, KeyError):
        return DecodeError(
            f"{kind} is encapsulated as 0x{bytes(data[:2]).hex()}, expected 0x0000 or 0x0001 (plain CDR); choose XCDR1 "
            "in the middleware of its publisher"
        )
    return DecodeError(
        f"{kind} of {len(data)} bytes cannot be read ({error}), expected a whole message; it was cut short, or is of "
        "another type"
    )
