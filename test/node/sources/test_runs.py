"""Messages taken together leave the same behind as one after the other."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mambaseg_core.events import Window
from mambaseg_core.events.messages import COLUMNS_TYPE, PACKET_TYPES, RawMessage
from mambaseg_core.recordings.bag.types import known_typestore
from mambaseg_ros.faults import kind_of
from mambaseg_ros.sources.events import EventIntake
from mambaseg_ros.sources.source import add_each

MS, S = 10**6, 10**9
START_NS = 10**18


def usually(value: Any, *others: Any) -> st.SearchStrategy[Any]:
    """Draw `value` most of the time."""
    return st.sampled_from((value,) * (8 * len(others)) + others)


# One message: (ms since the one before, step of seq, size, time base, us between events, x of events, frame, fault)
MESSAGE = st.tuples(
    usually(1, 0, 99, 101, -5, -50, -150, 2500, -START_NS // MS, 2**31 * 1000 - START_NS // MS - 1),
    usually(1, 0, 2, -7),
    usually((4, 6), (4, 7), (0, 6)),
    usually(0, 2**63, 5 * S),
    st.lists(usually(100, 0, -100, 200_000), max_size=4),
    usually(1, 6, 40),
    usually("camera", "other"),
    usually("none", "cut", "garbage", "encoding", "big endian", "lengths", "order"),
)
KINDS = ("evt3", "columns", "mono")


def serialized(kind: str, stamp_ns: int, size: tuple[int, int], seq: int, frame_id: str, **fields: Any) -> bytes:
    """Return a message with its byte order as `little`, its other fields as they are named."""
    types = known_typestore().types
    stamp = types["builtin_interfaces/msg/Time"](*divmod(stamp_ns, S))
    header = types["std_msgs/msg/Header"](stamp, frame_id)
    little = fields.pop("little")
    message = types[kind](header=header, height=size[0], width=size[1], seq=seq, **fields)
    return bytes(known_typestore().serialize_cdr(message, kind, little_endian=little))


def words(sensor_us: int, steps: list[int], x: int) -> bytes:
    """Encode events in evt3; without events the packet has only a time."""
    times = (sensor_us + np.cumsum([0, *steps])).tolist()
    head = [0x8000 | sensor_us >> 12 & 0xFFF, 0x6000 | sensor_us & 0xFFF]
    body = [(0x8000 | t >> 12 & 0xFFF, 0x6000 | t & 0xFFF, 2, 0x2000 | x + index % 2) for index, t in enumerate(times)]
    return np.array(head + [word for event in body[1:] for word in event], "<u2").tobytes()


@st.composite
def streams(draw: st.DrawFn) -> list[RawMessage]:
    messages: list[RawMessage] = []
    now_ns, seq = START_NS, 100
    main_kind, least = draw(st.sampled_from(KINDS)), draw(st.sampled_from([0, 30]))
    drawn = draw(st.lists(MESSAGE, min_size=least, max_size=30))
    for step_ms, seq_step, size, base, steps, x, frame_id, damage in drawn:
        kind = draw(usually(main_kind, *KINDS))
        now_ns, seq = max(now_ns + step_ms * MS, 0), seq + seq_step
        stamp_ns = min(now_ns, 2**31 * S - 1)
        head = partial(serialized, stamp_ns=stamp_ns, size=size, seq=max(seq, 0), frame_id=frame_id)
        little = draw(usually(True, False))
        if kind == "columns":
            offsets = np.cumsum([1000, *(step * 1000 for step in steps)])
            offsets = np.maximum(offsets if damage == "order" else np.sort(offsets), 0).astype(np.uint32)
            columns = {"x": np.full(len(offsets) + (damage == "lengths"), x, np.uint16)}
            columns |= {"y": np.ones(len(offsets), np.uint16), "p": np.ones(len(offsets), np.uint8)}
            data = head(COLUMNS_TYPE, t_offset_ns=offsets, little=little, **columns)
        else:
            sensor_us = (now_ns - START_NS + 3 * S) // 1000 % 2**24
            mono = np.array([(x << 32) + 500 * index for index in range(len(steps))], "<u8").tobytes()
            payload = np.frombuffer(words(sensor_us, steps, x) if kind == "evt3" else mono, np.uint8)
            data = head(
                PACKET_TYPES[0],
                events=payload,
                encoding="evt9" if damage == "encoding" else kind,
                is_bigendian=damage == "big endian",
                time_base=base if kind == "evt3" else (base + now_ns - START_NS) % 2**64,
                little=little,
            )
        data = {"cut": data[:-1], "garbage": b"\0\1\0\0" + data[:9]}.get(damage, data)
        messages.append(RawMessage(COLUMNS_TYPE if kind == "columns" else PACKET_TYPES[0], data))
    return messages


def state_of(intake: EventIntake) -> dict[str, Any]:
    state: dict[str, Any] = {"counts": asdict(intake.counts), "recent": intake._count()._asdict()}
    state["buffered"] = asdict(intake.buffered)
    if intake.buffer is not None:
        state["buffer"] = (intake.buffer.since_ns, intake.buffer.settled)
    state |= {"frame": intake.frame_id, "refused": intake.last_refused, "newest": intake.newest_ns}
    if intake.clock is not None:
        state["clock"] = dict(vars(intake.clock))
    if intake._decoder is not None:
        state["decoder"] = asdict(intake._decoder.counters)
    if intake.buffer is not None and intake.newest_ns is not None:
        events = intake.buffer.window(intake.newest_ns + 1, Window(duration_ns=2**62))
        state["events"] = [getattr(events, name).tolist() for name in ("x", "y", "t_ns", "p")]
    return state


LAST_PACKETS_BEYOND_ANY_STAMP = [
    RawMessage(
        PACKET_TYPES[0],
        serialized(
            PACKET_TYPES[0],
            stamp_ns=min(START_NS + index * MS if index < 6 else 2**62, 2**31 * S - 1),
            size=(4, 6),
            seq=index,
            frame_id="camera",
            little=True,
            events=np.frombuffer(words(3_000_000 + index * 1000, [100, 100], 1), np.uint8),
            encoding="evt3",
            is_bigendian=False,
            time_base=0,
        ),
    )
    for index in range(9)
]


@example(messages=LAST_PACKETS_BEYOND_ANY_STAMP, cuts=[1] + [15] * 29, mode="auto")
@settings(max_examples=100)
@given(
    messages=streams(),
    cuts=st.lists(st.integers(1, 15), min_size=30, max_size=30),
    mode=st.sampled_from(["auto", "header", "sensor"]),
)
def test_together_is_one_after_the_other(messages: list[RawMessage], cuts: list[int], mode: str) -> None:
    said: tuple[list[str], list[str]] = ([], [])
    together, single = (EventIntake(max_age_ns=2**62, max_bytes=10**7, clock_mode=mode, warn=to.append) for to in said)
    rest = messages
    for cut in cuts:
        now, rest = rest[:cut], rest[cut:]
        errors = together.add_all(now)
        assert [str(error) for error in errors] == [str(error) for error in add_each(single.add, now)]
        assert state_of(together) == state_of(single)
        # at which message it is said may differ: one whose times are refused says nothing itself
        assert set(map(kind_of, said[0])) == set(map(kind_of, said[1]))
