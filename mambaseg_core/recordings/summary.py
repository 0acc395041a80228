"""Summary of a recording: its numbers, and its hot pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from mambaseg_core.events.hot_pixels import hot_pixels
from mambaseg_core.recordings.reader import EventReader

_CHUNK: Final = 1 << 18  # events
_RATE_NS: Final = 10_000_000


@dataclass(frozen=True)
class Summary:
    """Summary of a recording.

    Attributes:
        events: number of events.
        on: number of ON events.
        start_ns: time of the first event, nanoseconds; 0 without events.
        end_ns: 1 ns after the last event.
        peak_rate: highest rate in any bin of 10 ms, events per second.
        hot_pixels: (column, row, events) of each hot pixel, most events first.
        counters: counts of faults in the data, by name; see `EventReader.counters`.
    """

    events: int
    on: int
    start_ns: int
    end_ns: int
    peak_rate: float
    hot_pixels: list[tuple[int, int, int]]
    counters: dict[str, int]

    @property
    def duration_s(self) -> float:
        """Time from the first event to the last, seconds."""
        return (self.end_ns - self.start_ns) / 1e9

    @property
    def rate(self) -> float:
        """Events per second; 0 without events."""
        return self.events / self.duration_s if self.events else 0.0


def summarise(reader: EventReader, progress: Callable[[int, int], None] = lambda done, total: None) -> Summary:
    """Summarize a recording in one pass, in bounded memory.

    Args:
        reader: the recording.
        progress: called with the number of events read and of all events.

    Raises:
        EventFileError: the file is damaged.
    """
    counts = np.zeros(reader.height * reader.width, np.int64)
    on = done = peak = held = 0
    held_bin = -1
    start_ns = reader.start_ns
    for events in reader.chunks(count=_CHUNK):
        flat = events.y.astype(np.int64) * reader.width + events.x
        counts += np.bincount(flat, minlength=len(counts))
        on += int(np.count_nonzero(events.p > 0))
        bins, number = np.unique((events.t_ns - start_ns) // _RATE_NS, return_counts=True)
        if bins[0] == held_bin:  # begun in the chunk before
            number[0] += held
        peak, held, held_bin = max(peak, int(number.max())), int(number[-1]), int(bins[-1])
        done += len(events)
        progress(done, len(reader))
    hot = hot_pixels(counts.reshape(reader.height, reader.width))
    return Summary(done, on, start_ns, reader.end_ns, peak * 1e9 / _RATE_NS, hot, reader.counters())
