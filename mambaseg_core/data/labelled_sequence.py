"""A sequence of images, labels and events, and how its samples are loaded in the model's view."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt
import torch

from mambaseg_core.cameras.calibration import Calibration
from mambaseg_core.data.sample import Sample
from mambaseg_core.data.view import LabelledWindow, ViewCache
from mambaseg_core.events import Events, Window
from mambaseg_core.labels import IGNORE, LabelSet
from mambaseg_core.pictures import Picture
from mambaseg_core.preprocessing import Preprocessing, check_registered
from mambaseg_core.recordings.image_times import check_overlap

_MANY: Final = 10_000  # events, which lie all over the view


class LabelledSequence(Protocol):
    """One sequence of images, their labels and events on one clock. It pickles without open files."""

    @property
    def name(self) -> str:
        """Name of the sequence."""

    @property
    def condition(self) -> str:
        """Condition, such as "night"; "unknown" without one."""

    @property
    def calibration(self) -> Calibration | None:
        """Calibration if image and events have different views, else None."""

    @property
    def image_times_ns(self) -> npt.NDArray[np.int64]:
        """Time of each image, nanoseconds."""

    @property
    def event_size(self) -> tuple[int, int]:
        """(height, width) of the event camera, pixels."""

    @property
    def events_ns(self) -> tuple[int, int]:
        """Times of the first and of the last event, nanoseconds; (0, 0) without events."""

    @property
    def image_paths(self) -> Sequence[Path | None]:
        """File of each image; None for a time without an image."""

    @property
    def label_paths(self) -> Sequence[Path | None]:
        """Label file of each image; None for an image without a label."""

    def image(self, index: int) -> Picture:
        """Return an image, uint8 [H, W] or RGB [H, W, 3]."""

    def label(self, index: int) -> Picture:
        """Return the class ids of an image, uint8 [H, W]."""

    def window(self, end_ns: int, window: Window, bins: int) -> Events:
        """Return the raw events that `window.cut` selects from the whole recording."""


def check_views(recording: LabelledSequence) -> None:
    """Refuse a recording whose images and events do not belong together.

    Raises:
        ValueError: as of `RecordingDataset`.
    """
    if recording.calibration is None:
        _check_spread(recording)
    remedy = "check that the times of the images and the events are of one recording and in microseconds"
    check_overlap(f"sequence {recording.name}", recording.image_times_ns, recording.events_ns, remedy)


def _check_spread(recording: LabelledSequence) -> None:
    """Refuse a recording said to be registered whose events all lie in the upper left quarter of the view."""
    times = recording.image_times_ns
    if not len(times):
        return
    events = recording.window(int(times[len(times) // 2]), Window(count=_MANY), 1)
    if len(events) < _MANY:
        return
    columns, rows = int(events.x.max()) + 1, int(events.y.max()) + 1
    if 2 * columns <= events.width and 2 * rows <= events.height:
        raise ValueError(
            f"the events of sequence {recording.name} reach column {columns - 1} and row {rows - 1} of "
            f"{events.width}x{events.height}, expected them all over the view of the images, to which they are said to "
            f"be registered; give the calibration of the two cameras"
        )


def load_sample(
    recording: LabelledSequence,
    index: int,
    preprocessing: Preprocessing,
    cache: ViewCache | None = None,
    *,
    image: int | None = None,
) -> Sample:
    """Return the label of image number `index`, the window of events up to its time, and an image, in the model's view.

    Args:
        recording: the recording.
        index: number of an image with a label.
        preprocessing: the model's.
        cache: keeps images and windows; None: no cache.
        image: number of the sample's image, which may be an older one; None: `index`.

    Raises:
        ValueError: a file is missing or damaged, or a label has values that are not classes.
    """
    setup, image = preprocessing, index if image is None else image
    path, stamp_ns = recording.label_paths[index], int(recording.image_times_ns[index])
    name = f"{path} {stamp_ns}{_views(recording)}"
    window = (
        load_window(recording, index, setup)
        if cache is None
        else cache.window(name, partial(load_window, recording, index, setup))
    )
    return Sample(
        load_image(recording, image, setup, cache),
        setup.voxel_tensor(window.events, window.edges_ns),
        _label_tensor(recording, index, window.label, setup),
        stamp_ns,
        recording.name,
        index,
        recording.condition,
        age_ns=stamp_ns - int(recording.image_times_ns[image]),
    )


def load_image(
    recording: LabelledSequence, number: int, setup: Preprocessing, cache: ViewCache | None = None
) -> torch.Tensor:
    """Return an image in the model's view, float32 [C, H, W]; arguments and errors as for `load_sample`."""

    def make() -> Picture:
        image = recording.image(number)
        return image if recording.calibration is None else recording.calibration.warp_image(image)

    name = f"{recording.image_paths[number]} {recording.image_times_ns[number]}{_views(recording)}"
    image = make() if cache is None else cache.image(name, make)
    if recording.calibration is None:
        check_registered(image.shape[:2], recording.event_size)
    return setup.image_tensor(image)


def load_window(recording: LabelledSequence, index: int, setup: Preprocessing) -> LabelledWindow:
    """Return label and events of an image in the event view; arguments and errors as for `load_sample`."""
    stamp_ns, calibration = int(recording.image_times_ns[index]), recording.calibration
    events = recording.window(stamp_ns, setup.window, setup.bins)
    edges_ns = setup.window.edges_ns(events, stamp_ns, bins=setup.bins, mode=setup.voxel_mode)
    events = events if calibration is None else calibration.rectify(events)
    return LabelledWindow(events, edges_ns, recording.label(index))


def _views(recording: LabelledSequence) -> str:
    return "" if recording.calibration is None else f" {recording.calibration.digest}"


def load_label(recording: LabelledSequence, index: int, setup: Preprocessing) -> torch.Tensor:
    """Return the label of an image in the model's view, int64 [H, W]; arguments and errors as for `load_sample`."""
    return _label_tensor(recording, index, recording.label(index), setup)


def _label_tensor(recording: LabelledSequence, index: int, label: Picture, setup: Preprocessing) -> torch.Tensor:
    """Check values and size of a label image, which has the columns of the event view and at most its rows."""
    path, calibration = recording.label_paths[index], recording.calibration
    check_label(label, path, setup.label_set)
    height, width = recording.event_size if calibration is None else calibration.event_size
    rows, columns = label.shape
    if columns != width or rows > height:
        raise ValueError(
            f"label {path} is {columns}x{rows}, but the events' view is {width}x{height}, expected its "
            f"columns and at most its rows; take the labels of the events' view"
        )
    return setup.label_tensor(label, height)


def check_label(label: Picture, path: Path | None, labels: LabelSet) -> None:
    """Raise ValueError if a label has values that are neither classes nor 255."""
    wrong = (label >= len(labels.classes)) & (label != IGNORE)
    if wrong.any():
        raise ValueError(
            f"label {path} has the values {np.unique(label[wrong]).tolist()[:8]}, expected the class ids 0 to "
            f"{len(labels.classes) - 1} of {labels.name} or {IGNORE}; choose the label set it was made with"
        )
