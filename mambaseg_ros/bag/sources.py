"""Recorded sequences that `mambaseg bag convert` reads: images and events in one clock."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from mambaseg_core.data.ddd17 import Ddd17Sequence
from mambaseg_core.data.dsec import DsecSequence
from mambaseg_core.events import Events
from mambaseg_core.pictures import read_image
from mambaseg_core.recordings import EventReader, RecordedImages, open_events, open_images
from mambaseg_core.recordings.bag import is_bag
from mambaseg_ros.bag.bag_sequence import BagSequence
from mambaseg_ros.bag.image_folder import TIMES, PictureFiles, open_image_folder


class ImageEventSequence(Protocol):
    """Images and events of a recording."""

    image_times_ns: npt.NDArray[np.int64]

    @property
    def events_ns(self) -> tuple[int, int]:
        """Times of the first and of the last event, nanoseconds; (0, 0) without events."""

    def image(self, index: int) -> npt.NDArray[np.uint8]:
        """Return an image, RGB uint8 [H, W, 3] or grey uint8 [H, W]."""

    def iter_events(self, chunk_ns: int) -> Iterator[Events]:
        """Yield the events in chunks of at most `chunk_ns`."""


class EventFileWithImages:
    """An event file and images on its clock.

    Args:
        events: reader of any file of `open_events`.
        images: its images.
    """

    def __init__(self, events: EventReader, images: RecordedImages) -> None:
        self.image_times_ns = images.times_ns
        self._images = images
        self._events = events

    @property
    def events_ns(self) -> tuple[int, int]:
        """Times of the first and of the last event, nanoseconds; (0, 0) without events."""
        return self._events.start_ns, max(self._events.start_ns, self._events.end_ns - 1)

    def image(self, index: int) -> npt.NDArray[np.uint8]:
        """Return an image, RGB uint8 [H, W, 3] or grey uint8 [H, W].

        Raises:
            ValueError: the file cannot be read.
        """
        return self._images.image(index)

    def iter_events(self, chunk_ns: int) -> Iterator[Events]:
        """Yield the events in chunks of at most `chunk_ns`."""
        return self._events.chunks(duration_ns=chunk_ns)


def open_ddd17_recording(path: Path) -> EventFileWithImages:
    """Open a folder of DDD17-seg. Rows of its index without an image are left out."""
    sequence = Ddd17Sequence(path)
    rows = [row for row, picture in enumerate(sequence.image_paths) if picture is not None]
    pictures = [picture for picture in sequence.image_paths if picture is not None]
    return EventFileWithImages(open_events(path), PictureFiles(sequence.image_times_ns[rows], pictures))


class DavisExport:
    """A DAVIS recording exported to files: `events_txyp.npy` (t in us), `frames.txt`, PNG frames.

    Args:
        root: the folder.

    Raises:
        ValueError: a file is missing or has another layout.
    """

    def __init__(self, root: Path) -> None:
        lines = [line for line in (root / "frames.txt").read_text().splitlines() if line and not line.startswith("#")]
        rows = [re.match(r"(\S+) (\d+)", line) for line in lines]
        if not rows or None in rows:
            wrong = lines[rows.index(None)] if rows else "nothing"
            raise ValueError(f"{root}/frames.txt holds {wrong!r}; expected lines 'file time_us ...': export it again")
        self._paths = [root / row[1] for row in rows if row]
        self.image_times_ns = np.array([int(row[2]) * 1000 for row in rows if row], np.int64)
        if (np.diff(self.image_times_ns) < 0).any():
            raise ValueError(f"the times in {root}/frames.txt run backwards; expected rising microseconds: sort it")
        self._table = np.load(root / "events_txyp.npy", allow_pickle=False)
        self._size = self.image(0).shape[:2]

    @property
    def events_ns(self) -> tuple[int, int]:
        """Times of the first and of the last event, nanoseconds; (0, 0) without events."""
        t_ns = _columns(self._table)[0]
        return (int(t_ns[0]), int(t_ns[-1])) if len(t_ns) else (0, 0)

    def image(self, index: int) -> npt.NDArray[np.uint8]:
        """Return an image, grey uint8 [H, W]."""
        return read_image(self._paths[index])

    def iter_events(self, chunk_ns: int) -> Iterator[Events]:
        """Yield the events in chunks of at most `chunk_ns`."""
        t_ns, x, y, p = _columns(self._table)
        events = Events.from_arrays(x, y, t_ns, p, height=self._size[0], width=self._size[1])
        if len(events):
            first, last = int(events.t_ns[0]), int(events.t_ns[-1])
            for start in range(first, last + 1, chunk_ns):
                yield events.between(start, start + chunk_ns)


def _columns(table: npt.NDArray[Any]) -> tuple[npt.NDArray[np.int64], ...]:
    if table.dtype.names is not None:
        t, x, y, p = (table[name].astype(np.int64) for name in ("t", "x", "y", "p"))
    else:
        t, x, y, p = table.astype(np.int64).T
    return t * 1000, x, y, p


def open_sequence(
    path: Path,
    images: Path | None = None,
    *,
    images_unit: str = "us",
    reading: Mapping[str, Any] | None = None,
    image_topic: str = "",
    events_topic: str = "",
) -> ImageEventSequence:
    """Open a recording, found by its files.

    Args:
        path: folder of a DSEC sequence, of a DDD17-seg recording or of a DAVIS export; a bag of ROS 2 or ROS 1; any
            file of `open_events`.
        images: folder of pictures (`open_image_folder`) in place of the recording's own.
        images_unit: unit of the times in that folder.
        reading: keyword arguments of `open_events`, but for the topic.
        image_topic: topic of a bag's images; "": its only one.
        events_topic: topic of a bag's events; "": its only one.

    Raises:
        ValueError: it is none of these, or has events only and no folder was given.
    """
    how = {**(reading or {}), "topic": events_topic or None}
    if images is not None:
        return EventFileWithImages(open_events(path, **how), open_image_folder(images, images_unit))
    if (path / "events_txyp.npy").is_file() and (path / "frames.txt").is_file():
        return DavisExport(path)
    if (path / "events.dat.t").is_file():
        return open_ddd17_recording(path)
    if list(path.glob("events/**/events.h5")) or (path / "events.h5").is_file():
        return DsecSequence(path)
    if path.exists() and is_bag(path):
        return BagSequence(path, image_topic, events_topic)
    recorded = None if path.is_dir() else open_images(path, topic=image_topic or None)
    if recorded is not None:
        return EventFileWithImages(open_events(path, **how), recorded)
    if path.is_file():
        raise ValueError(
            f"{path} holds events only; expected a folder of pictures with {TIMES} (one time a line) beside it: give "
            "it with --images"
        )
    found = sorted(entry.name for entry in path.iterdir())[:5]
    raise ValueError(
        f"{path} is no known recording (found: {found}); expected a DSEC sequence (events/left/events.h5), a DDD17-seg "
        "recording (events.dat.t), a DAVIS export (events_txyp.npy and frames.txt), an .aedat4 or a .raw file"
    )
