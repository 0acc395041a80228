"""DSEC's `events.h5`: reading windows of it by time or by count, and writing one as a stream.

`/events/{x, y, t, p}` (uint16, uint16, uint32 microseconds, uint8), `/ms_to_idx` and `/t_offset`, compressed
with Blosc/zstd. Absolute time is t + t_offset, in the images' clock.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import h5py
import numpy as np
import numpy.typing as npt

from mambaseg_core.events.array import Events

SENSOR_SIZE: Final = (480, 640)
"""(height, width) of DSEC's event cameras, pixels."""

_DTYPES: Final = {"x": np.uint16, "y": np.uint16, "t": np.uint32, "p": np.uint8}
_CHUNK: Final = 1 << 16  # events
_BUFFER: Final = 1 << 20  # events kept back before they are written
_READ_AHEAD_NS: Final = 100_000_000
_MAX_T_US: Final = (1 << 32) - 1


def blosc_zstd() -> dict[str, Any]:
    """The compression that DSEC's files have, as keyword arguments of h5py's `create_dataset`.

    Raises:
        ValueError: the filter is not installed.
    """
    try:
        import hdf5plugin
    except ImportError as error:
        raise ValueError(
            "package hdf5plugin is missing, expected it for the Blosc/zstd compression of DSEC's files; "
            "pip install hdf5plugin"
        ) from error
    return dict(hdf5plugin.Blosc(cname="zstd", clevel=3, shuffle=hdf5plugin.Blosc.SHUFFLE))


class DsecEventFile:
    """Reads an `events.h5`, opened at the first use in each process, so that objects can be pickled.

    Args:
        path: the file.
        size: (height, width) of the sensor; the file does not say.
    """

    def __init__(self, path: str | Path, size: tuple[int, int] = SENSOR_SIZE) -> None:
        self.path = Path(path)
        self.size = size
        self._file: h5py.File | None = None
        self._pid = -1
        self._ms_to_idx: npt.NDArray[np.int64] | None = None
        self._t_offset_us = 0

    def __len__(self) -> int:
        return len(self._column("t"))

    def __enter__(self) -> DsecEventFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_file": None, "_pid": -1, "_ms_to_idx": None}

    def close(self) -> None:
        """Close the file; it opens again when needed."""
        if self._file is not None and self._pid == os.getpid():
            self._file.close()
        self._file = None

    def between(self, start_ns: int, end_ns: int) -> Events:
        """Events with start_ns <= t < end_ns, absolute nanoseconds; none where the recording has none.

        Raises:
            ValueError: the file is missing, damaged, or not DSEC's layout; or an event lies outside the
                sensor.
        """
        start = self._index(start_ns)
        return self._read(start, max(start, self._index(end_ns)))

    def before(self, end_ns: int, count: int) -> Events:
        """The last `count` events with t < end_ns, fewer at the beginning of the recording.

        Raises:
            ValueError: count is negative, or as `between`.
        """
        if count < 0:
            raise ValueError(f"count is {count}, expected 0 or more; give the number of events wanted")
        stop = self._index(end_ns)
        return self._read(max(0, stop - count), stop)

    def iterate(self, chunk_ns: int) -> Iterator[Events]:
        """All events in chunks of `chunk_ns` from the first event on; chunks without events are left out.

        Raises:
            ValueError: chunk_ns is below 1, or as `between`.
        """
        if chunk_ns < 1:
            raise ValueError(f"chunk_ns is {chunk_ns}, expected 1 or more nanoseconds")
        if len(self) == 0:
            return
        first, last = (int(self._read(index, index + 1).t_ns[0]) for index in (0, len(self) - 1))
        span = chunk_ns * max(1, _READ_AHEAD_NS // chunk_ns)
        for block_start in range(first, last + 1, span):
            block = self.between(block_start, block_start + span)
            edges = np.searchsorted(block.t_ns, np.arange(block_start, block_start + span + 1, chunk_ns))
            for start, stop in pairwise(edges.tolist()):
                if start < stop:
                    yield block.part(start, stop)

    def _index(self, t_ns: int) -> int:
        """Number of the first event at or after a time."""
        t_us = -(-t_ns // 1000) - self._offset_us()  # the event clock has whole microseconds
        table = self._table()
        millisecond = t_us // 1000
        if t_us <= 0:
            return 0
        if millisecond >= len(table):
            return len(self)
        low = int(table[millisecond])
        high = int(table[millisecond + 1]) if millisecond + 1 < len(table) else len(self)
        return low + int(np.searchsorted(self._values("t", low, high), t_us))

    def _read(self, start: int, stop: int) -> Events:
        columns = {name: self._values(name, start, stop) for name in _DTYPES}
        t_ns = (columns["t"].astype(np.int64) + self._offset_us()) * 1000
        try:
            return Events.from_arrays(
                columns["x"], columns["y"], t_ns, columns["p"], height=self.size[0], width=self.size[1]
            )
        except (TypeError, ValueError) as error:
            raise ValueError(f"events {start} to {stop} of {self.path}: {error}") from error

    def _values(self, name: str, start: int, stop: int) -> npt.NDArray[Any]:
        try:
            return np.asarray(self._column(name)[start:stop])
        except OSError as error:
            raise ValueError(
                f"/events/{name} of {self.path} cannot be decompressed ({_first_line(error)}), expected "
                f"Blosc/zstd data; "
                f"pip install hdf5plugin, and if it is there download the file again"
            ) from error

    def _column(self, name: str) -> Any:
        return _member(self._open(), f"events/{name}", self.path)

    def _offset_us(self) -> int:
        self._table()
        return self._t_offset_us

    def _table(self) -> npt.NDArray[np.int64]:
        """ms_to_idx, whatever integers it is stored in; also reads t_offset (0 where there is none)."""
        if self._ms_to_idx is None:
            file = self._open()
            try:
                table = np.asarray(_member(file, "ms_to_idx", self.path)[()])
                offset = file["t_offset"][()] if "t_offset" in file else 0
            except OSError as error:
                raise ValueError(
                    f"/ms_to_idx of {self.path} cannot be read ({_first_line(error)}), expected Blosc/zstd "
                    f"or plain data; "
                    f"pip install hdf5plugin, and if it is there download the file again"
                ) from error
            if table.dtype.kind not in "iu" or table.ndim != 1:
                raise ValueError(
                    f"/ms_to_idx of {self.path} is {table.dtype} {list(table.shape)}, expected integers [N]; "
                    f"use the file as DSEC publishes it"
                )
            self._t_offset_us = int(np.asarray(offset).item())  # some writers store [1]
            self._ms_to_idx = table.astype(np.int64)
        return self._ms_to_idx

    def _open(self) -> h5py.File:
        if self._file is None or self._pid != os.getpid():
            blosc_zstd()  # registers the filter
            try:
                self._file = h5py.File(self.path, "r")
            except OSError as error:
                state = "is missing" if not self.path.exists() else f"cannot be opened ({_first_line(error)})"
                raise ValueError(
                    f"event file {self.path} {state}, expected DSEC's events.h5; download it again or check the path"
                ) from error
            self._pid = os.getpid()
        return self._file


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
            for name, dtype in _DTYPES.items()
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


def _member(file: h5py.File, name: str, path: Path) -> Any:
    if name not in file:
        raise ValueError(
            f"{path} has no /{name} (it has {sorted(file)}), expected DSEC's layout with events, ms_to_idx "
            f"and t_offset; "
            f"use the file as DSEC publishes it"
        )
    return file[name]


def _first_line(error: OSError) -> str:
    return str(error).splitlines()[0]
