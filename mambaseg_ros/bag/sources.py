"""Recorded sequences that `mambaseg bag convert` reads: images and events in one clock."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from mambaseg_core.data.ddd17 import Ddd17Sequence
from mambaseg_core.data.dsec import DsecSequence
from mambaseg_core.events import Events
from mambaseg_core.recordings import EventFileError, EventReader, RecordedImages, open_events, open_images
from mambaseg_core.recordings.bag import is_bag
from mambaseg_core.recordings.davis_export import is_davis_export, open_davis_export
from mambaseg_core.recordings.images import HeldImages, PictureFiles
from mambaseg_core.recordings.open import NO_SETTINGS, Settings
from mambaseg_ros.bag.bag_sequence import BagSequence
from mambaseg_ros.bag.image_folder import open_image_folder


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


def open_event_file(
    path: Path, images: Path | None, images_unit: str, settings: Settings, image_topic: str
) -> EventFileWithImages:
    """Open a recording of `open_events` with its own images, with those of a folder, or without any.

    Args:
        path: the recording.
        images: folder of `open_image_folder`.
        images_unit: unit of the times in that folder.
        settings: what the recording does not contain.
        image_topic: topic of its own images; "": that of the events, or the only one.

    Raises:
        ValueError: one of both cannot be read.
    """
    events = open_events(path, **settings._asdict())
    if images is not None:
        return EventFileWithImages(events, open_image_folder(images, images_unit))
    own = open_images(path, topic=image_topic or settings.topic, size=settings.size)
    return EventFileWithImages(events, own or HeldImages([]))


def open_sequence(
    path: Path,
    images: Path | None = None,
    settings: Settings = NO_SETTINGS,
    *,
    images_unit: str = "us",
    image_topic: str = "",
    events_topic: str = "",
) -> ImageEventSequence:
    """Open a recording, found by its files.

    Args:
        path: folder of a DSEC sequence, of a DDD17-seg recording or of a DAVIS export; any recording of `open_events`.
        images: folder of pictures (`open_image_folder`) in place of the recording's own.
        settings: what the recording does not contain.
        images_unit: unit of the times in that folder.
        image_topic: topic of a bag's images; "": its only one.
        events_topic: topic of a bag's events; "": its only one.

    Raises:
        ValueError: it is none of these.
    """
    settings = settings._replace(topic=events_topic or None)
    if images is not None:
        return open_event_file(path, images, images_unit, settings, image_topic)
    special = _open_special(path, image_topic, events_topic)
    if special is not None:
        if given := [name for name, value in settings._asdict().items() if value is not None and name != "topic"]:
            raise ValueError(f"{', '.join(given)} is given for {path}, expected none: it contains that, leave it out")
        return special
    try:
        return open_event_file(path, images, images_unit, settings, image_topic)
    except EventFileError as error:
        if not path.is_dir():
            raise
        raise ValueError(f"{error}, or give a DAVIS export (events_txyp.npy and frames.txt)") from error


def _open_special(path: Path, image_topic: str, events_topic: str) -> ImageEventSequence | None:
    """Open a recording with a layout of its own; return None for one whose events `open_events` reads."""
    if is_davis_export(path):
        return EventFileWithImages(*open_davis_export(path))
    if (path / "events.dat.t").is_file():
        return open_ddd17_recording(path)
    if list(path.glob("events/**/events.h5")) or (path / "events.h5").is_file():
        return DsecSequence(path)
    if path.exists() and is_bag(path):
        return BagSequence(path, image_topic, events_topic)
    return None
