"""Images and events of any recording, as a sequence to segment or to look at: without labels, in any format."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from mambaseg_core.cameras.calibration import Calibration
from mambaseg_core.events import Events, Window
from mambaseg_core.pictures import Picture
from mambaseg_core.recordings import EventFileError, RecordedImages, open_events, open_images
from mambaseg_core.recordings.davis_export import is_davis_export, open_davis_export
from mambaseg_core.recordings.image_times import check_overlap
from mambaseg_core.recordings.open import NO_SETTINGS, Settings
from mambaseg_core.recordings.reader import EventReader


class EventWindows(Protocol):
    """Windows of a recording's events.

    Attributes:
        size: (height, width) of the sensor, pixels.
    """

    size: tuple[int, int]

    def window(self, end_ns: int, window: Window, bins: int) -> Events:
        """Return the raw events that `window.cut` selects from the whole recording."""


OpenBag: TypeAlias = Callable[[Path, str, str], tuple[RecordedImages, EventWindows]]
"""Opens a bag by its path, image topic and events topic ("": found by type)."""


class RecordedSequence:
    """Images, and the events before each, of one recording.

    Args:
        path: the recording, for messages.
        images: its images.
        events: its events, on the images' clock.
        calibration: of the two cameras, where their views differ.
        registered: whether images and events have one view though their sizes differ.

    Attributes:
        image_times_ns: int64 [N], time of each image, nanoseconds.
        calibration: of the two cameras; None if registered.

    Raises:
        ValueError: there is no image, or images and events have different sizes, no calibration, and are not said to
            be registered.
    """

    def __init__(
        self,
        path: Path,
        images: RecordedImages,
        events: EventWindows,
        calibration: Calibration | None = None,
        *,
        registered: bool = False,
    ) -> None:
        self.path = path
        self.calibration = calibration
        self.image_times_ns: npt.NDArray[np.int64] = images.times_ns
        self._images, self._events = images, events
        if not len(self.image_times_ns):
            raise ValueError(
                f"{path} has no images, expected some beside its events; where a folder holds them with their times, "
                "make a bag of both: `mambaseg bag convert FILE BAG --images FOLDER`"
            )
        if calibration is None and not registered:
            self._check_sizes()

    def __len__(self) -> int:
        return len(self.image_times_ns)

    @property
    def event_size(self) -> tuple[int, int]:
        """(height, width) of the event camera, pixels."""
        return self._events.size

    def image(self, index: int) -> Picture:
        """Return an image, uint8 [H, W] or RGB [H, W, 3].

        Raises:
            ValueError: it cannot be read.
        """
        return self._images.image(index)

    def window(self, end_ns: int, window: Window, bins: int) -> Events:
        """Return the raw events that `window.cut` selects from the whole recording.

        Raises:
            ValueError: the recording is damaged.
        """
        return self._events.window(end_ns, window, bins)

    def _check_sizes(self) -> None:
        image_size = self.image(0).shape[:2]
        if image_size != self.event_size:
            image, events = (f"{width}x{height}" for height, width in (image_size, self.event_size))
            raise ValueError(
                f"the images of {self.path} are {image} and its events {events}, and there is no calibration; expected "
                "the two cameras' cam_to_cam.yaml: give it with --calibration, or --registered if both have one view"
            )


class FileEvents:
    """`EventWindows` of a reader.

    Args:
        reader: of `open_events`.
    """

    def __init__(self, reader: EventReader) -> None:
        self._reader = reader
        self.size = reader.height, reader.width

    def window(self, end_ns: int, window: Window, bins: int) -> Events:
        """Return the raw events that `window.cut` selects from the whole recording."""
        return self._reader.window(window, end_ns, bins).events


def open_recorded_file(
    path: Path,
    settings: Settings = NO_SETTINGS,
    image_topic: str = "",
    calibration: Calibration | None = None,
    *,
    registered: bool = False,
) -> RecordedSequence:
    """Open a file of `open_events` that has images, or a DAVIS export, as a sequence.

    Args:
        path: the recording.
        settings: what it does not contain.
        image_topic: camera of its images; "": that of the events.
        calibration: as of `RecordedSequence`.
        registered: as of `RecordedSequence`.

    Raises:
        ValueError: as of `RecordedSequence`, the recording cannot be read, or its images and events are on two clocks.
    """
    if is_davis_export(path):
        reader, found = open_davis_export(path)
        images: RecordedImages | None = found
    else:
        reader = open_events(path, **settings._asdict())
        images = open_images(path, topic=image_topic or settings.topic, size=settings.size)
    if images is None:
        raise EventFileError(
            f"{path} has events alone, expected images beside them; give the folder of its sequence, or make a bag of "
            "both: `mambaseg bag convert FILE BAG --images FOLDER`"
        )
    sequence = RecordedSequence(path, images, FileEvents(reader), calibration, registered=registered)
    span = (reader.start_ns, max(reader.start_ns, reader.end_ns - 1))
    check_overlap(str(path), images.times_ns, span, "record both on one clock, or align them: `mambaseg bag convert`")
    return sequence
