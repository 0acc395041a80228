"""Event messages of one sensor that follow each other, so that they are decoded and kept in one step.

A camera sends up to a thousand packets a second. Each step of Python for each of them is taken from the model, whose
steps need Python's lock too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np

from mambaseg_core.events import Events
from mambaseg_core.events.buffer import EventBuffer
from mambaseg_core.events.decode.packet_cdr import RawColumns, RawPacket
from mambaseg_core.events.decode.reference import Columns
from mambaseg_core.events.jumps import JUMP_NS
from mambaseg_core.events.messages import RawMessage
from mambaseg_ros.messages.stamps import LAST_NS


class DecodedMessage(NamedTuple):
    """Events of a message, or of several that follow each other, in ROS time.

    Attributes:
        events: those inside the sensor.
        refused: how many were outside, or could not be placed.
        frame_id: of the message.
        messages: how many messages.
        payload: bytes of an EventPacket's events; 0 of other types.
    """

    events: Events
    refused: int
    frame_id: str
    messages: int = 1
    payload: int = 0


class DecodedRun(NamedTuple):
    """Events of a run of messages in ROS time.

    Attributes:
        columns: of all events, message by message, each in time order.
        lengths: events of each message.
        refused: events of each message that were dropped.
        frame_ids: of each message.
        payloads: bytes of each EventPacket's events.
        size: (height, width) of the sensor.
    """

    columns: Columns
    lengths: Sequence[int]
    refused: Sequence[int]
    frame_ids: Sequence[str]
    payloads: Sequence[int]
    size: tuple[int, int]

    def messages(self, buffer: EventBuffer) -> list[DecodedMessage]:
        """Return all as one message where the buffer takes it like one after the other, else one by one."""
        if self._goes_on(buffer):
            events = Events(*self.columns, *self.size)
            number, payload = len(self.lengths), sum(self.payloads)
            return [DecodedMessage(events, sum(self.refused), self.frame_ids[-1], number, payload)]
        ends = np.cumsum(self.lengths)
        rest = zip(ends, self.lengths, self.refused, self.frame_ids, self.payloads, strict=True)
        return [
            DecodedMessage(self._part(end - length, end), refused, frame_id, payload=payload)
            for end, length, refused, frame_id, payload in rest
        ]

    def _part(self, start: int, stop: int) -> Events:
        return Events(*self.columns.at(slice(start, stop)), *self.size)

    def _goes_on(self, buffer: EventBuffer) -> bool:
        """Return True if all times are in order and none jumps, from the buffer's newest on."""
        t_ns = self.columns.t_ns
        if not len(t_ns):
            return True
        newest_ns = buffer.newest_ns
        steps_ns = np.diff(t_ns, prepend=t_ns[0] if newest_ns is None else newest_ns)
        in_order = buffer.settled and bool((steps_ns >= 0).all() and (steps_ns <= JUMP_NS).all())
        return in_order and t_ns[0] >= 0 and t_ns[-1] < LAST_NS


def runs_of_one_sensor(messages: Sequence[Any]) -> Iterator[list[Any]]:
    """Yield the messages in order, read, in lists of those whose type, encoding and size are the same.

    One that cannot be read is yielded as it is, by itself.
    """
    run: list[Any] = []
    sensor: object = None
    for message in messages:
        if isinstance(message, RawMessage):
            with suppress(ValueError):
                message = message.read()
        new = sensor_of(message)
        if run and (new is None or new != sensor):
            yield run
            run = []
        run.append(message)
        sensor = new
    if run:
        yield run


def sensor_of(message: Any) -> tuple[str, int, int] | None:
    """Return encoding ("" of columns), height and width of a message that others may join, else None."""
    if isinstance(message, RawPacket) and not message.is_bigendian:
        return message.encoding, message.height, message.width
    if isinstance(message, RawColumns) and len(message.x) == len(message.y) == len(message.t_offset_ns) == len(
        message.p
    ):
        return "", message.height, message.width
    return None


def joined_columns(run: Sequence[RawColumns], stamps_ns: Sequence[int]) -> DecodedRun | None:
    """Return the events of EventArrays; None where one has to be sorted."""
    lengths = [len(message.p) for message in run]
    x, y, t_offset_ns, p = (np.concatenate(columns) for columns in zip(*(message[4:] for message in run), strict=True))
    t_ns = np.repeat(np.array(stamps_ns, np.int64), lengths) + t_offset_ns.astype(np.int64)
    if (t_ns[1:] < t_ns[:-1]).any():
        return None
    size = (run[0].height, run[0].width)
    inside = (x < size[1]) & (y < size[0])
    refused = np.zeros(len(run), np.int64)
    columns = Columns(x, y, t_ns, np.where(p != 0, 1, -1).astype(np.int8))
    if not inside.all():
        owner = np.repeat(np.arange(len(run)), lengths)
        refused = np.bincount(owner[~inside], minlength=len(run))
        lengths = (np.array(lengths) - refused).tolist()
        columns = columns.at(inside)
    native = Columns(columns.x.astype(np.uint16, copy=False), columns.y.astype(np.uint16, copy=False), *columns[2:])
    frame_ids = [message.header.frame_id for message in run]
    return DecodedRun(native, lengths, refused.tolist(), frame_ids, [0] * len(run), size)
