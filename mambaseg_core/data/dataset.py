"""A map-style data set of labeled images over recordings of any layout."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset

from mambaseg_core.cameras.calibration import Calibration
from mambaseg_core.data.sample import Sample
from mambaseg_core.data.view import View, ViewCache
from mambaseg_core.events import Events, Window
from mambaseg_core.labels import IGNORE, LabelSet
from mambaseg_core.pictures import Picture
from mambaseg_core.preprocessing import Preprocessing, check_registered
from mambaseg_core.recordings.image_times import check_overlap

Transform = Callable[[Sample, torch.Generator], Sample]
Key = int | tuple[int, int]

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
    def events_ns(self) -> tuple[int, int]:
        """Times of the first and of the last event, nanoseconds; (0, 0) without events."""

    @property
    def label_paths(self) -> Sequence[Path | None]:
        """Label file of each image; None for an image without a label."""

    def image(self, index: int) -> Picture:
        """Return an image, uint8 [H, W] or RGB [H, W, 3]."""

    def label(self, index: int) -> Picture:
        """Return the class ids of an image, uint8 [H, W]."""

    def window(self, end_ns: int, window: Window, bins: int) -> Events:
        """Return the raw events that `window.cut` selects from the whole recording."""


class SampleDataset(Dataset[Sample], ABC):
    """Labeled samples, changed at random by a transform.

    An item's key is its number, or (number, seed). The seed drives the transform's randomness. A sampler that yields
    both, as a function of the run's seed and step, makes training independent of the workers' number and state.

    Args:
        preprocessing: the model's; `Segmenter` and the ROS node make the same tensors.
        transform: changes a sample at random; its generator has the key's seed (default: the item's number).
    """

    def __init__(self, preprocessing: Preprocessing, transform: Transform | None = None) -> None:
        self.preprocessing = preprocessing
        self.transform = transform

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def load(self, number: int) -> Sample:
        """Return the sample of that number, unchanged."""

    def __getitem__(self, key: Key) -> Sample:
        number, seed = (key, key) if isinstance(key, int) else key
        sample = self.load(number)
        if self.transform is None:
            return sample
        return self.transform(sample, torch.Generator().manual_seed(seed))


class RecordingDataset(SampleDataset):
    """Samples of chosen images of some recordings, in that order.

    Args:
        items: recordings and numbers of their images; each image has a label.
        preprocessing: as in `SampleDataset`.
        transform: as in `SampleDataset`.
        cache: folder that keeps decoded images and rectified events between epochs (`ViewCache`); None: no cache.

    Raises:
        ValueError: the images and events of a recording have no calibration and are not registered, or fewer than
            half of the images lie within the time of the events.
    """

    def __init__(
        self,
        items: Sequence[tuple[LabelledSequence, int]],
        preprocessing: Preprocessing,
        transform: Transform | None = None,
        cache: str | Path | None = None,
    ) -> None:
        super().__init__(preprocessing, transform)
        self.items = items
        for recording in dict.fromkeys(recording for recording, _ in items):
            check_views(recording)
        self.cache = None if cache is None else ViewCache(cache, preprocessing)

    def __len__(self) -> int:
        return len(self.items)

    def load(self, number: int) -> Sample:
        """Return the sample of that number, unchanged."""
        return load_sample(*self.items[number], self.preprocessing, self.cache)


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
    recording: LabelledSequence, index: int, preprocessing: Preprocessing, cache: ViewCache | None = None
) -> Sample:
    """Return image number `index` of a recording with its label and its window of events, in the model's view.

    Raises:
        ValueError: a file is missing or damaged, or a label has values that are not classes.
    """
    setup = preprocessing
    stamp_ns = int(recording.image_times_ns[index])
    if cache is None:
        view = load_view(recording, index, setup)
    else:
        views = "" if recording.calibration is None else f" {recording.calibration.digest}"
        name = f"{recording.label_paths[index]} {stamp_ns}{views}"
        view = cache.get(name, lambda: load_view(recording, index, setup))
    path = recording.label_paths[index]
    check_label(view.label, path, setup.label_set)
    _check_label_size(view, path)
    image, voxel = setup.image_tensor(view.image), setup.voxel_tensor(view.events, view.edges_ns)
    label = setup.label_tensor(view.label, view.events.height)
    return Sample(image, voxel, label, stamp_ns, recording.name, index, recording.condition)


def _check_label_size(view: View, path: Path | None) -> None:
    """Raise ValueError if a label does not have the columns of the event view and at most its rows."""
    (rows, columns), events = view.label.shape, view.events
    if columns != events.width or rows > events.height:
        raise ValueError(
            f"label {path} is {columns}x{rows}, but the events' view is {events.width}x{events.height}, expected its "
            f"columns and at most its rows; take the labels of the events' view"
        )


def load_view(recording: LabelledSequence, index: int, setup: Preprocessing) -> View:
    """Return image, events and label of an image in the event view; arguments and errors as for `load_sample`."""
    stamp_ns = int(recording.image_times_ns[index])
    events = recording.window(stamp_ns, setup.window, setup.bins)
    edges_ns = setup.window.edges_ns(events, stamp_ns, bins=setup.bins, mode=setup.voxel_mode)
    image, calibration = recording.image(index), recording.calibration
    if calibration is None:
        check_registered(image.shape[:2], (events.height, events.width))
    else:
        image, events = calibration.warp_image(image), calibration.rectify(events)
    return View(image, events, edges_ns, recording.label(index))


def check_label(label: Picture, path: Path | None, labels: LabelSet) -> None:
    """Raise ValueError if a label has values that are neither classes nor 255."""
    wrong = (label >= len(labels.classes)) & (label != IGNORE)
    if wrong.any():
        raise ValueError(
            f"label {path} has the values {np.unique(label[wrong]).tolist()[:8]}, expected the class ids 0 to "
            f"{len(labels.classes) - 1} of {labels.name} or {IGNORE}; choose the label set it was made with"
        )
