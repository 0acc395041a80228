"""Sensor time to ROS time: the offset to add to the times of a packet of events.

docs/time.md explains to users which clock each driver stamps with and which mode to choose.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from mambaseg_core.events.array import Events
from mambaseg_core.events.jumps import BELIEVED_AFTER, JUMP_NS

MODES: Final = ("header", "sensor", "filtered")
"""Modes of an `EventClock`."""

RISE_PPM: Final = 700
"""How fast the filtered offset may rise: above the drift of two quartzes (100 ppm) while NTP slews one (500 ppm)."""

STEP_NS: Final = 10_000_000
"""Stamps that are all later than allowed by more than this are of a clock that was set, not of jitter: 10 ms."""

STEP_HOLD_NS: Final = 1_000_000_000
"""If stamps are later by more than `STEP_NS` for this long, it is a step, not a stall of the host: 1 s."""

STEP_PACKETS: Final = 10
"""A step also needs this many packets: of few, none may have come without delay."""

HOLD_NS: Final = 500_000_000
"""If stamps are later by more than `JUMP_NS` for this long, it is a jump, not a stall of the host: 500 ms."""

LOST_NS: Final = 5_000_000_000
"""A stamp later by more than this is a jump at once: 5 s. An unseen wrap moves EVT3 by 16.8 s."""

_DEFAULT: Final = {"libcaer": "sensor", "libcaer_cmp": "sensor"}  # all other encodings: filtered


def default_mode(encoding: str) -> str:
    """Return the default mode for packets of an encoding.

    libcaer_driver puts absolute sensor time into its packets and stamps its images with the same clock, so nothing is
    added. All other encodings count from the start of the sensor.
    """
    return _DEFAULT.get(encoding, "filtered")


class EventClock:
    """Maps the sensor's time to the clock of the header stamps, packet by packet.

    A header's stamp is the first event's time on the host's clock plus a latency, which is never negative. So the
    smallest `stamp - first` of many packets is nearest to the true offset.

      - `sensor`: nothing is added.
      - `header`: the first event of each packet gets the header's stamp, with its jitter.
      - `filtered`: the lowest `stamp - first` so far, which rises by `RISE_PPM` to follow a drift. If the drift is
        below that and the least latency occurs at least every G nanoseconds, the offset lies above the true one by
        that latency and at most 2 * RISE_PPM / 1e6 * G more, and never below.

    `filtered` restarts, and `jumps` increases, when the clocks step against each other:
      - The sensor's time goes back by more than `JUMP_NS`, or it pauses for as long and stamps are then earlier by more
        than `JUMP_NS`, or later by more than `LOST_NS`: at once.
      - Stamps are earlier than the offset allows by more than `STEP_NS`, or later by more than `LOST_NS`: at the third
        packet in a row. One wrong stamp moves no events.
      - Stamps are later by more than `JUMP_NS` for `HOLD_NS`, or by more than `STEP_NS` for `STEP_HOLD_NS`. A stall of
        the host is shorter, or ends with stamps in time.

    Args:
        mode: one of `MODES`.

    Attributes:
        mode: one of `MODES`.
        offset_ns: offset added last, nanoseconds; None before the first packet.
        late_ns: delay of the last stamp against the offset, that is, the jitter, nanoseconds.
        jumps: how often the filter restarted.
        step_ns: by how much the offset changed at the last restart, nanoseconds.
        stamped: how many stamps it was given.
        delay_ns: sum of `late_ns`, without stamps that were off by more than `JUMP_NS`, nanoseconds.
        strays: stamps that were off by more than `JUMP_NS` and were not followed.

    Raises:
        ValueError: the mode is unknown.
    """

    def __init__(self, mode: str) -> None:
        if mode not in MODES:
            raise ValueError(f"clock mode is {mode!r}, expected one of {', '.join(map(repr, MODES))}; choose one")
        self.mode = mode
        self.offset_ns: int | None = None
        self.late_ns = 0
        self.jumps = 0
        self.step_ns = 0
        self.strays = 0
        self.stamped = 0
        self.delay_ns = 0
        self._lowest = 0  # stamp - first at _lowest_at, a sensor time
        self._lowest_at = 0
        self._previous = 0  # sensor time of the last packet
        self._restarted_at = 0  # sensor time
        self._late_since = 0  # sensor time of the first packet of those that are all too late for jitter
        self._late = self._very_late = self._lost = self._early = 0  # packets in a row that are

    def to_ros(self, events: Events, header_stamp_ns: int) -> Events:
        """Return a packet with its times on the clock of the header stamps; x, y and p are shared, not copied.

        A packet without events is returned unchanged and does not update the clock.

        Raises:
            ValueError: as `update`.
        """
        if self.mode == "sensor" or not len(events):
            return events
        offset = self.update(int(events.t_ns[0]), header_stamp_ns)
        return replace(events, t_ns=events.t_ns + np.int64(offset))

    def update(self, first_sensor_ns: int, header_stamp_ns: int) -> int:
        """Update the clock with a packet's first event and stamp; return the offset for its times, nanoseconds.

        Raises:
            ValueError: the stamp is 0 or less and the mode needs one.
        """
        if self.mode == "sensor":
            self.offset_ns = 0
            return 0
        if header_stamp_ns <= 0:
            raise ValueError(
                f"the packet's header stamp is {header_stamp_ns} ns, expected the time it was received; "
                f"let the driver fill it in, or choose the clock mode 'sensor'"
            )
        seen = header_stamp_ns - first_sensor_ns
        self.offset_ns = seen if self.mode == "header" else self._filter(first_sensor_ns, seen)
        self.late_ns = seen - self.offset_ns
        self.stamped += 1
        self.delay_ns += self.late_ns if abs(self.late_ns) <= JUMP_NS else 0
        return self.offset_ns

    def _filter(self, first_ns: int, seen: int) -> int:
        """Return the offset for a packet whose stamp is `seen` after its first event's sensor time."""
        previous, self._previous = self._previous, first_ns
        if self.offset_ns is None:
            return self._restart(first_ns, seen)
        allowed = self._lowest + max(first_ns - self._lowest_at, 0) * RISE_PPM // 1_000_000
        late_ns = seen - allowed
        went_on = first_ns - previous
        paused = went_on > JUMP_NS and not -JUMP_NS <= late_ns <= LOST_NS
        if went_on < -JUMP_NS or paused or self._lasts(first_ns, late_ns):
            if -JUMP_NS <= late_ns < 0 and 0 <= first_ns - self._restarted_at < STEP_HOLD_NS:
                return self._anchor(first_ns, seen)  # no step: the first stamps after a restart were late
            self.jumps += 1
            self.step_ns = late_ns
            return self._restart(first_ns, seen)
        self.strays += abs(late_ns) > JUMP_NS
        return self._anchor(first_ns, seen) if -STEP_NS <= late_ns <= 0 else allowed

    def _lasts(self, first_ns: int, late_ns: int) -> bool:
        """Return True if stamps are early or late for so long that a clock was set."""
        self._early = self._early + 1 if late_ns < -STEP_NS else 0
        self._lost = self._lost + 1 if late_ns > LOST_NS else 0
        self._very_late = self._very_late + 1 if late_ns > JUMP_NS else 0
        if late_ns <= STEP_NS:
            self._late = 0
        else:
            self._late_since = self._late_since if self._late else first_ns
            self._late += 1
        for_ns = first_ns - self._late_since
        return (
            max(self._early, self._lost) >= BELIEVED_AFTER
            or (self._very_late >= BELIEVED_AFTER and for_ns >= HOLD_NS)
            or (self._late >= STEP_PACKETS and for_ns >= STEP_HOLD_NS)
        )

    def _restart(self, first_ns: int, seen: int) -> int:
        self._restarted_at = first_ns
        self._late = self._very_late = self._lost = self._early = 0
        return self._anchor(first_ns, seen)

    def _anchor(self, first_ns: int, seen: int) -> int:
        self._lowest, self._lowest_at = seen, first_ns
        return seen
