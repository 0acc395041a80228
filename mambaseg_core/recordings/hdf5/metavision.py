"""HDF5 files of Prophesee's Metavision SDK and OpenEB: one table `/CD/events` of x, y, p and t in microseconds.

Times are those in the file. Metavision's own reader subtracts the file's attribute `time_shift` from them. Its table
`/CD/indexes` is not used.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Final

import h5py
import numpy as np

from mambaseg_core.recordings.errors import EventFileError
from mambaseg_core.recordings.hdf5.events import EventRows, EventTable, Hdf5Source, Times, microseconds
from mambaseg_core.recordings.hdf5.files import get_dataset, hdf5_errors, kept_open, open_hdf5
from mambaseg_core.recordings.reader import EventReader

EVENTS: Final = "CD/events"
"""The table of events."""

_GEOMETRY: Final = re.compile(r"([1-9]\d{0,3})x([1-9]\d{0,3})")
_EXPECTED: Final = "a Metavision HDF5 file with /CD/events of x, y, p, t"


def open_metavision_hdf5(path: str | Path, size: tuple[int, int] | None = None) -> EventReader:
    """Open a Metavision HDF5 file.

    Args:
        path: the file.
        size: (height, width) of the sensor if the file has no attribute `geometry`.

    Raises:
        EventFileError: the file is damaged, its ECF filter is not installed, or neither file nor caller has the size.
    """
    path = Path(path)
    with open_hdf5(path, _EXPECTED) as file, hdf5_errors(path, _EXPECTED):
        text = file.attrs.get("geometry", "")
        geometry = _GEOMETRY.fullmatch(text.decode() if isinstance(text, bytes) else str(text))
    if geometry is not None:
        size = int(geometry[2]), int(geometry[1])
    if size is None:
        raise EventFileError(
            f"{path} has no size of the sensor, expected an attribute geometry such as '1280x720'; give the size: "
            f"open_events(path, size=(height, width)), or --height and --width"
        )
    return EventReader(Hdf5Source(path, "metavision", "hdf5", size, partial(_open, path)))


def _open(path: Path) -> EventTable:
    with kept_open(path, _EXPECTED) as file:
        table = get_dataset(file, EVENTS, path, "V", 1)
        kinds = {name: table.dtype[name].kind for name in table.dtype.names or ()}
        if not all(kinds.get(name) in ("i", "u") for name in "xypt"):
            raise EventFileError(f"/{EVENTS} of {path} has columns {kinds}, expected integers x, y, p, t; record again")
        return EventTable(file, path, table.name, len(table), partial(_times, table), partial(_rows, table))


def _times(table: h5py.Dataset, start: int, stop: int) -> Times:
    return microseconds(table.fields("t")[start:stop])


def _rows(table: h5py.Dataset, start: int, stop: int) -> EventRows:
    rows = table[start:stop]
    x, y, t, p = (np.ascontiguousarray(rows[name]) for name in "xytp")
    return EventRows(x, y, microseconds(t), p)
