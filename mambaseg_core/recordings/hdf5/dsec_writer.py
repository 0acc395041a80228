"""Writer of DSEC's `events.h5` as a stream."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np

from mambaseg_core.events.array import Events
from mambaseg_core.files import atomic_path
from mambaseg_core.recordings.hdf5.dsec import DTYPES, blosc_zstd

_CHUNK: Final = 1 << 16  # events
_BUFFER: Final = 1 << 20  # events collected before they are written
_MAX_T_US: Final = (1 << 32) - 1


@contextmanager
def new_dsec(path: str | Path, t_offset_us: int) -> Iterator[DsecEventWriter]:
    """Write an `events.h5`; it appears under its name only when it is complete.

    Args:
        path: the file.
        t_offset_us: absolute time of the recording's zero, microseconds.

    Raises:
        WriteError: the file cannot be written.
    """
    with atomic_path(Path(path)) as part, _File(part, "w+") as disk:
        with h5py.File(disk, "w") as file:
            writer = DsecEventWriter(file)
            yield writer
            writer.finish(t_offset_us)
        if disk.error is not None:
            raise disk.error


class _File(io.FileIO):
    """Keeps the first error of a write for later: on a write error, HDF5 ends the process with a segmentation fault."""

    error: OSError | None = None

    def write(self, data: Any) -> int:
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[super().write(rest) :]
        except OSError as error:
            self.error = self.error or error
        return len(data)

    def truncate(self, size: int | None = None) -> int:
        try:
            return super().truncate(size)
        except OSError as error:
            self.error = self.error or error
            return self.tell()


class DsecEventWriter:
    """Writes events in time order; made by `new_dsec`.

    Args:
        file: an empty file, open for writing.

    Attributes:
        count: events in the file.
    """

    def __init__(self, file: h5py.File) -> None:
        self._file = file
        self._waiting: list[Events] = []
        self._per_ms = np.zeros(0, np.int64)
        self._last_us = 0
        self.count = 0
        compression = blosc_zstd()
        self._columns = {
            name: self._file.create_dataset(
                f"events/{name}", (0,), dtype, maxshape=(None,), chunks=(_CHUNK,), **compression
            )
            for name, dtype in DTYPES.items()
        }

    def write(self, events: Events) -> None:
        """Append events; `t_ns` counts from the recording's zero and is cut to microseconds.

        Raises:
            ValueError: they begin before those written so far or before zero, or do not fit in uint32.
        """
        if len(events) == 0:
            return
        first, last = int(events.t_ns[0]) // 1000, int(events.t_ns[-1]) // 1000
        if first < self._last_us or last > _MAX_T_US:
            raise ValueError(
                f"got events from {first} to {last} us, expected {self._last_us} to {_MAX_T_US}; "
                f"write in time order, with times that count from the recording's zero"
            )
        self._last_us = last
        self._waiting.append(events)
        if sum(map(len, self._waiting)) >= _BUFFER:
            self._flush()

    def finish(self, t_offset_us: int) -> None:
        """Write the remaining events, the index and the absolute time of the recording's zero."""
        self._flush()
        ends = np.cumsum(self._per_ms)
        table = np.concatenate([[0], ends[:-1]]).astype(np.uint64)
        self._file.create_dataset("ms_to_idx", data=table, **blosc_zstd())
        self._file.create_dataset("t_offset", data=np.int64(t_offset_us))

    def _flush(self) -> None:
        if not self._waiting:
            return
        events = Events.concatenate(self._waiting)
        self._waiting = []
        t_us = events.t_ns // 1000
        values = {
            "x": events.x,
            "y": events.y,
            "t": t_us.astype(np.uint32),
            "p": (events.p > 0).astype(np.uint8),
        }
        for name, column in self._columns.items():
            column.resize((self.count + len(events),))
            column[self.count :] = values[name]
        self.count += len(events)
        counts = np.bincount(t_us // 1000, minlength=len(self._per_ms))
        counts[: len(self._per_ms)] += self._per_ms
        self._per_ms = counts
