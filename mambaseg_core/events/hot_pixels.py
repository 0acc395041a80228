"""Hot pixels: those that fire all the time, whatever is before them; found in counts, and filtered from a stream."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from mambaseg_core.events.array import Events

HOT_FACTOR: Final = 10
"""A hot pixel has more than this many times the median number of events of the 5 x 5 pixels around it."""

HOT_LEAST: Final = 20
"""A hot pixel has at least this many events."""

COUNTED: Final = 4
"""A `HotPixelFilter` counts one of so many events."""

PERIOD_NS: Final = 1_000_000_000
"""Time in which a `HotPixelFilter` counts before it decides: 1 s."""


def hot_pixels(counts: npt.NDArray[np.integer]) -> list[tuple[int, int, int]]:
    """Return (column, row, events) of each hot pixel, most events first.

    Args:
        counts: events of each pixel, [H, W].
    """
    rows, columns = _find(counts)
    order = np.argsort(-counts[rows, columns], kind="stable")
    return [(int(columns[k]), int(rows[k]), int(counts[rows[k], columns[k]])) for k in order]


def _find(counts: npt.NDArray[np.integer]) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Return rows and columns of the hot pixels."""
    rows, columns = np.nonzero(counts >= HOT_LEAST)
    if not len(rows):
        return rows, columns
    around: npt.NDArray[np.integer | np.floating] = cv2.medianBlur(np.minimum(counts, 255).astype(np.uint8), 5)
    if around.max() == 255:  # eight bits are faster, and mostly enough
        around = cv2.medianBlur(counts.astype(np.float32), 5)
    hot = counts[rows, columns] > HOT_FACTOR * around[rows, columns].astype(np.float64)
    return rows[hot], columns[hot]


class HotPixelFilter:
    """Drop the events of hot pixels, which are decided anew from each second of the stream.

    One in `COUNTED` events is counted, dropped ones too, so that a pixel stays out while it is hot. To be dropped it
    has at least `COUNTED` * `HOT_LEAST` events a second. At most one in 1000 pixels is dropped, or 100: more are a
    pattern, not defects. The first second passes. A flickering light that is as small as a pixel is dropped too.

    Args:
        height: rows of the sensor.
        width: columns of the sensor.

    Attributes:
        pixels: pixels that are dropped now.
        dropped: events dropped since the start.
    """

    def __init__(self, height: int, width: int) -> None:
        self._counts = np.zeros((height, width), np.int32)
        self._hot = np.zeros(height * width, np.bool_)
        self._since_ns: int | None = None
        self.pixels = 0
        self.dropped = 0

    def __call__(self, events: Events) -> Events:
        """Return the events of all other pixels."""
        if not len(events):
            return events
        self._decide(int(events.t_ns[0]))
        pixel = events.y * np.intp(self._counts.shape[1]) + events.x
        np.add.at(self._counts.ravel(), pixel[::COUNTED], 1)
        if not self.pixels:
            return events
        kept = ~self._hot[pixel]
        dropped = len(events) - int(np.count_nonzero(kept))
        if not dropped:
            return events
        self.dropped += dropped
        columns = {name: getattr(events, name)[kept] for name in ("x", "y", "t_ns", "p")}
        return replace(events, **columns)

    def _decide(self, now_ns: int) -> None:
        if self._since_ns is not None and 0 <= now_ns - self._since_ns < PERIOD_NS:
            return
        if self._since_ns is not None and now_ns > self._since_ns:  # else time jumped back
            hottest = hot_pixels(self._counts)[: max(100, self._counts.size // 1000)]
            self._hot[:] = False
            self._hot[[row * self._counts.shape[1] + column for column, row, _ in hottest]] = True
            self.pixels = len(hottest)
        self._since_ns = now_ns
        self._counts[:] = 0
