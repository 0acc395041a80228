"""A folder of pictures with their times, for recordings of events alone."""

from __future__ import annotations

from pathlib import Path

from mambaseg_core.pictures import list_pictures
from mambaseg_core.recordings.image_times import UNITS, read_times
from mambaseg_core.recordings.images import PictureFiles

TIMES = "timestamps.txt"  # beside the pictures: one time a line


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
