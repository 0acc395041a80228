"""Events in HDF5 files with one dataset a column: the layouts of DSEC, M3ED and the event toolkits of E2VID."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

import h5py
import numpy as np
import numpy.typing as npt

from mambaseg_core.recordings.errors import EventFileError
from mambaseg_core.recordings.hdf5.events import EventRows, EventTable, Rows, Times, microseconds, seconds
from mambaseg_core.recordings.hdf5.files import LAYOUTS, get_dataset, hdf5_errors, kept_open

_MOST_ENTRIES: Final = 1 << 23  # of a table of milliseconds; 2 h
_MOST_OFFSET_US: Final = 1 << 52


class ColumnNames(NamedTuple):
    """Where a layout has its columns.

    Attributes:
        x: name of the dataset of columns.
        y: name of the dataset of rows.
        t: name of the dataset of times.
        p: name of the dataset of polarities.
        in_seconds: whether t has float seconds; False: integer microseconds.
        table: name of the dataset whose entry k is the number of the first event at or after k milliseconds of t.
        offset: name of the scalar to which t counts, microseconds.
    """

    x: str
    y: str
    t: str
    p: str
    in_seconds: bool = False
    table: str = ""
    offset: str = ""


def open_columns(path: Path, columns: ColumnNames) -> EventTable:
    """Open a file whose events are in datasets of one column each.

    Raises:
        EventFileError: a column is missing, has another type or another length, or the offset is out of range.
    """
    with kept_open(path, f"events: {LAYOUTS}") as file:
        x, y = (get_dataset(file, name, path, "iu", 1) for name in (columns.x, columns.y))
        t = get_dataset(file, columns.t, path, "f" if columns.in_seconds else "iu", 1)
        p = get_dataset(file, columns.p, path, "iub", 1)
        lengths = {column.name: len(column) for column in (x, y, t, p)}
        if len(set(lengths.values())) > 1:
            raise EventFileError(
                f"the columns of {path} ({path.stat().st_size} bytes) claim lengths {lengths}, expected equal "
                f"lengths; it is damaged or was cut off: copy, download or record it again"
            )
        table = _read_table(file, columns.table)
        offset_us = _read_offset(file, columns.offset, path)
        in_ns = seconds if columns.in_seconds else partial(microseconds, offset_us=offset_us)
        hint = None if table is None else partial(_hint, table, offset_us, len(t))
        times, rows = partial(_times, t, in_ns), partial(_rows, x, y, t, p, in_ns)
        return EventTable(file, path, t.name, len(t), times, rows, hint)


def _times(column: h5py.Dataset, in_ns: Callable[[Rows], Times], start: int, stop: int) -> Times:
    return in_ns(column[start:stop])


def _rows(
    x: h5py.Dataset,
    y: h5py.Dataset,
    t: h5py.Dataset,
    p: h5py.Dataset,
    in_ns: Callable[[Rows], Times],
    start: int,
    stop: int,
) -> EventRows:
    return EventRows(x[start:stop], y[start:stop], in_ns(t[start:stop]), p[start:stop])


def _read_table(file: h5py.File, name: str) -> npt.NDArray[np.int64] | None:
    """Return the table of milliseconds; None without one that can be used: it only saves reads."""
    with suppress(Exception):  # damaged
        table = file[name]
        if table.ndim == 1 and table.dtype.kind in "iu" and len(table) <= _MOST_ENTRIES:
            return np.asarray(table[()]).astype(np.int64)
    return None


def _hint(table: npt.NDArray[np.int64], offset_us: int, count: int, t_ns: int) -> tuple[int, int]:
    """Return the numbers of the events at the beginning and the end of the millisecond of a time."""
    millisecond = (-(-t_ns // 1000) - offset_us) // 1000  # the event clock has whole microseconds
    if millisecond < 0:
        return 0, 0
    low, high = (int(table[k]) if k < len(table) else count for k in (millisecond, millisecond + 1))
    return low, high


def _read_offset(file: h5py.File, name: str, path: Path) -> int:
    """Return the scalar in whole microseconds, which some writers store as [1] or as a float; 0 without it."""
    if not name or name not in file:
        return 0
    found = file[name]
    with hdf5_errors(path, f"one number in /{name}"):
        values = np.asarray(found[()]).ravel()
        good = len(values) == 1 and values.dtype.kind in "iuf" and -_MOST_OFFSET_US < values[0] < _MOST_OFFSET_US
    if not good or int(values[0]) != values[0]:
        got = values[0] if len(values) == 1 else values[:3]
        raise EventFileError(
            f"/{name} of {path} is {got}, expected one whole number of microseconds below 2^52; "
            f"download or write the file again"
        )
    return int(values[0])
