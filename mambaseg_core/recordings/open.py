"""`open_events`: open any event file by its content."""

from __future__ import annotations

from pathlib import Path

from mambaseg_core.recordings.aedat4 import open_aedat4
from mambaseg_core.recordings.bag import STORAGE_SUFFIXES, open_bag_events
from mambaseg_core.recordings.ddd17 import TIMES, open_ddd17
from mambaseg_core.recordings.dsec import SENSOR_SIZE, open_dsec
from mambaseg_core.recordings.errors import EventFileError, one_sentence
from mambaseg_core.recordings.raw import open_raw
from mambaseg_core.recordings.reader import EventReader

_HDF5 = b"\x89HDF\r\n\x1a\n"
_AEDAT4 = b"#!AER-DAT"
_STORAGE = (b"\x89MCAP0\r\n", b"SQLite format 3\0")
_DSEC_PLACES = ("events/left/events.h5", "events.h5")
_KNOWN = (
    "DSEC's events.h5 or its sequence's folder, a folder of DDD17 (events.dat.t), a .raw file (EVT2, EVT2.1, EVT3), "
    "an .aedat4 file or a ROS 2 bag"
)


def open_events(path: str | Path, *, size: tuple[int, int] | None = None, topic: str | None = None) -> EventReader:
    """Open a recording of events; its content determines its format.

    Args:
        path: DSEC's `events.h5` or a sequence's folder, a folder of DDD17, `.raw` (EVT2, EVT2.1, EVT3), `.aedat4`,
            or a ROS 2 bag (its folder, or one `.mcap` or `.db3` file).
        size: (height, width) of the sensor if the file does not contain it (`.raw`, DSEC's layout: 480x640).
        topic: event topic to read from a bag with several.

    Raises:
        EventFileError: the file is missing, its format is unknown, or its header is damaged. Later damage is raised
            when it is read.
    """
    path = Path(path)
    if not path.exists():
        raise EventFileError(f"event file {path} is missing, expected {_KNOWN}; check the path")
    if path.is_dir():
        return _open_folder(path, size, topic)
    with one_sentence(path, _KNOWN, "check that it is readable"), path.open("rb") as file:
        head = file.read(16)
    if head.startswith(_HDF5):
        return open_dsec(path, size or SENSOR_SIZE)
    if head.startswith(_AEDAT4):
        return open_aedat4(path)
    if head.startswith(_STORAGE):
        return open_bag_events(path, topic)
    if head.startswith(b"% "):
        return open_raw(path, size)
    raise EventFileError(
        f"event file {path} ({path.stat().st_size} bytes) begins with {head!r}, which is no format known here, "
        f"expected {_KNOWN}; check the path, and download or record an empty file again"
    )


def _open_folder(path: Path, size: tuple[int, int] | None, topic: str | None) -> EventReader:
    if (path / TIMES).exists():
        return open_ddd17(path)
    for place in _DSEC_PLACES:
        if (path / place).exists():
            return open_dsec(path / place, size or SENSOR_SIZE)
    names = sorted(entry.name for entry in path.iterdir())
    if "metadata.yaml" in names or any(Path(name).suffix in STORAGE_SUFFIXES for name in names):
        return open_bag_events(path, topic)
    raise EventFileError(f"{path} is no recording known here (found: {names[:5]}), expected {_KNOWN}; check the path")
