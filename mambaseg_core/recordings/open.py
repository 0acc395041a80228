"""`open_events` and `open_images`: open any recording by its content."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from mambaseg_core.recordings.aedat4 import open_aedat4, open_aedat4_images
from mambaseg_core.recordings.bag import is_bag, open_bag_events
from mambaseg_core.recordings.caer_packets import DATA
from mambaseg_core.recordings.ddd17 import TIMES, open_ddd17
from mambaseg_core.recordings.ddd20 import Ddd20Images, open_ddd20
from mambaseg_core.recordings.dsec import open_dsec
from mambaseg_core.recordings.dsec_sequence import find_events, sensor_size
from mambaseg_core.recordings.e2vid_hdf5 import COLUMNS, open_e2vid_hdf5
from mambaseg_core.recordings.errors import EventFileError, one_sentence
from mambaseg_core.recordings.hdf5 import SIGNATURE, has_members
from mambaseg_core.recordings.images import RecordedImages
from mambaseg_core.recordings.m3ed import open_m3ed, open_m3ed_images
from mambaseg_core.recordings.metavision_hdf5 import EVENTS, open_metavision_hdf5
from mambaseg_core.recordings.mvsec import open_mvsec, open_mvsec_images
from mambaseg_core.recordings.raw import open_raw
from mambaseg_core.recordings.reader import EventReader

_HEAD_BYTES: Final = 512


class Settings(NamedTuple):
    """What a caller says about a recording that does not contain it; see `open_events`."""

    size: tuple[int, int] | None = None
    topic: str | None = None


class Format(NamedTuple):
    """One format of recordings.

    Attributes:
        name: its name in error messages.
        recognizes: called with the path and the first 512 bytes of the file, b"" for a folder.
        events: opens the events.
        images: opens the images; None if the format has none.
    """

    name: str
    recognizes: Callable[[Path, bytes], bool]
    events: Callable[[Path, Settings], EventReader]
    images: Callable[[Path, Settings], RecordedImages] | None = None


def _is_hdf5(*members: str) -> Callable[[Path, bytes], bool]:
    """Recognize HDF5 files that have one of these members, or all HDF5 files without one."""
    return lambda path, head: (
        head.startswith(SIGNATURE) and (not members or any(has_members(path, member) for member in members))
    )


FORMATS: Final = (
    Format(
        "a folder of DDD17 (events.dat.t)", lambda path, _: (path / TIMES).exists(), lambda path, _: open_ddd17(path)
    ),
    Format(
        "a folder of a DSEC sequence",
        lambda path, _: find_events(path) is not None,
        lambda path, settings: open_dsec(find_events(path) or path, settings.size or sensor_size(path)),
    ),
    Format(
        "a Metavision HDF5 file",
        _is_hdf5(EVENTS),
        lambda path, settings: open_metavision_hdf5(path, settings.size),
    ),
    Format(
        "an MVSEC HDF5 file",
        _is_hdf5("davis/left", "davis/right"),
        lambda path, settings: open_mvsec(path, settings.topic, settings.size),
        lambda path, settings: open_mvsec_images(path, settings.topic),
    ),
    Format(
        "an M3ED HDF5 file",
        _is_hdf5("prophesee/left", "prophesee/right"),
        lambda path, settings: open_m3ed(path, settings.topic, settings.size),
        lambda path, settings: open_m3ed_images(path, settings.topic),
    ),
    Format(
        "an HDF5 recording of DDD17 or DDD20",
        _is_hdf5(DATA),
        lambda path, settings: open_ddd20(path, settings.size),
        lambda path, _: Ddd20Images(path),
    ),
    Format(
        "an HDF5 file with /events/{xs,ys,ts,ps}",
        _is_hdf5(COLUMNS.t),
        lambda path, settings: open_e2vid_hdf5(path, settings.size),
    ),
    Format(
        "DSEC's events.h5",
        _is_hdf5(),  # the last of the HDF5 files: its error lists what the file has
        lambda path, settings: open_dsec(path, settings.size or sensor_size(path)),
    ),
    Format(
        "an .aedat4 file",
        lambda _, head: head.startswith(b"#!AER-DAT"),
        lambda path, _: open_aedat4(path),
        lambda path, _: open_aedat4_images(path),
    ),
    Format(
        "a bag of ROS 2 or ROS 1",
        lambda path, _: is_bag(path),
        lambda path, settings: open_bag_events(path, settings.topic),
    ),
    Format(
        "a .raw file (EVT2, EVT2.1, EVT3)",
        lambda _, head: head.startswith(b"% "),
        lambda path, settings: open_raw(path, settings.size),
    ),
)
"""All formats; the first that recognizes a path opens it."""


def open_events(path: str | Path, *, size: tuple[int, int] | None = None, topic: str | None = None) -> EventReader:
    """Open the events of a recording; its content determines its format.

    Args:
        path: DSEC's `events.h5` or a sequence's folder, a folder of DDD17, `.raw` (EVT2, EVT2.1, EVT3), `.aedat4`,
            an HDF5 file of Metavision, MVSEC, M3ED, DDD17, DDD20 or with `/events/{xs,ys,ts,ps}`, or a bag (its folder,
            or one `.mcap`, `.db3` or ROS 1 `.bag` file).
        size: (height, width) of the sensor if the file does not contain it (`.raw`; DSEC's layout, whose default is
            the size in the calibration beside the events, else 480x640).
        topic: event topic to read from a bag with several; camera of MVSEC or M3ED, "right" instead of "left".

    Raises:
        EventFileError: the file is missing, its format is unknown, or its header is damaged. Later damage is raised
            when it is read.
    """
    path = Path(path)
    reader = _format_of(path).events(path, Settings(size, topic))
    if size is not None and (reader.height, reader.width) != size:
        raise EventFileError(
            f"event file {path} is of a sensor of {reader.width}x{reader.height} and {size[1]}x{size[0]} is given, "
            f"expected no size for a file that contains it; leave the size out"
        )
    return reader


def open_images(path: str | Path, *, topic: str | None = None) -> RecordedImages | None:
    """Open the images of a recording, on the clock of its events; return None if its format has no images.

    Args:
        path: as of `open_events`.
        topic: image topic to read from a bag with several; camera of MVSEC ("left", "right") or M3ED ("left", "right",
            "rgb"), by default "left".

    Raises:
        EventFileError: as of `open_events`.
    """
    path = Path(path)
    found = _format_of(path)
    return None if found.images is None else found.images(path, Settings(topic=topic))


def _format_of(path: Path) -> Format:
    known = ", ".join(found.name for found in FORMATS)
    if not path.exists():
        raise EventFileError(f"event file {path} is missing, expected {known}; check the path")
    head = b""
    with one_sentence(path, known, "check that it is readable"):
        if path.is_file():
            with path.open("rb") as file:
                head = file.read(_HEAD_BYTES)
        for found in FORMATS:
            if found.recognizes(path, head):
                return found
    if path.is_dir():
        names = sorted(entry.name for entry in path.iterdir())
        raise EventFileError(
            f"{path} is no recording known here (found: {names[:5]}), expected {known}; check the path"
        )
    raise EventFileError(
        f"event file {path} ({path.stat().st_size} bytes) begins with {head[:16]!r}, which is no format known here, "
        f"expected {known}; check the path, and download or record an empty file again"
    )
