"""EventArrays from raw CDR: bytes written by hand, rosbags' serializer, damage, and both implementations alike."""

from __future__ import annotations

import resource
import struct
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from mambaseg_core.events import Events
from mambaseg_core.events.decode import cdr
from mambaseg_core.events.decode.cdr import DecodeError, read_event_array

HAND = bytes.fromhex(
    "00010000"  # plain CDR, little endian
    "02000000"  # stamp: 2 s
    "03000000"  # 3 ns
    "04000000"  # a frame_id of four bytes with its NUL
    "63616d00"  # "cam"
    "e0010000"  # height 480
    "80020000"  # width 640
    "03000000"  # three events
    "0500"  # x 5
    "0700"  # y 7
    "01000000"  # 1 s
    "e8030000"  # 1000 ns
    "01"  # ON
    "00"  # padding to 2
    "7f02"  # x 639
    "df01"  # y 479
    "0000"  # padding to 4
    "01000000"  # 1 s
    "e9030000"  # 1001 ns
    "00"  # OFF
    "00"  # padding
    "8002"  # x 640: outside
    "0000"  # y 0
    "0000"  # padding
    "01000000"
    "ea030000"
    "00"  # the last byte
)


@pytest.fixture(params=["reference", "cpu"])
def backend(request: pytest.FixtureRequest) -> str:
    if request.param == "cpu" and cdr.missing():
        pytest.skip(f"compiled reader: {cdr.missing()}")
    return str(request.param)


def rows(events: Events) -> list[tuple[int, int, int, int]]:
    return list(zip(events.x.tolist(), events.y.tolist(), events.t_ns.tolist(), events.p.tolist(), strict=True))


@pytest.mark.parametrize("kind", ["dvs_msgs", "prophesee_event_msgs"])
def test_bytes_written_by_hand(kind: str, backend: str) -> None:
    message = read_event_array(kind, HAND, backend=backend)
    assert (message.stamp_ns, message.frame_id) == (2_000_000_003, "cam")
    assert (message.height, message.width, message.outside) == (480, 640, 1)
    assert rows(message.events) == [(5, 7, 1_000_001_000, 1), (639, 479, 1_000_001_001, -1)]


def serialized(frame_id: str, events: list[tuple[int, int, int, int, int]], *, little: bool = True) -> bytes:
    """Serialize a message with rosbags; events are (x, y, sec, nanosec, polarity)."""
    store = get_typestore(Stores.ROS2_HUMBLE)
    event = "uint16 x\nuint16 y\nbuiltin_interfaces/Time ts\nbool polarity"
    store.register(get_types_from_msg(event, "dvs_msgs/msg/Event"))
    array = "std_msgs/Header header\nuint32 height\nuint32 width\ndvs_msgs/Event[] events"
    store.register(get_types_from_msg(array, "dvs_msgs/msg/EventArray"))
    types = store.types
    time = types["builtin_interfaces/msg/Time"]
    message = types["dvs_msgs/msg/EventArray"](
        header=types["std_msgs/msg/Header"](stamp=time(sec=-5, nanosec=7), frame_id=frame_id),
        height=480,
        width=640,
        events=[types["dvs_msgs/msg/Event"](x=x, y=y, ts=time(s, ns), polarity=bool(p)) for x, y, s, ns, p in events],
    )
    return bytes(store.serialize_cdr(message, "dvs_msgs/msg/EventArray", little_endian=little))


@pytest.mark.parametrize("little", [True, False])
@pytest.mark.parametrize("frame_id", ["", "a", "ab", "abc", "abcd", "event_camera_left_optical_frame", "ä" * 300])
@pytest.mark.parametrize("number", [0, 1, 2, 9])
def test_what_rosbags_writes(little: bool, frame_id: str, number: int, backend: str) -> None:
    events = [(i, 2 * i, 1_700_000_000, 999_999_000 + i, i % 2) for i in range(number)]
    data = serialized(frame_id, events, little=little)
    for tail in (b"", b"\0", b"\0\0\0"):  # padding of a middleware
        message = read_event_array("dvs_msgs", data + tail, backend=backend)
        assert (message.stamp_ns, message.frame_id) == (-4_999_999_993, frame_id)
        assert rows(message.events) == [(x, y, s * 10**9 + ns, 2 * p - 1) for x, y, s, ns, p in events]


def test_times_that_step_back_are_sorted(backend: str) -> None:
    events = [(1, 1, 5, 0, 0), (2, 2, 4, 0, 1), (3, 3, -1, 500, 1), (4, 4, 5, 0, 1)]
    message = read_event_array("dvs_msgs", serialized("", events), backend=backend)
    assert message.events.x.tolist() == [3, 2, 1, 4]
    assert message.events.t_ns.tolist() == [-999_999_500, 4_000_000_000, 5_000_000_000, 5_000_000_000]


def changed(at: int, value: bytes) -> bytes:
    return HAND[:at] + value + HAND[at + len(value) :]


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "has 0 bytes, which end within its head"),
        (HAND[:3], "has 3 bytes"),
        (HAND[:31], "has 31 bytes, which end within its head"),
        (HAND[:-1], "claims 3 events, which take 45 bytes, but 44 are left"),
        (changed(28, b"\xff\xff\xff\xff"), "claims 4294967295 events, which take 68719476717 bytes"),
        (changed(12, b"\xff\xff\xff\xff"), "claims a frame_id of 4294967295 bytes, but 61 are left"),
        (changed(0, b"\x00\x07"), "is encapsulated as 0x0007, expected 0x0000 or 0x0001"),
        (changed(20, b"\0\0\0\0"), "cannot be read: height is 0"),
        (changed(24, b"\0\0\1\1"), "cannot be read: width is 16842752"),
    ],
)
def test_damage_is_named(data: bytes, sentence: str, backend: str) -> None:
    with pytest.raises(DecodeError, match="^dvs_msgs/EventArray .*" + sentence) as caught:
        read_event_array("dvs_msgs", data, backend=backend)
    assert isinstance(caught.value, ValueError)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda: read_event_array("sensor_msgs", HAND), ValueError, "kind is 'sensor_msgs', expected one of dvs_msgs"),
        (lambda: read_event_array("dvs_msgs", cast(Any, "text")), TypeError, "data is str"),
        (lambda: read_event_array("dvs_msgs", HAND, backend="cuda"), ValueError, "'cuda', expected cpu or reference"),
    ],
)
def test_what_is_refused(call: Callable[[], object], error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        call()


def test_hostile_numbers_allocate_nothing(backend: str) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DecodeError):
        read_event_array("dvs_msgs", changed(28, b"\xff\xff\xff\x7f"), backend=backend)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KiB; the events would take 27 GiB


HEADS = st.builds(
    lambda order, length, height, width, number, body: (
        (b"\0\1\0\0" if order == "<" else b"\0\0\0\0")
        + struct.pack(order + "iII", 1, 2, length)
        + b"c" * (length + -length % 4)
        + struct.pack(order + "III", height, width, number)
        + body
    ),
    st.sampled_from("<>"),
    st.integers(0, 9),
    st.sampled_from([0, 1, 480, 65536, 65537]),
    st.sampled_from([1, 640, 65536]),
    st.integers(0, 9),
    st.binary(min_size=100, max_size=160),
)


@pytest.mark.skipif(bool(cdr.missing()), reason=f"compiled reader: {cdr.missing()}")
@settings(max_examples=500)
@given(data=st.one_of(st.binary(max_size=120), HEADS, st.integers(0, len(HAND)).map(lambda n: HAND[:n])))
def test_compiled_is_the_reference(data: bytes) -> None:
    results: list[Any] = []
    for backend in ("cpu", "reference"):
        try:
            message = read_event_array("dvs_msgs", data, backend=backend)
            results.append((message.stamp_ns, message.frame_id, message.outside, rows(message.events)))
        except DecodeError as error:
            results.append(str(error))
    assert results[0] == results[1]


@pytest.mark.skipif(bool(cdr.missing()), reason=f"compiled reader: {cdr.missing()}")
def test_the_function_itself_refuses_more_events_than_bytes() -> None:
    columns = [np.zeros(1, np.uint64).ctypes.data] * 5
    data = np.zeros(44, np.uint8)
    for number in (4, -1, 2**62):
        assert cdr._function()(data.ctypes.data, 44, number, 0, 4, 4, *columns) == -1
