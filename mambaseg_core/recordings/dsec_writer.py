"""Writing DSEC's `events.h5` as a stream."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import Final

import h5py
import numpy as np

from mambaseg_core.events.array import Events
from mambaseg_core.recordings.dsec import DTYPES, blosc_zstd

_CHUNK: Final = 1 << 16  # events
_BUFFER: Final = 1 << 20  # events kept back before they are written
_MAX_T_US: Final = (1 << 32) - 1


class DsecEventWriter:
    """Writes an `events.h5` from events that come in time order; use as a context manager.

    The file appears under its name only when it is complete.

    Args:
        path: the file.
        t_offset_us: absolute time of the recording's zero, microseconds.
    """

    def __init__(self, path: str | Path, t_offset_us: int) -> None:
        self._path = Path(path)
        self._partial = self._path.with_name(f".{self._path.name}.{os.getpid()}.partial")
        self._t_offset_us = t_offset_us
        self._waiting: list[Events] = []
        self._per_ms = np.zeros(0, np.int64)
        self._last_us = 0
        self.count = 0
        compression = blosc_zstd()
        self._file = h5py.File(self._partial, "w")
        self._columns = {
            name: self._file.create_dataset(
                f"events/{name}", (0,), dtype, maxshape=(None,), chunks=(_CHUNK,), **compression
            )
            for name, dtype in DTYPES.items()
        }

    def __enter__(self) -> DsecEventWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            self._file.close()
            if kind is None:
                self._partial.replace(self._path)
            self._partial.unlink(missing_ok=True)

    def write(self, events: Events) -> None:
        """Append events; `t_ns` counts from the recording's zero and is cut to microseconds.

        Raises:
            ValueError: they begin before those written so far, before zero, or end after what uint32 holds.
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

    def _finish(self) -> None:
        self._flush()
        ends = np.cumsum(self._per_ms)
        table = np.concatenate([[0], ends[:-1]]).astype(np.uint64)
        self._file.create_dataset("ms_to_idx", data=table, **blosc_zstd())
        self._file.create_dataset("t_offset", data=np.int64(self._t_offset_us))
