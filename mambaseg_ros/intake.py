"""From event messages to the event buffer: type, size and sequence are checked here, losses are counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mambaseg_core.events import Decoder, EventBuffer, Events
from mambaseg_ros.messages import events_from_message

MOST_LOST = 1_000_000  # packets; a larger step in seq is another publisher, or garbage


@dataclass
class IntakeCounts:
    """What became of the event messages since the node was activated."""

    events_received: int = 0
    events_refused: int = 0
    packets_refused: int = 0
    packets_lost: int = 0


class EventIntake:
    """Decodes event messages into a buffer.

    Args:
        max_age_ns: age of the oldest event that is kept, nanoseconds.
        max_bytes: memory of the buffer, bytes.
    """

    def __init__(self, *, max_age_ns: int, max_bytes: int) -> None:
        self._max_age_ns = max_age_ns
        self._max_bytes = max_bytes
        self._decoder: Decoder | None = None
        self._sensor = ("", 0, 0)
        self._next_seq: int | None = None
        self.counts = IntakeCounts()
        self.buffer: EventBuffer | None = None

    def add(self, message: Any) -> None:
        """Decode one EventArray or EventPacket into the buffer.

        Raises:
            ValueError: the message cannot be read, or its sensor has another size than before; it is counted.
        """
        try:
            events, refused = self._decode(message)
            self._buffer_of(events).push(events)
        except Exception:
            # whatever hostile bytes made it raise; it is counted here and told by the caller
            self.counts.packets_refused += 1
            raise
        self.counts.events_received += len(events)
        self.counts.events_refused += refused

    def _decode(self, message: Any) -> tuple[Events, int]:
        self._count_gap(int(message.seq))
        if hasattr(message, "encoding"):
            return self._decode_packet(message)
        return events_from_message(message)

    def _decode_packet(self, packet: Any) -> tuple[Events, int]:
        if packet.is_bigendian:
            raise ValueError(
                f"EventPacket of encoding {packet.encoding!r} is big endian; expected little endian: "
                "record it on a little-endian machine"
            )
        sensor = (packet.encoding, int(packet.height), int(packet.width))
        if self._decoder is None or sensor != self._sensor:
            self._decoder = Decoder(sensor[0], height=sensor[1], width=sensor[2])
            self._sensor = sensor
        before = self._decoder.counters
        events = self._decoder.decode(bytes(packet.events), time_base_ns=int(packet.time_base), seq=int(packet.seq))
        after = self._decoder.counters
        return events, after.outside + after.unplaced - before.outside - before.unplaced

    def _count_gap(self, seq: int) -> None:
        if self._next_seq is not None and 0 < seq - self._next_seq < MOST_LOST:
            self.counts.packets_lost += seq - self._next_seq
        self._next_seq = seq + 1

    def _buffer_of(self, events: Events) -> EventBuffer:
        if self.buffer is None:
            self.buffer = EventBuffer(
                events.height, events.width, max_age_ns=self._max_age_ns, max_bytes=self._max_bytes
            )
        return self.buffer
