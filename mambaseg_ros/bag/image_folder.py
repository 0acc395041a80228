"""A folder of pictures with their times, for recordings of events alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mambaseg_core.pictures import list_pictures, read_image
from mambaseg_core.recordings.image_times import UNITS, read_times

TIMES = "timestamps.txt"  # beside the pictures: one time a line


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


def open_image_folder(folder: Path, unit: str = "us") -> PictureFiles:
    """Open a folder of PNG or JPEG files, in the order of the lines of its `timestamps.txt`.

    Args:
        folder: the folder; numbers in the files' names count as numbers.
        unit: of the times: "s", "ms", "us" or "ns".

    Raises:
        ValueError: the folder or its `timestamps.txt` is missing, a line is no time, the times decrease, or they are
            not as many as the pictures.
    """
    if unit not in UNITS:
        raise ValueError(f"--images-unit is {unit!r}; expected one of {', '.join(UNITS)}")
    if not (folder / TIMES).is_file():
        found = sorted(entry.name for entry in folder.iterdir())[:5] if folder.is_dir() else "no such folder"
        raise ValueError(
            f"{folder} has no {TIMES} (found: {found}); expected one beside the pictures, with one time a line in "
            "microseconds or in the unit of --images-unit: write it"
        )
    remedy = "write the times so, or give their unit with --images-unit"
    return PictureFiles(read_times(folder / TIMES, unit, remedy), list_pictures(folder))
