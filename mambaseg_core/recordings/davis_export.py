"""DAVIS recordings exported to files: `events_txyp.npy` (t in us), `frames.txt` (`file time_us ...`), PNG frames."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import numpy as np

from mambaseg_core.recordings.images import PictureFiles
from mambaseg_core.recordings.reader import EventReader
from mambaseg_core.recordings.tables.array_table import open_array_table

EVENTS: Final = "events_txyp.npy"
FRAMES: Final = "frames.txt"


def is_davis_export(root: Path) -> bool:
    """Return whether a folder holds events and frames of a DAVIS export."""
    return (root / EVENTS).is_file() and (root / FRAMES).is_file()


def open_davis_export(root: Path) -> tuple[EventReader, PictureFiles]:
    """Open the events and the frames of a DAVIS export.

    Args:
        root: the folder.

    Raises:
        ValueError: a file is missing or has another layout.
    """
    lines = [line for line in (root / FRAMES).read_text().splitlines() if line and not line.startswith("#")]
    rows = [re.match(r"(\S+) (\d+)", line) for line in lines]
    if not rows or None in rows:
        wrong = lines[rows.index(None)] if rows else "nothing"
        raise ValueError(f"{root / FRAMES} holds {wrong!r}; expected lines 'file time_us ...': export it again")
    times_ns = np.array([int(row[2]) * 1000 for row in rows if row], np.int64)
    if (np.diff(times_ns) < 0).any():
        raise ValueError(f"the times in {root / FRAMES} run backwards; expected rising microseconds: sort it")
    images = PictureFiles(times_ns, [root / row[1] for row in rows if row])
    height, width = images.image(0).shape[:2]
    return open_array_table(root / EVENTS, (height, width), "us", "txyp"), images
