"""Times of images in text files, and whether they are on the clock of the events."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

Times = npt.NDArray[np.int64]

UNITS: Final = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
"""Nanoseconds of each unit."""
LEAST_SHARE: Final = 0.5
"""Smallest share of the images that lies within the events' time, where both are on one clock."""

LATEST_NS: Final = 10**9 << 31
"""No time is as late as this: the stamps of ROS end in 2038."""

_SHORTEST_NS: Final = 100_000  # mean time between images
_QUIET_NS: Final = 5_000_000  # without events at the end of a recording, in which an image may come
_EXACT: Final = ("us", "ns")
_NAMES: Final = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
_WHOLE: Final = {unit: f"whole {name}" if unit in _EXACT else name for unit, name in _NAMES.items()}


def read_times(path: Path, unit: str = "us", remedy: str = "write the times in this unit") -> Times:
    """Read times, one per line, as nanoseconds. Comments (`#`), empty lines and one header are left out.

    Args:
        path: the file.
        unit: "s", "ms", "us" or "ns". Microseconds and nanoseconds must be whole numbers.
        remedy: remedy for a line that is no such time, for the error message.

    Raises:
        ValueError: a line is no such time, or the times decrease; the message names the line.
    """
    times: list[int] = []
    last = -1
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read ({error}), expected one time per line; write it again") from error
    for number, text in enumerate(lines, 1):
        line = text.strip()
        if not line or line.startswith("#") or (not times and _is_header(line)):
            continue
        time_ns = _time_ns(line, unit)
        if time_ns is None:
            raise ValueError(
                f"{path} cannot be read ({line!r} in line {number}), expected {_WHOLE[unit]} from 0 to 2^31 s, one "
                f"per line; {remedy}"
            )
        if time_ns < last:
            raise ValueError(
                f"the times in {path} run backwards at line {number}, expected rising {_NAMES[unit]}; "
                f"write or download it again"
            )
        times.append(last := time_ns)
    return np.array(times, np.int64)


def _is_header(line: str) -> bool:
    return line[0].isalpha() and line.lower() not in ("nan", "inf", "infinity") and not any(map(str.isdigit, line))


def _time_ns(line: str, unit: str) -> int | None:
    """Return a line's time; None if it is no time in this unit."""
    try:
        time = Decimal(line) * UNITS[unit]
    except InvalidOperation:
        return None
    if not time.is_finite() or not 0 <= time < LATEST_NS or (unit in _EXACT and time % UNITS[unit]):
        return None
    return round(time)


def check_overlap(what: str, image_times_ns: Times, events_ns: tuple[int, int], remedy: str) -> None:
    """Refuse images and events that cannot be on one clock, or whose images follow each other faster than they can.

    Args:
        what: name of the recording, for the error message.
        image_times_ns: int64 [N], nanoseconds.
        events_ns: times of the first and of the last event; (0, 0) if there are none.
        remedy: remedy, for the error message.

    Raises:
        ValueError: fewer than `LEAST_SHARE` of the images lie within the events' time, or there are more than 10,000
            images a second: their times have another unit.
    """
    count = len(image_times_ns)
    if count > 2 and image_times_ns[-1] - image_times_ns[0] < (count - 1) * _SHORTEST_NS:
        raise ValueError(
            f"the {count} images of {what} are taken within {(image_times_ns[-1] - image_times_ns[0]) / 1e3:g} us, "
            f"expected at most 10,000 images a second{_other_unit(image_times_ns, events_ns)}; {remedy}"
        )
    within = images_within(image_times_ns, events_ns)
    if within >= LEAST_SHARE * count:
        return
    raise ValueError(
        f"{within} of the {count} images of {what} lie within the time of its events (images from "
        f"{image_times_ns[0] / 1e9:.6f} to {image_times_ns[-1] / 1e9:.6f} s, events from {events_ns[0] / 1e9:.6f} to "
        f"{events_ns[1] / 1e9:.6f} s), expected most of them{_other_unit(image_times_ns, events_ns)}; {remedy}"
    )


def images_within(image_times_ns: Times, events_ns: tuple[int, int]) -> int:
    """Return the number of images within the time of the events, or at most 5 ms after it, where few events may come.

    Arguments as for `check_overlap`.
    """
    inside = (image_times_ns >= events_ns[0]) & (image_times_ns <= events_ns[1] + _QUIET_NS)
    return int(inside.sum()) if any(events_ns) else 0


def _other_unit(image_times_ns: Times, events_ns: tuple[int, int]) -> str:
    """Return a hint if the times would fit in another unit than microseconds."""
    for unit, factor in (("s", 10**6), ("ms", 10**3), ("ns", 10**-3)):
        times = image_times_ns.astype(np.float64) * factor
        inside = (times >= events_ns[0]) & (times <= events_ns[1])
        if any(events_ns) and inside.mean() > 0.5:
            return f" (the times of the images fit if they are read as {_NAMES[unit]}, not as microseconds)"
    return ""
