"""The images of a recording, on the clock of its events."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from mambaseg_core.pictures import read_image


class RecordedImages(Protocol):
    """Images of a recording.

    Attributes:
        times_ns: int64 [N], time of each image on the events' clock, nanoseconds, not decreasing.
    """

    times_ns: npt.NDArray[np.int64]

    def image(self, index: int) -> npt.NDArray[np.uint8]:
        """Return an image, RGB uint8 [H, W, 3] or gray uint8 [H, W].

        Raises:
            EventFileError: it cannot be read.
        """


class HeldImages:
    """`RecordedImages` in memory.

    Args:
        images: (time in nanoseconds, picture) of each; sorted by time here.
    """

    def __init__(self, images: list[tuple[int, npt.NDArray[np.uint8]]]) -> None:
        self._images = sorted(images, key=lambda image: image[0])
        self.times_ns = np.array([stamp_ns for stamp_ns, _ in self._images], np.int64)

    def image(self, index: int) -> npt.NDArray[np.uint8]:
        """Return an image, RGB uint8 [H, W, 3] or gray uint8 [H, W]."""
        return self._images[index][1]


class PictureFiles:
    """`RecordedImages` in files.

    Args:
        times_ns: time of each picture, nanoseconds.
        paths: the files.

    Raises:
        ValueError: there is no picture, or times and pictures are not as many.
    """

    def __init__(self, times_ns: npt.NDArray[np.int64], paths: Sequence[Path]) -> None:
        if not paths or len(times_ns) != len(paths):
            raise ValueError(
                f"{paths[0].parent if paths else 'the folder'} has {len(paths)} pictures and {len(times_ns)} times; "
                "expected as many, and one or more: export them again"
            )
        self.times_ns = times_ns
        self._paths = paths

    def image(self, index: int) -> npt.NDArray[np.uint8]:
        """Return an image, RGB uint8 [H, W, 3] or grey uint8 [H, W]."""
        return read_image(self._paths[index])
