"""DSEC's `events.h5`, read by number and by time.

The file has `/events/{x, y, t, p}` (uint16, uint16, uint32 microseconds, uint8), `/ms_to_idx` and `/t_offset`,
compressed with Blosc/zstd. Absolute time is t + t_offset, on the images' clock. `/ms_to_idx` only saves reads: each of
its entries is checked against `/events/t` where it is used.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from mambaseg_core.recordings.errors import EventFileError
from mambaseg_core.recordings.hdf5.columns import ColumnNames, open_columns
from mambaseg_core.recordings.hdf5.events import Hdf5Source
from mambaseg_core.recordings.hdf5.files import get_dataset, hdf5_errors, open_hdf5
from mambaseg_core.recordings.reader import EventReader

SENSOR_SIZE: Final = (480, 640)
"""(height, width) of DSEC's event cameras, pixels."""

DTYPES: Final = {"x": np.uint16, "y": np.uint16, "t": np.uint32, "p": np.uint8}
"""The columns under `/events`."""

_COLUMNS: Final = ColumnNames("events/x", "events/y", "events/t", "events/p", table="ms_to_idx", offset="t_offset")
_WIDEST: Final = 1 << 14  # pixels of a sensor


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
    path = Path(path)
    return EventReader(Hdf5Source(path, "dsec", "hdf5", size, partial(open_columns, path, _COLUMNS)))


def read_rectify_map(path: str | Path) -> npt.NDArray[np.float32]:
    """Read a `rectify_map.h5`: the place of each raw event pixel in the rectified view; see `Calibration.rectify_map`.

    Returns:
        float32 [H, W, 2], read-only.

    Raises:
        EventFileError: the file is missing, is damaged, or has another layout.
    """
    path = Path(path)
    expected = "DSEC's rectify_map.h5 with /rectify_map [H, W, 2]"
    with open_hdf5(path, expected) as file, hdf5_errors(path, expected):
        shape = tuple(file["rectify_map"].shape) if "rectify_map" in file else ()
        if len(shape) != 3 or shape[2] != 2 or max(shape) > _WIDEST:
            raise EventFileError(f"/rectify_map of {path} is {list(shape)}, expected [H, W, 2]; download it again")
        values = np.asarray(get_dataset(file, "rectify_map", path, "f", 3)[()], np.float32)
    if not np.isfinite(values).all():
        raise EventFileError(f"/rectify_map of {path} has values that are no numbers; download it again")
    values.flags.writeable = False
    return values
