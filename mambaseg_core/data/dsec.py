"""Reader of one sequence in DSEC's layout: images, events, labels and calibration, all on one clock."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import yaml

from mambaseg_core.cameras import cam_to_cam
from mambaseg_core.cameras.calibration import Calibration
from mambaseg_core.data.sample import UNKNOWN
from mambaseg_core.events import Events, Window
from mambaseg_core.pictures import Picture, list_pictures, read_image, read_label
from mambaseg_core.recordings.hdf5.dsec import SENSOR_SIZE, open_dsec, read_rectify_map
from mambaseg_core.recordings.hdf5.dsec_sequence import CALIBRATION, EVENTS
from mambaseg_core.recordings.image_times import Times, read_times
from mambaseg_core.recordings.reader import EventReader

# Alternatives, tried in this order; {name} is the sequence's, {classes} 11 or 19.
_IMAGES: Final = ("images/left/rectified",)
_IMAGE_TIMES: Final = ("images/timestamps.txt", "{name}_image_timestamps.txt", "image_timestamps.txt")
_RECTIFY_MAP: Final = ("events/left/rectify_map.h5", "rectify_map.h5")
_LABELS: Final = (
    "semantic/{classes}classes/data",  # read by the released training code
    "semantic/left/{classes}classes/data",  # described in its README
    "semantic/left/{classes}classes",  # OpenESS
    "{classes}classes",  # as shipped
)
_LABEL_TIMES: Final = (
    "semantic/timestamps.txt",
    "semantic/left/timestamps.txt",
    "semantic/semantic_timestamps.txt",
    "{name}_semantic_timestamps.txt",
)
DESCRIPTION: Final = "sequence.yaml"
"""Condition and settings of a sequence from `mambaseg synth`; not a file of DSEC."""


class DsecSequence:
    """One DSEC sequence. Events and images are read on demand; objects can be pickled.

    Args:
        root: the sequence's folder, for example `zurich_city_04_a`.
        classes: which of DSEC-Semantic's label sets to read, 11 or 19.
        registered: whether images and events have one view already, pixel by pixel, so that there is no calibration.

    Attributes:
        root: the sequence's folder.
        image_paths: the rectified left images in time order.
        image_times_ns: int64 [number of images], nanoseconds, on the events' clock.
        label_paths: the label file of each image; None for an image without a label.
        registered: as given.
        calibration_path: path of `cam_to_cam.yaml`; None without it.
        events: reader of the event file.
        condition: from `sequence.yaml`, such as "night"; "unknown" without that file.

    Raises:
        ValueError: events, images or their times are missing, their counts differ, a file is malformed, or a sequence
            that is `registered` has a calibration.
    """

    image_paths: tuple[Path, ...]
    image_times_ns: Times
    label_paths: tuple[Path | None, ...]
    registered: bool
    calibration_path: Path | None
    events: EventReader
    condition: str

    def __init__(self, root: str | Path, *, classes: int = 11, registered: bool = False) -> None:
        self.root = Path(root)
        self.registered = registered
        self._classes = classes
        if not self.root.is_dir():
            raise ValueError(f"sequence {self.root} is no folder, expected one with {EVENTS[0]} in it; check the path")
        event_file = self._require("events", EVENTS)
        self.image_paths = tuple(list_pictures(self._require("images", _IMAGES)))
        self.image_times_ns = read_times(self._require("image times", _IMAGE_TIMES))
        if len(self.image_paths) != len(self.image_times_ns):
            raise ValueError(
                f"sequence {self.root} has {len(self.image_paths)} images and {len(self.image_times_ns)} image times, "
                f"expected as many; download and unpack the images again"
            )
        self.label_paths = self._match_labels()
        self.calibration_path = self._find(CALIBRATION)
        if registered and self.calibration_path is not None:
            raise ValueError(
                f"sequence {self.root} is said to be registered and has {self.calibration_path}, expected one of them; "
                f"leave the calibration where it is, or say that the views are not registered"
            )
        self._calibration = None if self.calibration_path is None else cam_to_cam.read(self.calibration_path)
        rectify_map = self._find(_RECTIFY_MAP)
        if self._calibration is not None and rectify_map is not None:
            self._calibration = replace(self._calibration, published_map=read_rectify_map(rectify_map))
        self.condition = _read_condition(self.root / DESCRIPTION)
        self.events = open_dsec(event_file, self._sensor_size())

    def __len__(self) -> int:
        return len(self.image_paths)

    @property
    def name(self) -> str:
        """Name of the sequence: its folder's."""
        return self.root.resolve().name

    @property
    def calibration(self) -> Calibration | None:
        """From `cam_to_cam.yaml`, with the map of `rectify_map.h5` if there is one; None if registered.

        Raises:
            ValueError: there is none, and the sequence is not said to be registered.
        """
        if self._calibration is None and not self.registered:
            raise ValueError(
                f"sequence {self.root} has no {CALIBRATION[0]}, without which images and events do not lie over each "
                f"other, expected DSEC's calibration; download it (files of their own at https://dsec.ifi.uzh.ch) into "
                f"the sequence's folder, or, if its images have the events' view, say so: data.registered: true in a "
                f"configuration, --registered of eval and predict, registered=True in Python"
            )
        return self._calibration

    @property
    def events_ns(self) -> tuple[int, int]:
        """Times of the first and of the last event, nanoseconds; (0, 0) without events."""
        return self.events.start_ns, max(self.events.start_ns, self.events.end_ns - 1)

    @property
    def event_size(self) -> tuple[int, int]:
        """(height, width) of the event camera, pixels: the calibration's, if registered the images', else DSEC's."""
        return self.events.height, self.events.width

    def image(self, index: int) -> Picture:
        """Return the rectified left image number `index`, RGB uint8 [H, W, 3], or gray [H, W] if the file is gray.

        Raises:
            IndexError: there is no such image.
            ValueError: the file cannot be read as an image.
        """
        return read_image(self.image_paths[index])

    def label(self, index: int) -> Picture:
        """Return the class ids of image number `index` in the rectified event view, uint8 [440, 640].

        The lowest 40 of 480 rows are cut; 255 means ignore.

        Raises:
            IndexError: there is no such image.
            ValueError: the image has no label, or the file cannot be read as an image.
        """
        path = self.label_paths[index]
        if path is None:
            places = ", ".join(self._fill(place) for place in _LABELS)
            raise ValueError(
                f"image {index} of sequence {self.root} has no label ({len(self.labelled())} of {len(self)} images "
                f"have one), expected it in one of {places}; download DSEC-Semantic into the sequence's folder"
            )
        return read_label(path)

    def labelled(self) -> list[int]:
        """Return the numbers of the images that have a label."""
        return [index for index, path in enumerate(self.label_paths) if path is not None]

    def window(self, end_ns: int, window: Window, bins: int) -> Events:
        """Return the raw events that `window.cut` selects from the whole recording.

        Raises:
            ValueError: the event file is damaged or not in DSEC's layout.
        """
        return self.events.window(window, end_ns, bins).events

    def iter_events(self, chunk_ns: int) -> Iterator[Events]:
        """Iterate over all raw events in chunks of `chunk_ns`; chunks without events are left out.

        Raises:
            ValueError: chunk_ns is below 1, or as for `window`.
        """
        return self.events.chunks(duration_ns=chunk_ns)

    def share_calibration(self, other: DsecSequence) -> None:
        """Use the calibration of another sequence of the same rig, so that its maps are computed once."""
        self._calibration = other.calibration

    def _sensor_size(self) -> tuple[int, int]:
        """Return (height, width) of the event sensor: the calibration's, if registered the images', else DSEC's."""
        if self._calibration is not None:
            return self._calibration.event_raw.size
        if not (self.registered and self.image_paths):
            return SENSOR_SIZE
        height, width = self.image(0).shape[:2]
        return height, width

    def _fill(self, place: str) -> str:
        return place.format(name=self.name, classes=self._classes)

    def _find(self, places: tuple[str, ...]) -> Path | None:
        paths = (self.root / self._fill(place) for place in places)
        return next((path for path in paths if path.exists()), None)

    def _require(self, what: str, places: tuple[str, ...]) -> Path:
        path = self._find(places)
        if path is None:
            found = sorted(entry.name for entry in self.root.iterdir())[:8]
            expected = " or ".join(self._fill(place) for place in places)
            raise ValueError(
                f"sequence {self.root} has no {what} (found: {found}), expected {expected}; "
                f"unpack DSEC's files into the sequence's folder"
            )
        return path

    def _match_labels(self) -> tuple[Path | None, ...]:
        """Match labels to images by time; by position if labels have no times and are as many as the images."""
        folder = self._find(_LABELS)
        paths = [] if folder is None else list_pictures(folder, (".png",))
        if not paths:
            return (None,) * len(self)
        times_file = self._find(_LABEL_TIMES)
        if times_file is None and len(paths) == len(self):
            return tuple(paths)
        times = np.zeros(0, np.int64) if times_file is None else read_times(times_file)
        if len(times) != len(paths):
            raise ValueError(
                f"sequence {self.root} has {len(paths)} labels in {folder}, {len(times)} label times and "
                f"{len(self)} images, expected as many labels as label times; download the labels again"
            )
        at = dict(zip(times.tolist(), paths, strict=True))
        strays = set(at) - set(self.image_times_ns.tolist())
        if strays:
            raise ValueError(
                f"sequence {self.root} has {len(strays)} labels at times of no image, {at[min(strays)].name} at "
                f"{min(strays) // 1000} us the first, expected the times of images; download {times_file} again"
            )
        return tuple(at.get(time) for time in self.image_times_ns.tolist())


def _read_condition(path: Path) -> str:
    if not path.is_file():
        return UNKNOWN
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError, RecursionError):
        content = None
    if not isinstance(content, dict) or not isinstance(content.get("condition"), str):
        raise ValueError(f"{path} has no condition, expected a line such as 'condition: night'; add it")
    return str(content["condition"])
