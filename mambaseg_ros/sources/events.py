"""Events as the second input: messages are checked and decoded into a buffer, windows are cut from it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from mambaseg_core.events import Decoder, EventBuffer, Events
from mambaseg_core.events.buffer import LATE_TOLERANCE_NS, BufferCounters
from mambaseg_core.events.clock import EventClock, default_mode
from mambaseg_core.events.decode.decoder import Packet, time_base_fits
from mambaseg_core.events.decode.packet_cdr import RawColumns
from mambaseg_core.events.hot_pixels import HotPixelFilter
from mambaseg_core.events.jumps import JUMP_NS
from mambaseg_core.events.messages import RawArray, RawMessage, events_from_message
from mambaseg_core.preprocessing import Preprocessing
from mambaseg_ros.messages.stamps import LAST_NS, stamp_to_ns
from mambaseg_ros.policy import Health, Judgement, Limits, judge_events
from mambaseg_ros.sources.event_health import (
    MESSAGES,
    REFUSED_WARNED,
    clock_sentence,
    clock_values,
    empty_sentence,
    garbled_sentence,
    refused_sentence,
    unreadable_sentence,
    window_sentence,
)
from mambaseg_ros.sources.pixels import pixel_health
from mambaseg_ros.sources.recent import EventCounts, Recent
from mambaseg_ros.sources.runs import DecodedMessage, DecodedRun, joined_columns, runs_of_one_sensor, sensor_of
from mambaseg_ros.sources.source import Second, SourceCounts, add_each, jump_sentence, say_nothing

Times: TypeAlias = npt.NDArray[np.int64]
OTHERS_IN_A_ROW = 3  # messages of one other sensor, until it is believed that the camera was exchanged


class EventIntake:
    """Decode event messages into a buffer. One thread calls it; others read counts, buffer and frame_id.

    A message of another sensor size is refused; the third in a row means that the camera was exchanged, and the buffer
    begins anew with it.

    Args:
        max_age_ns: age of the oldest event that is kept, nanoseconds.
        max_bytes: memory of the buffer, bytes.
        clock_mode: how times of EventPackets become those of the header stamps: a name of `clock.MODES`, or "auto" for
            what fits the encoding. Arrays carry times of that clock already.
        hot_pixel_filter: whether events of hot pixels are dropped (`HotPixelFilter`).
        warn: called with one sentence where times jump.
        clock: returns seconds, for what is judged by the last second.
    """

    def __init__(
        self,
        *,
        max_age_ns: int,
        max_bytes: int,
        clock_mode: str = "auto",
        hot_pixel_filter: bool = False,
        warn: Callable[[str], None] = say_nothing,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._warn = warn
        self._max_age_ns = max_age_ns
        self._max_bytes = max_bytes
        self._clock_mode = clock_mode
        self._filters = hot_pixel_filter
        self._hot: HotPixelFilter | None = None  # of the buffer's sensor
        self._hot_before = 0  # events dropped by filters of sensors before this one
        self._decoder: Decoder | None = None
        self.clock: EventClock | None = None  # of EventPackets
        self._sensor = ("", 0, 0)
        self._other_size, self._others_in_a_row = (0, 0), 0
        self._retired = BufferCounters()  # of buffers of sensors before this one
        self._decoded_before = EventCounts()  # of decoders and clocks before this one
        self._late_messages = self._behind_ns = 0
        self._jumps_said = (0, 0, 0)
        self._readable = deque[bool](maxlen=MESSAGES)  # of the last messages
        self._filled = (0, 0)  # messages and bytes up to the last message with an event
        self.counts = SourceCounts()
        self.buffer: EventBuffer | None = None
        self.frame_id = ""
        self.last_refused = False
        self._recent = Recent(self._count, clock)

    def add(self, message: Any) -> None:
        """Decode one EventArray, EventPacket or `RawArray` into the buffer.

        Raises:
            ValueError: the message cannot be read, or its sensor has another size than before; it is counted.
        """
        with self._refusals_counted():
            self._keep(self.decode(message))

    def add_all(self, messages: Sequence[Any]) -> list[Exception]:
        """Add messages in order; return the errors of those that are refused.

        Those of one sensor that follow each other are decoded and kept in one step. Times, counts and errors are those
        of `add` with one after the other.
        """
        errors: list[Exception] = []
        for run in runs_of_one_sensor(messages):
            decoded = self._decode_run(run) if len(run) > 1 else None
            if decoded is None or self.buffer is None:
                errors += add_each(self.add, run)
            else:
                errors += add_each(self._keep_counted, decoded.messages(self.buffer))
        return errors

    @contextmanager
    def _refusals_counted(self) -> Iterator[None]:
        try:
            yield
        except Exception:
            # whatever hostile bytes made it raise; it is counted here and told by the caller
            self.counts.packets_refused += 1
            self.last_refused = True
            self._readable.append(False)
            raise

    def _keep_counted(self, part: DecodedMessage) -> None:
        with self._refusals_counted():
            self._keep(part)

    def _keep(self, part: DecodedMessage) -> None:
        """Keep the events of a message, or of several, and count them."""
        _refuse_times_that_no_stamp_has(part.events)
        self._push(part.events)
        self._others_in_a_row = 0
        self.last_refused = False
        self._readable.extend([True] * min(part.messages, MESSAGES))
        self.frame_id = part.frame_id
        self._recent.note()
        self.counts.packets_read += part.messages
        self.counts.bytes_read += part.payload
        self.counts.events_received += len(part.events)
        self.counts.events_refused += part.refused
        if len(part.events) or part.refused:
            self._filled = self.counts.packets_read, self.counts.bytes_read
        self._say_jumps()

    def _push(self, events: Events) -> None:
        buffer = self._buffer_of(events)
        newest_ns = buffer.newest_ns
        if len(events) and newest_ns is not None:
            behind_ns = newest_ns - int(events.t_ns[0])
            if LATE_TOLERANCE_NS < behind_ns <= JUMP_NS:
                self._late_messages += 1
                self._behind_ns += behind_ns
        buffer.push(events if self._hot is None else self._hot(events))

    def _say_jumps(self) -> None:
        """Say what changed in the times of the stream; each change once."""
        clock, buffer = self.clock, self.buffer
        jumps, strays = (0, 0) if clock is None else (clock.jumps, clock.strays)
        now = jumps, strays, 0 if buffer is None else buffer.jumped
        before, self._jumps_said = self._jumps_said, now
        if buffer is not None and now[2] > before[2]:
            self._warn(jump_sentence("events", buffer.jump_ns))
        if clock is not None and jumps > before[0]:
            self._warn(
                f"the event clock began anew: header stamps stepped by {clock.step_ns / 1e6:+.1f} ms against the "
                "sensor's time; expected both to go on alike: have chrony or NTP slew the clock (docs/time.md)"
            )
        elif clock is not None and strays > before[1]:
            self._warn(
                f"a packet's header stamp is off by {clock.late_ns / 1e6:+.1f} ms; expected less than "
                f"{JUMP_NS / 1e6:g} ms: its events keep the sensor's time; check the driver's stamps, and the load"
            )

    def _count(self) -> EventCounts:
        """Return the counts since the start."""
        counts, held, decoded = self.counts, self.buffered, self._decoded()
        return decoded._replace(
            messages=counts.packets_read,
            payload=counts.bytes_read,
            events=counts.events_received,
            outside=counts.events_refused - decoded.unplaced,
            late=held.late,
            jumped=held.jumped,
            late_messages=self._late_messages,
            behind_ns=self._behind_ns,
        )

    def _decoded(self) -> EventCounts:
        """Return the counts of all decoders and clocks."""
        before, decoder, clock = self._decoded_before, self._decoder, self.clock
        if decoder is None or clock is None:
            return before
        counters = decoder.counters
        return before._replace(
            unplaced=before.unplaced + counters.unplaced,
            stepped_back=before.stepped_back + counters.stepped_back,
            unknown_words=before.unknown_words + counters.unknown_words,
            stamped=before.stamped + clock.stamped,
            delay_ns=before.delay_ns + clock.delay_ns,
        )

    @property
    def newest_ns(self) -> int | None:
        """Time of the newest event held, None where there is none."""
        return None if self.buffer is None else self.buffer.newest_ns

    @property
    def settled_ns(self) -> int | None:
        """Time of the newest event that no jump can undo, None where there is none."""
        return None if self.buffer is None else self.buffer.settled_ns

    def reaches(self, stamp_ns: int) -> bool:
        """Return True if events up to the stamp have come."""
        return (self.newest_ns or 0) >= stamp_ns

    @property
    def buffered(self) -> BufferCounters:
        """Counters of the buffer, and of the buffers of sensors before."""
        if self.buffer is None:
            return self._retired
        now, before = vars(self.buffer.counters), vars(self._retired)
        return BufferCounters(**{name: now[name] + before[name] for name in now})

    @property
    def filtered(self) -> int:
        """Events of hot pixels that were dropped."""
        return self._hot_before + (0 if self._hot is None else self._hot.dropped)

    def decode(self, message: Any) -> DecodedMessage:
        """Decode one message without adding it to the buffer.

        Raises:
            ValueError: the message cannot be read.
        """
        if isinstance(message, RawMessage):
            message = message.read()
        elif isinstance(message, RawArray):
            read = message.read()
            return DecodedMessage(read.events, read.outside, read.frame_id)
        frame_id = str(message.header.frame_id)
        if hasattr(message, "encoding"):
            return DecodedMessage(*self._decode_packet(message), frame_id, payload=len(message.events))
        return DecodedMessage(*events_from_message(message), frame_id)

    def _decode_packet(self, packet: Any) -> tuple[Events, int]:
        if packet.is_bigendian:
            raise ValueError(
                f"EventPacket of encoding {packet.encoding!r} is big endian; expected little endian: "
                "record it on a little-endian machine"
            )
        sensor = (packet.encoding, int(packet.height), int(packet.width))
        if self._decoder is None or sensor != self._sensor:
            self._decoded_before = self._decoded()
            self._decoder = Decoder(sensor[0], height=sensor[1], width=sensor[2])
            self._sensor = sensor
            self.clock = EventClock(default_mode(sensor[0]) if self._clock_mode == "auto" else self._clock_mode)
        assert self.clock is not None  # made with the decoder
        decoded = self._decoder.decode_packets([Packet(packet.events, int(packet.time_base), int(packet.seq))])
        events = Events(*decoded.columns, *sensor[1:])
        in_ros_time = self.clock.to_ros(events, stamp_to_ns(packet.header.stamp))
        self._say_jumps()  # here, since a packet whose times are refused moves the clock too
        return in_ros_time, decoded.refused[0]

    def _decode_run(self, run: list[Any]) -> DecodedRun | None:
        """Decode messages of one sensor together; return None, with nothing changed, where one is not as usual."""
        size = (run[0].height, run[0].width)
        if self.buffer is None or size != (self.buffer.height, self.buffer.width):
            return None
        stamps_ns = [stamp_to_ns(message.header.stamp) for message in run]
        if isinstance(run[0], RawColumns):
            return joined_columns(run, stamps_ns)
        if self._decoder is None or sensor_of(run[0]) != self._sensor or min(stamps_ns) <= 0:
            return None
        packets = [Packet(message.events, message.time_base, message.seq) for message in run]
        if not all(time_base_fits(packet.time_base_ns) for packet in packets):
            return None
        decoded = self._decoder.decode_packets(packets)
        t_ns = self._to_ros(decoded.columns.t_ns, decoded.events, stamps_ns)
        frame_ids, payloads = zip(*((message.header.frame_id, len(message.events)) for message in run), strict=True)
        return DecodedRun(
            decoded.columns._replace(t_ns=t_ns), decoded.events, decoded.refused, frame_ids, payloads, size
        )

    def _to_ros(self, t_ns: Times, lengths: Sequence[int], stamps_ns: Sequence[int]) -> Times:
        """Return the times of packets as `EventClock.to_ros` returns those of one after the other."""
        clock = self.clock
        assert clock is not None  # made with the decoder
        if clock.mode == "sensor":
            return t_ns
        offsets_ns, at = [], 0
        for length, stamp_ns in zip(lengths, stamps_ns, strict=True):
            before = clock.jumps, clock.strays
            offsets_ns.append(clock.update(int(t_ns[at]), stamp_ns) if length else 0)
            at += length
            if (clock.jumps, clock.strays) != before:
                self._say_jumps()
        return t_ns + np.repeat(np.array(offsets_ns, np.int64), lengths)

    def _buffer_of(self, events: Events) -> EventBuffer:
        size = (events.height, events.width)
        if self.buffer is None:
            self.buffer = self._new_buffer(size)
        elif size != (self.buffer.height, self.buffer.width):
            self._others_in_a_row = self._others_in_a_row + 1 if size == self._other_size else 1
            self._other_size = size
            if self._others_in_a_row == OTHERS_IN_A_ROW:
                self._retired = self.buffered
                self.buffer = self._new_buffer(size)
                self.counts.sensor_changes += 1
        return self.buffer

    def _new_buffer(self, size: tuple[int, int]) -> EventBuffer:
        if self._filters:
            self._hot_before = self.filtered
            self._hot = HotPixelFilter(*size)
        return EventBuffer(*size, max_age_ns=self._max_age_ns, max_bytes=self._max_bytes)


class EventSource(EventIntake):
    """Cut windows of events as the model's preprocessing does.

    Args:
        setup: the model's preprocessing.
        max_age_ns: as in `EventIntake`, like the others.
        max_bytes: memory of the buffer, bytes.
        clock_mode: how times of EventPackets become those of the header stamps.
        hot_pixel_filter: whether events of hot pixels are dropped (`HotPixelFilter`).
        warn: called with one sentence where times jump.
        clock: returns seconds, for what is judged by the last second.
    """

    def __init__(
        self,
        setup: Preprocessing,
        *,
        max_age_ns: int,
        max_bytes: int,
        clock_mode: str = "auto",
        hot_pixel_filter: bool = False,
        warn: Callable[[str], None] = say_nothing,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(
            max_age_ns=max_age_ns,
            max_bytes=max_bytes,
            clock_mode=clock_mode,
            hot_pixel_filter=hot_pixel_filter,
            warn=warn,
            clock=clock,
        )
        self._setup = setup
        self._usual_ns = 0  # length of the last window that was fit for use

    @property
    def reach_ns(self) -> int:
        """Length of a window that ends now, nanoseconds; at most 1 s of one by count, less where events are many."""
        window, buffer = self._setup.window, self.buffer
        longest_ns = -window.start_ns(0, self._setup.bins)
        limit = window.limit(self._setup.bins)
        if limit is None or buffer is None or not (held := len(buffer)):
            return longest_ns
        newest_ns, oldest_ns = self.newest_ns, buffer.oldest_ns
        if newest_ns is None or oldest_ns is None:
            return longest_ns
        return min(longest_ns, (newest_ns - oldest_ns) * limit // held)

    def beside(self, stamp_ns: int) -> Second | None:
        """Return the window that ends at the stamp."""
        if self.buffer is None:
            return None
        setup = self._setup
        events = self.buffer.window(stamp_ns, setup.window, bins=setup.bins)
        if not len(events):
            return None
        edges_ns = setup.window.edges_ns(events, stamp_ns, bins=setup.bins, mode=setup.voxel_mode)
        return Second(events, len(events), int(events.t_ns[0]), edges_ns, (events.height, events.width))

    def judge(self, stamp_ns: int, second: Second | None, limits: Limits) -> Judgement:
        """Judge the recent messages, then the times as `judge_events` does, then the window."""
        recent = self._recent.last_second()
        sentence = self._refused(recent, limits.events_refused_share, name="events_refused_share")
        unreadable = unreadable_sentence(list(self._readable), limits.events_refused_share)
        if sentence := unreadable or sentence or garbled_sentence(recent, self._sensor[0]):
            return Judgement(Health.BAD, sentence, usable=False)
        used, newest_ns = 0, self.newest_ns
        if second is not None:
            assert isinstance(second.data, Events)
            used, newest_ns = second.events, int(second.data.t_ns[-1])
        health, sentence = judge_events(stamp_ns, newest_ns, used, limits)
        if newest_ns is None or health != Health.GOOD:
            why = self._refused(recent, REFUSED_WARNED) or self._empty(recent)
            if not why and recent.messages:
                sentence += f"; the {recent.messages} messages of the last second hold {recent.all} events"
            return Judgement(health, why or sentence, usable=False)
        assert second is not None  # it has the newest event
        sentence = self._short(stamp_ns, self.newest_ns or newest_ns, used, limits)
        if not sentence:
            self._usual_ns = stamp_ns - second.start_ns
        return Judgement(Health.STALE if sentence else Health.GOOD, sentence, usable=True)

    def diagnose(self) -> tuple[dict[str, str], str]:
        """Return values for /diagnostics, and a sentence if something is wrong with the recent messages."""
        recent = self._recent.last_second()
        pixels = pixel_health(self.buffer)
        values = {**clock_values(self.clock, recent), **pixels.values()}
        if self._filters:
            values["events of hot pixels dropped"] = str(self.filtered)
        empty = "" if recent.all or not recent.messages else self._empty(recent)
        garbled = garbled_sentence(recent, self._sensor[0])
        unreadable = unreadable_sentence(list(self._readable), REFUSED_WARNED)
        sentence = unreadable or self._refused(recent, REFUSED_WARNED) or garbled or empty or clock_sentence(recent)
        return values, sentence or (pixels.sentence() if recent.events else "")

    def _refused(self, recent: EventCounts, most: float, *, name: str = "") -> str:
        buffer = self.buffer
        size = self._sensor[1:] if buffer is None else (buffer.height, buffer.width)
        return refused_sentence(recent, most, size, self._sensor[0], name=name)

    def _empty(self, recent: EventCounts) -> str:
        messages, payload = self.counts.packets_read - self._filled[0], self.counts.bytes_read - self._filled[1]
        return empty_sentence(EventCounts(messages, payload, unknown_words=recent.unknown_words), self._sensor[0])

    def _short(self, stamp_ns: int, newest_ns: int, used: int, limits: Limits) -> str:
        assert self.buffer is not None  # a window was cut from it
        since_ns = self.buffer.since_ns
        return window_sentence(
            self._setup.window,
            self._setup.bins,
            end_ns=stamp_ns,
            since_ns=0 if since_ns is None else since_ns,
            newest_ns=newest_ns,
            used=used,
            usual_ns=self._usual_ns,
            share=limits.min_window_share,
            least=limits.min_window_events,
        )

    def agree(self, stamp_ns: int) -> bool:
        """Believe events held back for their time if `stamp_ns`, of an image, is of it too; return True if so."""
        return self.buffer is not None and self.buffer.agree(stamp_ns)

    def forget_after(self, stamp_ns: int) -> bool:
        """Clear the buffer if its newest event is later than `stamp_ns`; return True if cleared."""
        if self.buffer is None or self.newest_ns is None or self.newest_ns <= stamp_ns:
            return False
        self.buffer.clear()
        return True

    @property
    def fill(self) -> tuple[int, float]:
        """Events held, and the memory in use, per cent of its bound."""
        buffer = self.buffer
        return (0, 0.0) if buffer is None else (len(buffer), 100.0 * buffer.nbytes / buffer.max_bytes)


def _refuse_times_that_no_stamp_has(events: Events) -> None:
    if len(events) and not 0 <= events.t_ns[0] <= events.t_ns[-1] < LAST_NS:
        raise ValueError(
            f"events have times from {events.t_ns[0]} to {events.t_ns[-1]} ns; expected those of a ROS stamp, 0 to "
            "2**31 s: check the driver's clock, and event_clock"
        )
