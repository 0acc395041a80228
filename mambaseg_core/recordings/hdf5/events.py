"""Events in HDF5 files that are sorted by time: read by number, found by time with few reads."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

import h5py
import numpy as np
import numpy.typing as npt

from mambaseg_core.events.array import Events
from mambaseg_core.events.columns import as_nanoseconds
from mambaseg_core.recordings.errors import EventFileError
from mambaseg_core.recordings.hdf5.files import MOST_EVENTS_PER_BYTE, hdf5_errors
from mambaseg_core.recordings.per_process import PerProcess

Times = npt.NDArray[np.int64]
Rows = npt.NDArray[Any]

_BLOCK: Final = 1 << 15  # events; about a chunk of the usual files
_WIDEST_HINT: Final = 1 << 18  # events; above the most of a millisecond
_PROBES: Final = 8  # parts of the file whose first times are compared when it is opened
_MOST_SECONDS: Final = float(1 << 33)  # of times in seconds; int64 nanoseconds end there


class EventRows(NamedTuple):
    """Columns of events, [N]: x, y and p of any integer dtype, times in nanoseconds."""

    x: Rows
    y: Rows
    t_ns: Times
    p: Rows


@dataclass
class EventTable:
    """The events of an open HDF5 file.

    Attributes:
        file: the open file.
        path: of the file.
        times_name: the member that has the times, for error messages.
        count: number of events.
        times: reads the times of events number start to stop (exclusive).
        rows: reads all their columns.
        hint: returns the numbers of two events around a time, which need not be right; None: there is no table.
    """

    file: h5py.File
    path: Path
    times_name: str
    count: int
    times: Callable[[int, int], Times]
    rows: Callable[[int, int], EventRows]
    hint: Callable[[int], tuple[int, int]] | None = None
    _firsts: dict[int, int] = field(default_factory=dict)  # time of the first event of each block read so far

    def __post_init__(self) -> None:
        if self.count > MOST_EVENTS_PER_BYTE * self.path.stat().st_size:
            raise EventFileError(
                f"{self.times_name} of {self.path} ({self.path.stat().st_size} bytes) claims {self.count} events, "
                f"expected a number that fits the file; it is damaged: copy, download or record it again"
            )
        last = self.count - 1
        probes = sorted({last * part // _PROBES for part in range(_PROBES + 1)}) if self.count else []
        self.require_sorted(np.array([self._times(at, at + 1)[0] for at in probes], np.int64), "the file")

    def close(self) -> None:
        """Close the file."""
        self.file.close()

    def index(self, t_ns: int) -> int:
        """Return the number of the first event at or after a time.

        The hint saves reads. Where the times beside it do not confirm it, the times are searched.
        """
        limits = np.iinfo(np.int64)
        t_ns = min(max(t_ns, limits.min), limits.max)
        if self.hint is not None:
            low, high = self.hint(t_ns)
            if 0 <= low <= high <= self.count and high - low <= _WIDEST_HINT:
                found = self._between(low, high, t_ns)
                if found is not None:
                    return found
        blocks = range(0, self.count, _BLOCK)
        low = max(0, bisect_left(blocks, t_ns, key=self._first) - 1) * _BLOCK
        high = min(low + _BLOCK, self.count)
        return low + int(np.searchsorted(self._times(low, high), t_ns)) if self.count else 0

    def require_sorted(self, times: Times, where: str) -> None:
        """Raise EventFileError if times run backwards; `where` names them."""
        backwards = times[1:] < times[:-1]
        if backwards.any():
            at = int(np.argmax(backwards))
            raise EventFileError(
                f"the times in {self.times_name} of {self.path} run backwards in {where}, from {times[at]} to "
                f"{times[at + 1]} ns, expected times that do not decrease; sort the events by time"
            )

    def _between(self, low: int, high: int, t_ns: int) -> int | None:
        """Return the number of the first event at or after a time if it is in low to high (inclusive), else None."""
        before, after = min(1, low), min(1, self.count - high)
        times = self._times(low - before, high + after)
        at = int(np.searchsorted(times, t_ns))
        if (before and at == 0) or (after and at == len(times)):
            return None
        return low - before + at

    def _first(self, at: int) -> int:
        if at not in self._firsts:
            self._firsts[at] = int(self._times(at, at + 1)[0])
        return self._firsts[at]

    def _times(self, start: int, stop: int) -> Times:
        with hdf5_errors(self.path, f"times in {self.times_name}"):
            times = self.times(start, stop)
        self.require_sorted(times, f"events {start} to {stop}")
        return times


class Hdf5Source:
    """A `RecordingSource` over an HDF5 file.

    Args:
        path: the file.
        name: name of the format.
        encoding: see `EventReader`.
        size: (height, width) of the sensor.
        opener: opens the file; can be pickled.
    """

    def __init__(
        self, path: Path, name: str, encoding: str, size: tuple[int, int], opener: Callable[[], EventTable]
    ) -> None:
        self.path, self.format, self.encoding = path, name, encoding
        self.height, self.width = size
        self._table = PerProcess(opener)

    def __len__(self) -> int:
        return self._table.get().count

    def index(self, t_ns: int) -> int:
        """Return the number of the first event at or after a time."""
        return self._table.get().index(t_ns)

    def read(self, start: int, stop: int) -> Events:
        """Return events number start to stop (exclusive)."""
        table = self._table.get()
        first = max(0, start - 1)  # one more, so that reads in order check the order of the whole file
        with hdf5_errors(self.path, "plain or packed columns of one length"):
            rows = table.rows(first, stop)
        table.require_sorted(rows.t_ns, f"events {first} to {stop}")
        x, y, t_ns, p = (column[start - first :] for column in rows)
        try:
            return Events.from_arrays(x, y, t_ns, p, height=self.height, width=self.width)
        except (TypeError, ValueError) as error:
            raise EventFileError(f"events {start} to {stop} of {self.path}: {error}") from error

    def counters(self) -> dict[str, int]:
        """Return no counters: any fault in the file is an error."""
        return {}

    def close(self) -> None:
        """Close the file; it opens again when needed."""
        self._table.close()


def microseconds(values: Rows, offset_us: int = 0) -> Times:
    """Convert integer microseconds to nanoseconds, with an offset added; raise ValueError if they do not fit."""
    if values.dtype.kind == "u" and values.dtype.itemsize == 8 and len(values) and int(values.max()) >= 1 << 62:
        raise ValueError(f"times reach {values.max()} us, expected less than 2^53")
    return as_nanoseconds(values.astype(np.int64) + offset_us, 1000)


def seconds(values: Rows) -> Times:
    """Convert float seconds to nanoseconds, rounded to whole microseconds; raise ValueError if they do not fit."""
    if len(values) and not np.abs(values).max() < _MOST_SECONDS:  # also for NaN
        raise ValueError(f"times are {values[:3]}, expected finite seconds")
    return np.rint(values.astype(np.float64) * 1e6).astype(np.int64) * 1000


def whole(name: str, values: Rows) -> Rows:
    """Return whole numbers of a float dtype as int64; raise ValueError for others."""
    if not (np.abs(values) < 1 << 31).all() or (values != np.rint(values)).any():
        raise ValueError(f"{name} has values that are not whole numbers, expected raw pixels")
    return values.astype(np.int64)
