"""DSEC's `events.h5`, read by number and by time.

The file has `/events/{x, y, t, p}` (uint16, uint16, uint32 microseconds, uint8), `/ms_to_idx` and `/t_offset`,
compressed with Blosc/zstd. Absolute time is t + t_offset, on the images' clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
import numpy.typing as npt

from mambaseg_core.events.array import Events
from mambaseg_core.recordings.errors import EventFileError, one_sentence
from mambaseg_core.recordings.per_process import PerProcess
from mambaseg_core.recordings.reader import EventReader

SENSOR_SIZE: Final = (480, 640)
"""(height, width) of DSEC's event cameras, pixels."""

DTYPES: Final = {"x": np.uint16, "y": np.uint16, "t": np.uint32, "p": np.uint8}
"""The columns under `/events`."""

_EXPECTED: Final = "DSEC's events.h5 with events, ms_to_idx and t_offset"
_REMEDY: Final = "pip install hdf5plugin, and if it is there download the file again"
_WIDEST: Final = 1 << 14  # pixels of a sensor
_MOST_EVENTS_PER_BYTE: Final = 10_000  # far above any compression of events; a damaged header may claim any length


def blosc_zstd() -> dict[str, Any]:
    """Return the compression of DSEC's files as keyword arguments of h5py's `create_dataset`.

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


def open_dsec(path: str | Path, size: tuple[int, int] = SENSOR_SIZE) -> EventReader:
    """Open an `events.h5`.

    Args:
        path: the file.
        size: (height, width) of the sensor, which the file does not contain.
    """
    return EventReader(DsecSource(Path(path), size))


def read_rectify_map(path: str | Path) -> npt.NDArray[np.float32]:
    """Read a `rectify_map.h5`: the place of each raw event pixel in the rectified view; see `Calibration.rectify_map`.

    Returns:
        float32 [H, W, 2], read-only.

    Raises:
        EventFileError: the file is missing, is damaged, or has another layout.
    """
    path = Path(path)
    blosc_zstd()  # registers the filter
    with one_sentence(path, "DSEC's rectify_map.h5", _REMEDY), h5py.File(path, "r") as file:
        shape = tuple(file["rectify_map"].shape)
        if len(shape) != 3 or shape[2] != 2 or max(shape) > _WIDEST:
            raise EventFileError(f"/rectify_map of {path} is {list(shape)}, expected [H, W, 2]; download it again")
        values = np.asarray(file["rectify_map"][()], np.float32)
    if not np.isfinite(values).all():
        raise EventFileError(f"/rectify_map of {path} has values that are no numbers; download it again")
    values.flags.writeable = False
    return values


class DsecSource:
    """A `RecordingSource` over an `events.h5`.

    Args:
        path: the file.
        size: (height, width) of the sensor.
    """

    format = "dsec"
    encoding = "hdf5"

    def __init__(self, path: Path, size: tuple[int, int] = SENSOR_SIZE) -> None:
        self.path = path
        self.height, self.width = size
        self._file = PerProcess(partial(_open, path))

    def __len__(self) -> int:
        return self._file.get().count

    def index(self, t_ns: int) -> int:
        """Return the number of the first event at or after a time."""
        file = self._file.get()
        t_us = -(-t_ns // 1000) - file.t_offset_us  # the event clock has whole microseconds
        millisecond = t_us // 1000
        if t_us <= 0:
            return 0
        if millisecond >= len(file.ms_to_idx):
            return file.count
        low = int(file.ms_to_idx[millisecond])
        high = int(file.ms_to_idx[millisecond + 1]) if millisecond + 1 < len(file.ms_to_idx) else file.count
        return low + int(np.searchsorted(self._values("t", low, high), t_us))

    def read(self, start: int, stop: int) -> Events:
        """Return events number start to stop (exclusive)."""
        columns = {name: self._values(name, start, stop) for name in DTYPES}
        t_us = columns["t"].astype(np.int64) + self._file.get().t_offset_us
        try:
            return Events.from_arrays(
                columns["x"], columns["y"], t_us * 1000, columns["p"], height=self.height, width=self.width
            )
        except (TypeError, ValueError) as error:
            raise EventFileError(f"events {start} to {stop} of {self.path}: {error}") from error

    def counters(self) -> dict[str, int]:
        """Return no counters: any fault in an `events.h5` is an error."""
        return {}

    def close(self) -> None:
        """Close the file; it opens again when needed."""
        self._file.close()

    def _values(self, name: str, start: int, stop: int) -> npt.NDArray[Any]:
        column = self._file.get().columns[name]
        with one_sentence(self.path, f"Blosc/zstd or plain data in /events/{name}", _REMEDY):
            return np.asarray(column[start:stop])


@dataclass(frozen=True)
class _Open:
    """An open file, checked."""

    file: h5py.File
    columns: dict[str, h5py.Dataset]
    count: int
    ms_to_idx: npt.NDArray[np.int64]  # not decreasing, 0..count
    t_offset_us: int

    def close(self) -> None:
        self.file.close()


def _open(path: Path) -> _Open:
    blosc_zstd()  # registers the filter
    with one_sentence(path, _EXPECTED, "download it again"):
        file = h5py.File(path, "r")
    try:
        with one_sentence(path, _EXPECTED, _REMEDY):
            columns = {name: _dataset(file, f"events/{name}", path) for name in DTYPES}
            table = np.asarray(_dataset(file, "ms_to_idx", path)[()]).astype(np.int64)
            # some writers store [1]
            offset = int(np.asarray(file["t_offset"][()]).item()) if "t_offset" in file else 0
        lengths = {name: len(column) for name, column in columns.items()}
        count = lengths["t"]
        if len(set(lengths.values())) > 1 or count > _MOST_EVENTS_PER_BYTE * path.stat().st_size:
            raise EventFileError(
                f"the columns of {path} ({path.stat().st_size} bytes) claim lengths {lengths}, expected equal "
                f"lengths that fit the file; download it again"
            )
        if len(table) and (table[0] < 0 or table[-1] > count or (np.diff(table) < 0).any()):
            raise EventFileError(
                f"/ms_to_idx of {path} has values {table.min()} to {table.max()}, expected rising numbers from 0 "
                f"to {count}; download it again"
            )
        if not abs(offset) < 1 << 52:
            raise EventFileError(
                f"/t_offset of {path} is {offset}, expected microseconds below 2^52; download it again"
            )
        return _Open(file, columns, count, table, offset)
    except BaseException:
        file.close()
        raise


def _dataset(file: h5py.File, name: str, path: Path) -> h5py.Dataset:
    """Return one column of integers of any dtype."""
    if name not in file:
        raise EventFileError(
            f"{path} has no /{name} (it has {sorted(file)}), expected {_EXPECTED}; use the file as DSEC publishes it"
        )
    dataset = file[name]
    if not isinstance(dataset, h5py.Dataset) or dataset.dtype.kind not in "iub" or dataset.ndim != 1:
        got = f"{dataset.dtype} {list(dataset.shape)}" if isinstance(dataset, h5py.Dataset) else "a group"
        raise EventFileError(f"/{name} of {path} is {got}, expected integers [N]; use the file as DSEC publishes it")
    return dataset
