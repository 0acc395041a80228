"""MVSEC's `*_data.hdf5`: `/davis/left/events` float64 [N, 4] of x, y, t in seconds and p; images on the same clock.

The right camera is in `/davis/right`. Its tables of events an image (`image_raw_event_inds`) are not used.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Final

import h5py

from mambaseg_core.recordings.errors import EventFileError
from mambaseg_core.recordings.hdf5.events import EventRows, EventTable, Hdf5Source, Times, seconds, whole
from mambaseg_core.recordings.hdf5.files import choose_camera, get_dataset, kept_open
from mambaseg_core.recordings.hdf5.images import Hdf5Images
from mambaseg_core.recordings.reader import EventReader

SENSOR_SIZE: Final = (260, 346)
"""(height, width) of the DAVIS346, pixels."""

CAMERAS: Final = ("davis/left", "davis/right")
"""The cameras; the first is read if none is chosen."""

_EXPECTED: Final = "an MVSEC file with /davis/left/events"


def open_mvsec(path: str | Path, camera: str | None = None, size: tuple[int, int] | None = None) -> EventReader:
    """Open the events of one camera.

    Args:
        path: the file.
        camera: "left" or "right"; None: left.
        size: (height, width) of the sensor; None: the DAVIS346's.

    Raises:
        EventFileError: the camera is unknown.
    """
    path = Path(path)
    group = choose_camera(path, CAMERAS, camera)
    return EventReader(Hdf5Source(path, "mvsec", group, size or SENSOR_SIZE, partial(_open, path, group)))


def open_mvsec_images(path: str | Path, camera: str | None = None) -> Hdf5Images:
    """Open the raw images of one camera; see `open_mvsec`.

    Raises:
        EventFileError: the camera is unknown, the file is damaged, or it has no images.
    """
    path = Path(path)
    group = choose_camera(path, CAMERAS, camera)
    return Hdf5Images(path, f"{group}/image_raw", f"{group}/image_raw_ts")


def _open(path: Path, group: str) -> EventTable:
    with kept_open(path, _EXPECTED) as file:
        rows = get_dataset(file, f"{group}/events", path, "f", 2)
        if rows.shape[1] != 4:
            raise EventFileError(f"{rows.name} of {path} is {list(rows.shape)}, expected [N, 4]; download it again")
        return EventTable(file, path, rows.name, len(rows), partial(_times, rows), partial(_rows, rows))


def _times(rows: h5py.Dataset, start: int, stop: int) -> Times:
    return seconds(rows[start:stop, 2])


def _rows(rows: h5py.Dataset, start: int, stop: int) -> EventRows:
    x, y, t, p = rows[start:stop].T
    return EventRows(whole("x", x), whole("y", y), seconds(t), whole("p", p))
