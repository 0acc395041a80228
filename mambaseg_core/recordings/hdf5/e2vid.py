"""HDF5 files of the event toolkits around E2VID: `/events/{xs, ys, ts, ps}`, ts in float seconds."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from mambaseg_core.recordings.errors import EventFileError
from mambaseg_core.recordings.hdf5.columns import ColumnNames, open_columns
from mambaseg_core.recordings.hdf5.events import Hdf5Source
from mambaseg_core.recordings.hdf5.files import hdf5_errors, open_hdf5
from mambaseg_core.recordings.reader import EventReader

COLUMNS: Final = ColumnNames("events/xs", "events/ys", "events/ts", "events/ps", in_seconds=True)
"""The columns; times are rounded to microseconds."""

_EXPECTED: Final = "a file with /events/{xs,ys,ts,ps}"
_WIDEST: Final = 1 << 14  # pixels of a sensor


def open_e2vid_hdf5(path: str | Path, size: tuple[int, int] | None = None) -> EventReader:
    """Open the events of such a file; its images are not read.

    Args:
        path: the file.
        size: (height, width) of the sensor; None: the file's attribute `sensor_resolution`.

    Raises:
        EventFileError: the file is damaged, or neither file nor caller has the size.
    """
    path = Path(path)
    with open_hdf5(path, _EXPECTED) as file, hdf5_errors(path, _EXPECTED):
        values = np.asarray(file.attrs.get("sensor_resolution", ())).ravel()[:2]
    if len(values) == 2 and values.dtype.kind in "iuf" and ((values > 0) & (values < _WIDEST)).all():
        size = size or (int(values[0]), int(values[1]))
    if size is None:
        raise EventFileError(
            f"{path} has no size of the sensor, expected an attribute sensor_resolution of (height, width); give the "
            f"size: open_events(path, size=(height, width)), or --height and --width"
        )
    return EventReader(Hdf5Source(path, "e2vid", "hdf5", size, partial(open_columns, path, COLUMNS)))
