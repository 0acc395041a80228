"""How the clock of a sequence's events is brought to that of its images."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from mambaseg_core.events import Events
from mambaseg_core.recordings.image_times import LATEST_NS, UNITS, check_overlap, images_within

FIRST, STAMP = "first", "stamp"
MOST = 0.9  # share of the images within the events' time, below which it is said
REMEDY = (
    "give --align first (the first event at the first image), --align with the time to add to the events, such as "
    "1.5s or -20ms, or --align stamp to keep all stamps as they are"
)
_OFFSET = re.compile(r"([+-]?\d+(?:\.\d*)?)\s*(s|ms|us|ns)")


class Sequence(Protocol):
    """Times of a sequence: of each image, and of the first and the last event, nanoseconds."""

    image_times_ns: npt.NDArray[np.int64]

    @property
    def events_ns(self) -> tuple[int, int]:
        """Times of the first and of the last event; (0, 0) without events."""


def find_shift(sequence: Sequence, align: str, what: str, warn: Callable[[str], Any]) -> int:
    """Return the time to add to all events, nanoseconds.

    Args:
        sequence: the sequence.
        align: "first": that the first event is at the time of the first image; "stamp": 0, whatever the clocks; a time
            with its unit, such as "1.5s" or "-20ms"; "": 0, if the clocks can be one.
        what: name of the sequence, for the error messages.
        warn: called with one sentence if many images are without events.

    Raises:
        ValueError: the words are none of these, most images would lie outside the time of the events (but for
            "stamp"), or an event would be where ROS has no stamps.
    """
    times, (first, last) = sequence.image_times_ns, sequence.events_ns
    shift = _shift(times, first, align)
    if not any((first, last)):  # no events
        return 0
    if not 0 <= first + shift <= last + shift < LATEST_NS:
        raise ValueError(
            f"with --align {align or STAMP} the events of {what} would be from {(first + shift) / 1e9:.6f} to "
            f"{(last + shift) / 1e9:.6f} s; expected 0 to 2^31 s, the stamps that ROS has: choose another offset"
        )
    if align != STAMP:
        check_overlap(what, times, (first + shift, last + shift), REMEDY)
        within = images_within(times, (first + shift, last + shift))
        if within < MOST * len(times):
            warn(f"{len(times) - within} of the {len(times)} images of {what} are before or after all of its events")
    return shift


def _shift(times: npt.NDArray[np.int64], first_ns: int, align: str) -> int:
    if align in ("", STAMP):
        return 0
    if align == FIRST:
        if not len(times):
            raise ValueError("--align is 'first' and there is no image; expected images: give them with --images")
        return int(times[0]) - first_ns
    offset = _OFFSET.fullmatch(align.strip())
    if offset is None:
        raise ValueError(
            f"--align is {align!r}; expected first, stamp, or a time with its unit to add to the events, such as 1.5s "
            "or -20ms (s, ms, us or ns)"
        )
    return round(Decimal(offset[1]) * UNITS[offset[2]])


def shifted(events: Events, shift_ns: int) -> Events:
    """Return events that are later by a time."""
    return events if shift_ns == 0 else replace(events, t_ns=events.t_ns + shift_ns)
