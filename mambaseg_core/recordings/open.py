"""`open_events` and `open_images`: open any recording by its content."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from mambaseg_core.recordings.aedat.aedat2 import open_aedat2
from mambaseg_core.recordings.aedat.aedat2_images import Aedat2Images
from mambaseg_core.recordings.aedat.aedat3 import open_aedat3
from mambaseg_core.recordings.aedat.aedat3_images import Aedat3Images
from mambaseg_core.recordings.aedat.aedat4 import open_aedat4, open_aedat4_images
from mambaseg_core.recordings.bag.files import EXPECTED, REMEDY, is_bag
from mambaseg_core.recordings.ddd17 import TIMES, open_ddd17
from mambaseg_core.recordings.errors import EventFileError, one_sentence
from mambaseg_core.recordings.hdf5.caer_packets import DATA
from mambaseg_core.recordings.hdf5.ddd20 import Ddd20Images, open_ddd20
from mambaseg_core.recordings.hdf5.dsec import open_dsec
from mambaseg_core.recordings.hdf5.dsec_sequence import find_events, sensor_size
from mambaseg_core.recordings.hdf5.e2vid import COLUMNS, open_e2vid_hdf5
from mambaseg_core.recordings.hdf5.files import SIGNATURE, has_members
from mambaseg_core.recordings.hdf5.m3ed import open_m3ed, open_m3ed_images
from mambaseg_core.recordings.hdf5.metavision import EVENTS, open_metavision_hdf5
from mambaseg_core.recordings.hdf5.mvsec import open_mvsec, open_mvsec_images
from mambaseg_core.recordings.images import RecordedImages
from mambaseg_core.recordings.prophesee.dat import is_dat, open_dat
from mambaseg_core.recordings.prophesee.raw import open_raw
from mambaseg_core.recordings.reader import EventReader
from mambaseg_core.recordings.tables.array_table import NPY, NPZ, open_array_table
from mambaseg_core.recordings.tables.text_table import is_text_table, open_text_table

_HEAD_BYTES: Final = 4096


class Settings(NamedTuple):
    """What a caller says about a recording that does not contain it; see `open_events`."""

    size: tuple[int, int] | None = None
    topic: str | None = None
    encoding: str | None = None
    time_unit: str | None = None
    columns: str | None = None


NO_SETTINGS: Final = Settings()
"""Nothing said."""


class Format(NamedTuple):
    """One format of recordings.

    Attributes:
        name: its name in error messages.
        recognizes: called with the path and the first 4096 bytes of the file, b"" for a folder.
        events: opens the events.
        images: opens the images; None if the format has none.
        takes: settings that only some formats have, of `encoding`, `time_unit` and `columns`.
    """

    name: str
    recognizes: Callable[[Path, bytes], bool]
    events: Callable[[Path, Settings], EventReader]
    images: Callable[[Path, Settings], RecordedImages] | None = None
    takes: tuple[str, ...] = ()


def _is_hdf5(*members: str) -> Callable[[Path, bytes], bool]:
    """Recognize HDF5 files that have one of these members, or all HDF5 files without one."""
    return lambda path, head: (
        head.startswith(SIGNATURE) and (not members or any(has_members(path, member) for member in members))
    )


def _open_bag(path: Path, topic: str | None) -> EventReader:
    with one_sentence(path, EXPECTED, REMEDY):
        from mambaseg_core.recordings.bag.events import open_bag_events  # rosbags
    return open_bag_events(path, topic)


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
        "an AEDAT 2.0 file",
        lambda _, head: head.startswith(b"#!AER-DAT2"),
        lambda path, settings: open_aedat2(path, settings.size),
        lambda path, settings: Aedat2Images(path, settings.size),
    ),
    Format(
        "an AEDAT 3.1 file",
        lambda _, head: head.startswith(b"#!AER-DAT3.1"),
        lambda path, settings: open_aedat3(path, settings.size),
        lambda path, settings: Aedat3Images(path, settings.size),
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
        lambda path, settings: _open_bag(path, settings.topic),
    ),
    Format(
        "a NumPy file (.npy, .npz)",
        lambda _, head: head.startswith((NPY, NPZ)),
        lambda path, settings: open_array_table(path, settings.size, settings.time_unit, settings.columns),
        takes=("time_unit", "columns"),
    ),
    Format(
        "a text table (CSV)",
        is_text_table,
        lambda path, settings: open_text_table(path, settings.size, settings.time_unit, settings.columns),
        takes=("time_unit", "columns"),
    ),
    Format("a .dat file of CD events", is_dat, lambda path, settings: open_dat(path, settings.size)),
    Format(
        "a .raw file (EVT2, EVT2.1, EVT3)",
        lambda path, head: head.startswith(b"% ") or path.suffix.lower() == ".raw",
        lambda path, settings: open_raw(path, settings.size, settings.encoding),
        takes=("encoding",),
    ),
)
"""All formats; the first that recognizes a path opens it."""


def open_events(
    path: str | Path,
    *,
    size: tuple[int, int] | None = None,
    topic: str | None = None,
    encoding: str | None = None,
    time_unit: str | None = None,
    columns: str | None = None,
) -> EventReader:
    """Open the events of a recording; its content determines its format.

    Args:
        path: DSEC's `events.h5` or a sequence's folder, a folder of DDD17, `.raw` (EVT2, EVT2.1, EVT3), `.dat`, AEDAT
            2.0, 3.1 and 4, an HDF5 file of Metavision, MVSEC, M3ED, DDD17, DDD20 or with `/events/{xs,ys,ts,ps}`, a
            NumPy or text table of events, or a bag (its folder, or one `.mcap`, `.db3` or ROS 1 `.bag` file).
        size: (height, width) of the sensor if the file does not contain it (`.raw`, tables; DSEC's layout, whose
            default is the size in the calibration beside the events, else 480x640).
        topic: event topic to read from a bag with several; camera of MVSEC or M3ED, "right" instead of "left".
        encoding: `evt2`, `evt21`, `evt21_legacy` or `evt3`: of a `.raw` file whose header lacks it or is wrong.
        time_unit: `s`, `ms`, `us` or `ns`: of a table's times; None: from its names, or guessed (see
            `EventReader.encoding`).
        columns: order of a table's four nameless columns, as `txyp`; None: guessed.

    Raises:
        EventFileError: the file is missing, its format is unknown, its header is damaged, or it lacks what the caller
            did not give. Later damage is raised when it is read.
    """
    path = Path(path)
    settings = Settings(size, topic, encoding, time_unit, columns)
    reader = _format_of(path, settings).events(path, settings)
    if size is not None and (reader.height, reader.width) != size:
        raise EventFileError(
            f"event file {path} is of a sensor of {reader.width}x{reader.height} and {size[1]}x{size[0]} is given, "
            f"expected no size for a file that contains it; leave the size out"
        )
    return reader


def open_images(
    path: str | Path, *, topic: str | None = None, size: tuple[int, int] | None = None
) -> RecordedImages | None:
    """Open the images of a recording, on the clock of its events; return None if its format has no images.

    Args:
        path: as of `open_events`.
        topic: image topic to read from a bag with several; camera of MVSEC ("left", the default, or "right") or of
            M3ED ("rgb", the default, or "left" or "right", which are gray).
        size: as of `open_events`.

    Raises:
        EventFileError: as of `open_events`.
    """
    path = Path(path)
    settings = Settings(size, topic)
    found = _format_of(path, settings)
    return None if found.images is None else found.images(path, settings)


def _format_of(path: Path, settings: Settings) -> Format:
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
                _check_taken(path, found, settings)
                return found
    if settings.encoding and head:  # words without a header
        return FORMATS[-1]
    if path.is_dir():
        names = sorted(entry.name for entry in path.iterdir())
        raise EventFileError(
            f"{path} is no recording known here (found: {names[:5]}), expected {known}; check the path"
        )
    raise EventFileError(
        f"event file {path} ({path.stat().st_size} bytes) begins with {head[:16]!r}, which is no format known here, "
        f"expected {known}; check the path, and download or record an empty file again"
    )


def _check_taken(path: Path, found: Format, settings: Settings) -> None:
    for name in ("encoding", "time_unit", "columns"):
        if getattr(settings, name) is not None and name not in found.takes:
            takers = ", ".join(other.name for other in FORMATS if name in other.takes)
            raise EventFileError(
                f"{name} is {getattr(settings, name)!r} for {path}, which is {found.name}, expected {takers}; leave it "
                f"out"
            )
