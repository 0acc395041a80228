"""M3ED's `*_data.h5`: `/prophesee/left/{x, y, t, p}` in microseconds and the images of `/ovc`, all on one clock.

`ms_map_idx` only saves reads, like DSEC's `/ms_to_idx`. The tables `ts_map_*` are not used.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from mambaseg_core.recordings.errors import EventFileError
from mambaseg_core.recordings.hdf5.columns import ColumnNames, open_columns
from mambaseg_core.recordings.hdf5.events import Hdf5Source
from mambaseg_core.recordings.hdf5.files import choose_camera, hdf5_errors, open_hdf5
from mambaseg_core.recordings.hdf5.images import Hdf5Images
from mambaseg_core.recordings.reader import EventReader

SENSOR_SIZE: Final = (720, 1280)
"""(height, width) of M3ED's event cameras, pixels."""

EVENT_CAMERAS: Final = ("prophesee/left", "prophesee/right")
"""The event cameras; the first is read if none is chosen."""

IMAGE_CAMERAS: Final = ("ovc/rgb", "ovc/left", "ovc/right")
"""The frame cameras; the first is read if none is chosen."""

_EXPECTED: Final = "an M3ED file with /prophesee/left"


def open_m3ed(path: str | Path, camera: str | None = None, size: tuple[int, int] | None = None) -> EventReader:
    """Open the events of one camera.

    Args:
        path: the file.
        camera: "left" or "right"; None: left.
        size: (height, width) of the sensor if the file has no calibration; None: M3ED's.

    Raises:
        EventFileError: the camera is unknown, or the file is damaged.
    """
    path = Path(path)
    group = choose_camera(path, EVENT_CAMERAS, camera)
    x, y, t, p, table = (f"{group}/{name}" for name in ("x", "y", "t", "p", "ms_map_idx"))
    columns = ColumnNames(x, y, t, p, table=table)
    found = _calibrated_size(path, group) or size or SENSOR_SIZE
    return EventReader(Hdf5Source(path, "m3ed", group, found, partial(open_columns, path, columns)))


def open_m3ed_images(path: str | Path, camera: str | None = None) -> Hdf5Images:
    """Open the images of one camera.

    Args:
        path: the file.
        camera: "rgb", or "left" or "right", which are gray; None: rgb.

    Raises:
        EventFileError: the camera is unknown, the file is damaged, or it has no images.
    """
    path = Path(path)
    return Hdf5Images(path, f"{choose_camera(path, IMAGE_CAMERAS, camera)}/data", "ovc/ts")


def _calibrated_size(path: Path, group: str) -> tuple[int, int] | None:
    with open_hdf5(path, _EXPECTED) as file, hdf5_errors(path, _EXPECTED):
        found = file.get(f"{group}/calib/resolution")
        if found is None:
            return None
        values = np.asarray(found[()]).ravel()
        if values.shape != (2,) or values.dtype.kind not in "iu" or not ((values > 0) & (values < 1 << 14)).all():
            raise EventFileError(f"{found.name} of {path} is {values}, expected (width, height); download it again")
        return int(values[1]), int(values[0])
