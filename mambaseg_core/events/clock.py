"""Sensor time to ROS time: what has to be added to the times of a packet of events.

Which clock a driver stamps with, and which mode to choose, is told to users in docs/time.md.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from mambaseg_core.events.array import Events

MODES: Final = ("header", "sensor", "filtered")
"""How an `EventClock` may work."""

RISE_PPM: Final = 700
"""How fast the filtered offset may rise: above the drift of two quartzes (100 ppm) while NTP slews one (500 ppm)."""

JUMP_NS: Final = 100_000_000
"""A step of the clocks against each other by more than this is a jump, not jitter: 100 ms."""

HOLD_NS: Final = 500_000_000
"""Stamps that are later by more than `JUMP_NS` for this long are no stall of the host, but a jump: 500 ms."""

LOST_NS: Final = 5_000_000_000
"""A stamp that is later by more than this is a jump at once: a wrap nobody saw moves EVT3 by 16.8 s."""

_DEFAULT: Final = {"libcaer": "sensor", "libcaer_cmp": "sensor"}  # all other encodings: filtered


def default_mode(encoding: str) -> str:
    """The mode for packets of one encoding where the user names none.

    libcaer_driver puts absolute sensor time into its packets and stamps its images with the same clock, so there
    nothing is added. All other encodings count from the start of the sensor.
    """
    return _DEFAULT.get(encoding, "filtered")


class EventClock:
    """Maps the sensor's time to the clock of the header stamps, packet by packet.

    A header's stamp is the first event's time on the host's clock plus a latency, which is never negative. So of
    many packets the least `stamp - first` is nearest to the truth.

      - `sensor`: nothing is added.
      - `header`: the first event of each packet gets the header's stamp, its jitter included.
      - `filtered`: the lowest `stamp - first` so far, let rise by `RISE_PPM` so that it follows a drift. With a
        drift below that and a least latency that is met at least every G nanoseconds, the offset lies above the
        truth by that latency and at most 2 * RISE_PPM / 1e6 * G more, and never below.

    `filtered` begins anew (`jumps` counts) where the sensor's time goes back by more than `JUMP_NS`; where a stamp
    is earlier than the offset allows by more than that; and where stamps are later than it allows by more than that
    for `HOLD_NS`, or once by more than `LOST_NS`.

    Args:
        mode: one of `MODES`.

    Attributes:
        mode: as given.
        offset_ns: what was added last, nanoseconds; None before the first packet.
        late_ns: how much later than the offset says the last stamp was: the jitter, nanoseconds.
        jumps: times that the filter began anew.

    Raises:
        ValueError: another mode.
    """

    def __init__(self, mode: str) -> None:
        if mode not in MODES:
            raise ValueError(f"clock mode is {mode!r}, expected one of {', '.join(map(repr, MODES))}; choose one")
        self.mode = mode
        self.offset_ns: int | None = None
        self.late_ns = 0
        self.jumps = 0
        self._lowest = 0  # stamp - first at _lowest_at, a sensor time
        self._lowest_at = 0
        self._previous = 0  # sensor time of the last packet
        self._late_since: int | None = None  # sensor time since when stamps are later than jitter explains

    def to_ros(self, events: Events, header_stamp_ns: int) -> Events:
        """A packet with its times on the clock of the header stamps; x, y and p are shared, not copied.

        A packet without events is given back, and tells the clock nothing.

        Raises:
            ValueError: as `update`.
        """
        if self.mode == "sensor" or not len(events):
            return events
        offset = self.update(int(events.t_ns[0]), header_stamp_ns)
        return replace(events, t_ns=events.t_ns + np.int64(offset))

    def update(self, first_sensor_ns: int, header_stamp_ns: int) -> int:
        """Take in a packet's first event and stamp; what is to be added to its times, nanoseconds.

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
        return self.offset_ns

    def _filter(self, first_ns: int, seen: int) -> int:
        """The offset at a packet whose stamp is `seen` after its first event's sensor time."""
        if self.offset_ns is None:
            self._previous = first_ns
            return self._anchor(first_ns, seen)
        back, self._previous = self._previous - first_ns, first_ns
        allowed = self._lowest + max(first_ns - self._lowest_at, 0) * RISE_PPM // 1_000_000
        if back > JUMP_NS or abs(seen - allowed) > JUMP_NS:
            if back > JUMP_NS or seen < allowed or self._stays_late(first_ns, seen - allowed):
                self.jumps += 1
                return self._anchor(first_ns, seen)
            return allowed
        self._late_since = None
        return self._anchor(first_ns, seen) if seen <= allowed else allowed

    def _stays_late(self, first_ns: int, late_ns: int) -> bool:
        if self._late_since is None:
            self._late_since = first_ns
        return late_ns > LOST_NS or first_ns - self._late_since >= HOLD_NS

    def _anchor(self, first_ns: int, seen: int) -> int:
        self._lowest, self._lowest_at, self._late_since = seen, first_ns, None
        return seen
