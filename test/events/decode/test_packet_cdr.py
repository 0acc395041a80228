"""EventPackets and our EventArrays from their raw CDR: rosbags' serializer, both byte orders, and damage."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mambaseg_core.events.decode.cdr import DecodeError
from mambaseg_core.events.decode.packet_cdr import RawColumns, RawPacket, read_columns, read_packet, read_seq
from mambaseg_core.events.messages import COLUMNS_TYPE, PACKET_TYPES, RawMessage
from mambaseg_core.recordings.bag.types import known_typestore

COLUMNS = {"x": np.uint16, "y": np.uint16, "t_offset_ns": np.uint32, "p": np.uint8}


def serialized(kind: str, frame_id: str, *, little: bool = True, **fields: Any) -> bytes:
    types = known_typestore().types
    header = types["std_msgs/msg/Header"](types["builtin_interfaces/msg/Time"](-5, 7), frame_id)
    message = types[kind](header=header, height=480, width=640, seq=2**40 + 3, **fields)
    return bytes(known_typestore().serialize_cdr(message, kind, little_endian=little))


def packet(frame_id: str = "cam", encoding: str = "evt3", *, little: bool = True, number: int = 5) -> bytes:
    events = np.arange(number, dtype=np.uint8)
    fields: Any = {"time_base": 2**50 + 1, "encoding": encoding, "is_bigendian": False, "events": events}
    return serialized(PACKET_TYPES[0], frame_id, little=little, **fields)


def columns(frame_id: str = "cam", *, little: bool = True, number: int = 3) -> bytes:
    fields: Any = {name: np.arange(number).astype(dtype) + 7 for name, dtype in COLUMNS.items()}
    return serialized(COLUMNS_TYPE, frame_id, little=little, **fields)


@pytest.mark.parametrize("tail", [b"", b"\0", b"\0\0\0"])  # padding of a middleware
@pytest.mark.parametrize("little", [True, False])
@pytest.mark.parametrize("frame_id", ["", "a", "ab", "abc", "abcd", "event_camera_optical_frame", "ä" * 300])
@pytest.mark.parametrize("number", [0, 1, 6])
def test_what_rosbags_writes(frame_id: str, little: bool, number: int, tail: bytes) -> None:
    for encoding in ("", "evt3", "libcaer_cmp"):
        data = packet(frame_id, encoding, little=little, number=number) + tail
        message = RawMessage(PACKET_TYPES[1], data).read()
        assert isinstance(message, RawPacket)
        assert message[:7] == (((-5, 7), frame_id), 480, 640, 2**40 + 3, 2**50 + 1, encoding, False)
        assert message.events.tolist() == list(range(number))
    data = columns(frame_id, little=little, number=number) + tail
    array = RawMessage(COLUMNS_TYPE, data).read()
    assert isinstance(array, RawColumns)
    assert array[:4] == (((-5, 7), frame_id), 480, 640, 2**40 + 3)
    assert [column.tolist() for column in array[4:]] == [[7 + index for index in range(number)]] * 4
    assert read_seq(data) == read_seq(packet(frame_id, little=little)) == 2**40 + 3


@pytest.mark.parametrize("read", [read_packet, read_columns])
@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "is encapsulated as 0x, expected 0x0000 or 0x0001"),
        (b"\0\7" + packet()[2:], "is encapsulated as 0x0007, expected 0x0000 or 0x0001"),
        (packet()[:17], "of 17 bytes cannot be read"),
        (packet()[:12] + b"\xff\xff\xff\xff" + packet()[16:], "cannot be read"),
    ],
)
def test_damage_is_named(read: Any, data: bytes, sentence: str) -> None:
    with pytest.raises(DecodeError, match="^Event(Packet|Array) .*" + sentence) as caught:
        read(data)
    assert "\n" not in str(caught.value)
    assert read_seq(data) is None


@pytest.mark.parametrize(("read", "data"), [(read_packet, packet()), (read_columns, columns())])
def test_every_cut_is_refused(read: Any, data: bytes) -> None:
    for end in range(len(data)):
        with pytest.raises(DecodeError):
            read(data[:end])
    at = data.index(b"\3\0\0\0\7\0") if read is read_columns else len(data) - 9  # the length of a sequence
    more = data[:at] + b"\xff\xff\xff\x7f" + data[at + 4 :]
    with pytest.raises(DecodeError, match=r"field of 2147483647 elements, which take .* are left"):
        read(more)


@given(st.one_of(st.binary(max_size=200), st.binary(max_size=100).map(lambda tail: b"\0\1\0\0" + bytes(8) + tail)))
def test_hostile_bytes_are_read_or_refused(data: bytes) -> None:
    for read in (read_packet, read_columns):
        with suppress(DecodeError):
            read(data)
    read_seq(data)
