"""Images in HDF5 files, one row an image, read when they are needed."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Final

import h5py
import numpy as np
import numpy.typing as npt

from mambaseg_core.recordings.errors import EventFileError
from mambaseg_core.recordings.hdf5.events import microseconds, seconds
from mambaseg_core.recordings.hdf5.files import get_dataset, hdf5_errors, open_hdf5
from mambaseg_core.recordings.per_process import PerProcess

_EXPECTED: Final = "images [N, H, W] and their times"
_MISSING: Final = "images and their times; choose a camera that has both, or another file"
_MOST_IMAGES: Final = 1 << 24
_MOST_PIXELS: Final = 1 << 26  # of an image


class Hdf5Images:
    """`RecordedImages` in a dataset [N, H, W], [N, H, W, 1] or [N, H, W, 3] of uint8.

    Args:
        path: the file.
        images: name of the dataset; three channels are blue, green, red.
        times: name of the dataset of their times, integer microseconds or float seconds.

    Raises:
        EventFileError: a dataset is missing or damaged, or has another type or length.
    """

    def __init__(self, path: Path, images: str, times: str) -> None:
        self._path = path
        self._images = images
        self._file = PerProcess(partial(open_hdf5, path, _EXPECTED))
        file = self._file.get()
        with hdf5_errors(path, _EXPECTED):
            count, stamps = len(self._dataset()), get_dataset(file, times, path, "iuf", 1, missing=_MISSING)
            if count != len(stamps) or count > _MOST_IMAGES:
                raise EventFileError(
                    f"{path} has {count} images in /{images} and {len(stamps)} times in /{times}, expected as many; "
                    f"download it again"
                )
            values = stamps[()]
            times_ns = seconds(values) if values.dtype.kind == "f" else microseconds(values)
        self._order = np.argsort(times_ns, kind="stable")
        self.times_ns: npt.NDArray[np.int64] = times_ns[self._order]

    def image(self, index: int) -> npt.NDArray[np.uint8]:
        """Return an image, RGB uint8 [H, W, 3] or gray uint8 [H, W].

        Raises:
            EventFileError: it cannot be read.
        """
        with hdf5_errors(self._path, _EXPECTED):
            values = np.asarray(self._dataset()[int(self._order[index])])
        if values.ndim == 2:
            return values
        return values[..., 0] if values.shape[2] == 1 else np.ascontiguousarray(values[..., ::-1])

    def _dataset(self) -> h5py.Dataset:
        file = self._file.get()
        dimensions = getattr(file.get(self._images), "ndim", 0)
        found = get_dataset(file, self._images, self._path, "u", 4 if dimensions == 4 else 3, missing=_MISSING)
        if (
            found.dtype != np.uint8
            or found.shape[3:] not in ((), (1,), (3,))
            or np.prod(found.shape[1:]) > _MOST_PIXELS
        ):
            raise EventFileError(
                f"/{self._images} of {self._path} is {found.dtype} {list(found.shape)}, expected uint8 [N, H, W] with "
                f"1 or 3 channels; download it again"
            )
        return found
