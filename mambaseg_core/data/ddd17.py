"""DDD17-seg as the ESS authors publish it: one folder per recording, gray images and events registered.

- `dir0/events.dat.t`, `dir0/events.dat.xyp`: the events, see `recordings.ddd17`
- `dir0/index/index_{10,50,250}ms.npy`: int64 [images, 3]: the image's time, events before it, events before that
- `dir0/imgs/img_%08d.png`: 260x346, gray; image number n belongs to row n - 1 of the index
- `dir0/segmentation_masks/segmentation_%08d.png`: 200x346, 6 classes, for some images
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import numpy as np

from mambaseg_core.data.dataset import RecordingDataset, Transform
from mambaseg_core.data.sample import UNKNOWN
from mambaseg_core.events import Events, Window
from mambaseg_core.labels import DDD17_6
from mambaseg_core.pictures import Picture, list_pictures, read_image, read_label
from mambaseg_core.preprocessing import Preprocessing
from mambaseg_core.recordings.ddd17 import open_ddd17
from mambaseg_core.recordings.image_times import Times

SPLITS: Final = {"train": ("dir0", "dir3", "dir4", "dir6", "dir7"), "test": ("dir1",)}
"""The split of the published MambaSeg numbers; dir5, the test recording of ESS, holds one mask only."""

_INDICES: Final = ("index/index_50ms.npy", "index/index_10ms.npy", "index/index_250ms.npy")


class Ddd17Sequence:
    """One recording of DDD17-seg. Files are opened on demand; objects can be pickled.

    Args:
        root: the recording's folder, for example `dir0`.

    Attributes:
        root: the recording's folder.
        image_paths: one per row of the index; None for a row without an image.
        image_times_ns: int64 [rows of the index], nanoseconds, on the events' clock.
        label_paths: one per row; None for a row without a label.
        calibration: None: images and events are registered.
        condition: "unknown".

    Raises:
        ValueError: a file is missing, or the files' lengths do not fit.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        self.calibration = None
        self.condition = UNKNOWN
        self.image_times_ns = self._read_times()
        self.image_paths = self._numbered("imgs")
        self.label_paths = self._numbered("segmentation_masks")
        self._events = open_ddd17(self.root)
        unpaired = [n for n in self.labelled() if self.image_paths[n] is None]
        if unpaired:
            raise ValueError(
                f"sequence {self.root} has {len(unpaired)} masks without an image, {self.label_paths[unpaired[0]]} "
                f"the first, expected imgs/img_%08d.png of the same number; unpack the data set again"
            )

    def __len__(self) -> int:
        return len(self.image_times_ns)

    @property
    def name(self) -> str:
        """Name of the recording: its folder's."""
        return self.root.resolve().name

    @property
    def event_size(self) -> tuple[int, int]:
        """(height, width) of the event camera, pixels."""
        return self._events.height, self._events.width

    @property
    def events_ns(self) -> tuple[int, int]:
        """Times of the first and of the last event, nanoseconds; (0, 0) without events."""
        return self._events.start_ns, max(self._events.start_ns, self._events.end_ns - 1)

    def labelled(self) -> list[int]:
        """Return the numbers of the images that have a label."""
        return [index for index, path in enumerate(self.label_paths) if path is not None]

    def image(self, index: int) -> Picture:
        """Return the gray image of a row, uint8 [260, 346].

        Raises:
            ValueError: the row has none, or it cannot be read.
        """
        return read_image(self._path(self.image_paths, index, "image"))

    def label(self, index: int) -> Picture:
        """Return the class ids of a row's image, uint8 [200, 346]: the lowest 60 rows are cut; 255 means ignore.

        Raises:
            ValueError: the row has none, or it cannot be read.
        """
        return read_label(self._path(self.label_paths, index, "mask"))

    def window(self, end_ns: int, window: Window, bins: int) -> Events:
        """Return the raw events that `window.cut` selects from the whole recording.

        Raises:
            ValueError: an event file is missing, or the two have different lengths.
        """
        return self._events.window(window, end_ns, bins).events

    def _read_times(self) -> Times:
        path = next((self.root / name for name in _INDICES if (self.root / name).is_file()), None)
        if path is None:
            path = self._require(_INDICES[0])
        index = np.load(path, allow_pickle=False)
        if index.ndim != 2 or index.shape[1] != 3 or index.dtype.kind not in "iu":
            raise ValueError(
                f"{path} is {index.dtype} {list(index.shape)}, expected integers [images, 3]; unpack it again"
            )
        return np.asarray(index[:, 0], np.int64)

    def _numbered(self, folder: str) -> tuple[Path | None, ...]:
        """Return a folder's images in the order of the index's rows; the files' numbers count from 1."""
        numbered = [path for path in list_pictures(self._require(folder), (".png",)) if path.stem[-1].isdecimal()]
        paths = {int(re.findall(r"\d+", path.stem)[-1]): path for path in numbered}
        if len(paths) < len(numbered):
            first = min(set(numbered) - set(paths.values()))
            raise ValueError(f"{first} has the number of another file, expected one of each; remove one of them")
        beyond = [number for number in paths if not 1 <= number <= len(self)]
        if beyond:
            raise ValueError(
                f"sequence {self.root} has a file {paths[max(beyond)]} and {len(self)} image times, expected "
                f"numbers from 1 to {len(self)}; unpack the data set again"
            )
        return tuple(paths.get(number + 1) for number in range(len(self)))

    def _require(self, name: str) -> Path:
        path = self.root / name
        if not path.exists():
            found = sorted(entry.name for entry in self.root.iterdir())[:8] if self.root.is_dir() else "no such folder"
            raise ValueError(f"sequence {self.root} has no {name} (found: {found}); unpack ddd17_seg.tar.gz there")
        return path

    def _path(self, paths: tuple[Path | None, ...], index: int, what: str) -> Path:
        path = paths[index]
        if path is None:
            raise ValueError(
                f"row {index} of sequence {self.root} has no {what}, expected one; use the rows that `labelled` returns"
            )
        return path


class Ddd17Dataset(RecordingDataset):
    """Labeled images of one split of DDD17-seg.

    Args:
        root: folder that holds dir0, dir1, ...
        split: "train" or "test".
        preprocessing: the model's, with the label set "ddd17_6".
        transform: as in `RecordingDataset`.
        cache: as in `RecordingDataset`.
        image_age_ns: as in `RecordingDataset`.

    Raises:
        ValueError: the split or the label set is not one of DDD17-seg, or a recording is missing or incomplete.
    """

    def __init__(
        self,
        root: str | Path,
        split: str,
        preprocessing: Preprocessing,
        transform: Transform | None = None,
        cache: str | Path | None = None,
        *,
        image_age_ns: int = 0,
    ) -> None:
        if split not in SPLITS:
            raise ValueError(f"split is {split!r}, expected one of {', '.join(SPLITS)}")
        if preprocessing.labels != DDD17_6.name:
            raise ValueError(
                f"the model's label set is {preprocessing.labels!r}, expected {DDD17_6.name!r} for DDD17-seg; use a "
                f"model with 6 classes"
            )
        sequences = [Ddd17Sequence(Path(root) / name) for name in SPLITS[split]]
        items = [(sequence, index) for sequence in sequences for index in sequence.labelled()]
        super().__init__(items, preprocessing, transform, cache, image_age_ns=image_age_ns)
