"""`Decoder`: the packets of one stream in order."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mambaseg_core import extension
from mambaseg_core.events.array import Events
from mambaseg_core.events.columns import check_size
from mambaseg_core.events.decode import compiled, reference
from mambaseg_core.events.decode.octets import Bytes, as_octets
from mambaseg_core.events.decode.reference import Columns
from mambaseg_core.events.decode.state import UNKNOWN, DecoderState

ENCODINGS: Final = tuple(reference.WORDS)
"""Encodings of `decode` and `Decoder`."""

_MAX_TIME_BASE_NS: Final = 2**63 - 2**43  # leaves room for the largest time inside a packet, 2^32 us


@dataclass(frozen=True)
class DecoderCounters:
    """Counters of a decoder since it was made.

    Attributes:
        packets: packets decoded.
        events: events returned.
        outside: events dropped because they lay outside the sensor.
        unplaced: events and triggers dropped because their column, row or time was never sent: decoding began in the
            middle of the stream, or after a gap.
        stepped_back: events with an earlier time than one before them in the packet.
        unknown_words: words of a type that the encoding does not define; padding is counted here.
        truncated_bytes: bytes at the end of packets that do not fill a word.
        triggers_lost: triggers that were not taken in time.
        seq_gaps: packets that did not follow the one before (lost, repeated, or the publisher restarted).
        lost_packets: packets missing in those gaps.
    """

    packets: int = 0
    events: int = 0
    outside: int = 0
    unplaced: int = 0
    stepped_back: int = 0
    unknown_words: int = 0
    truncated_bytes: int = 0
    triggers_lost: int = 0
    seq_gaps: int = 0
    lost_packets: int = 0


class Packet(NamedTuple):
    """A packet for `Decoder.decode_packets`; the fields are the arguments of `Decoder.decode`."""

    data: Bytes
    time_base_ns: int = 0
    seq: int | None = None


class DecodedPackets(NamedTuple):
    """Events of packets that follow each other.

    Attributes:
        columns: of all events, packet by packet.
        events: how many are of each packet.
        refused: how many events of each packet lay outside the sensor or could not be placed.
    """

    columns: Columns
    events: list[int]
    refused: list[int]


class Triggers(NamedTuple):
    """Edges on the camera's trigger input, in the clock of its events and in the order of their words."""

    t_ns: NDArray[np.int64]  # [M]
    channel: NDArray[np.uint8]  # [M]
    edge: NDArray[np.int8]  # [M], +1 rising, -1 falling


def time_base_fits(time_base_ns: int) -> bool:
    """Return True if a packet's `time_base` leaves room for the times inside the packet."""
    return 0 <= time_base_ns < _MAX_TIME_BASE_NS


class Decoder:
    """Decodes the packets of one stream in order and counts faults.

    It keeps the state that runs on from packet to packet (clock, row and column, position of a vector). At a gap in
    `seq` it drops that state: events count as unplaced until the stream has sent all of it again. Threads must not
    share a decoder, but each may have its own: decoding runs without the GIL.

    Args:
        encoding: one of `ENCODINGS`.
        height: rows of the sensor.
        width: columns of the sensor.
        backend: "cpu" (compiled) or "reference" (plain Python); default: the first that works.

    Raises:
        ValueError: an unknown encoding or back end, or a size out of range.
    """

    def __init__(self, encoding: str, *, height: int, width: int, backend: str | None = None) -> None:
        if encoding not in ENCODINGS:
            raise ValueError(
                f"encoding is {encoding!r}, expected one of {', '.join(ENCODINGS)}; choose one of them in the driver"
            )
        self.encoding = encoding
        self.height, self.width = check_size(height, width)
        self._run = compiled.run if extension.choose(backend, compiled.missing()) == "cpu" else reference.run
        self._state = DecoderState(self.height, self.width)
        self._seq: int | None = None
        self._packets = self._events = self._truncated_bytes = self._seq_gaps = self._lost_packets = 0

    @property
    def counters(self) -> DecoderCounters:
        """Snapshot of the counters."""
        state = self._state
        return DecoderCounters(
            packets=self._packets,
            events=self._events,
            outside=state.outside,
            unplaced=state.unplaced,
            stepped_back=state.stepped_back,
            unknown_words=state.unknown_words,
            truncated_bytes=self._truncated_bytes,
            triggers_lost=state.triggers_lost,
            seq_gaps=self._seq_gaps,
            lost_packets=self._lost_packets,
        )

    def decode(self, data: Bytes, time_base_ns: int = 0, seq: int | None = None) -> Events:
        """Decode the next packet.

        Events are returned in the order of their times; events of one time in the order of their words. If a time
        steps back inside the packet, `libcaer_cmp` raises it to the largest time before it: its encoder leaves out
        time words, so the earlier time is stale. In the other encodings the earlier time is true, and the events are
        sorted. A packet may still begin a little before the end of the one ahead of it.

        Args:
            data: the packet's payload; the bytes must not change meanwhile. Bytes at its end that do not fill a word
                are dropped and counted, so cut a file between words (multiples of 8 bytes suit all encodings).
            time_base_ns: the packet's `time_base` in nanoseconds, to which the times inside are added. The evt
                encodings do not use it: their times are the sensor's own, from 0 and unwrapped.
            seq: the packet's number in its stream, to detect losses; None without one.

        Raises:
            TypeError: data is not bytes.
            ValueError: time_base_ns out of range.
        """
        run = self.decode_packets([Packet(data, time_base_ns, seq)])
        return Events(*run.columns, self.height, self.width)

    def decode_packets(self, packets: Sequence[Packet]) -> DecodedPackets:
        """Decode the next packets as `decode` does, in fewer steps; the events of each packet are in time order.

        Raises:
            TypeError: data is not bytes.
            ValueError: time_base_ns out of range. Then no packet has been decoded.
        """
        octets = [as_octets(packet.data) for packet in packets]
        bases = [operator.index(packet.time_base_ns) for packet in packets]
        for base in bases:
            if not time_base_fits(base):
                raise ValueError(
                    f"time_base_ns is {base}, expected 0 to {_MAX_TIME_BASE_NS}; the packet's header is damaged"
                )
        parts: list[Columns] = []
        refused: list[int] = []
        for packet, data, base in zip(packets, octets, bases, strict=True):
            if packet.seq is not None:
                self._follow(operator.index(packet.seq))
            state = self._state
            stepped_back, before = state.stepped_back, state.outside + state.unplaced
            columns = self._run(self.encoding, data, base, state)
            if state.stepped_back != stepped_back:
                order = np.argsort(columns.t_ns, kind="stable")
                columns = columns.at(order)
            parts.append(columns)
            refused.append(state.outside + state.unplaced - before)
            self._truncated_bytes += len(data) % reference.WORD_BYTES[self.encoding]
        joined = parts[0] if len(parts) == 1 else Columns(*map(np.concatenate, zip(*parts, strict=True)))
        self._packets += len(packets)
        self._events += len(joined.x)
        return DecodedPackets(joined, [len(part.x) for part in parts], refused)

    def triggers(self) -> Triggers:
        """Return the triggers since the last call; up to 65,536 wait, later ones are lost and counted."""
        state, waiting = self._state, self._state.triggers
        state.triggers = 0
        return Triggers(
            state.trigger_t_ns[:waiting].copy(),
            state.trigger_channel[:waiting].copy(),
            state.trigger_edge[:waiting].copy(),
        )

    def _follow(self, seq: int) -> None:
        expected = seq if self._seq is None else self._seq + 1
        if seq != expected:
            self._state.forget()
            if seq < expected:  # repeated or restarted: an earlier time is no wrap
                self._state.last_high = UNKNOWN
            self._seq_gaps += 1
            self._lost_packets += max(0, seq - expected)
        self._seq = seq


def decode(encoding: str, data: Bytes, *, height: int, width: int, time_base_ns: int = 0) -> Events:
    """Decode one packet by itself, without state of others; see `Decoder.decode`.

    Raises:
        TypeError: data is not bytes.
        ValueError: an unknown encoding, a size or a time base out of range.
    """
    return Decoder(encoding, height=height, width=width).decode(data, time_base_ns)
