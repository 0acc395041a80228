"""Places of events and calibration in a DSEC sequence's folder, and the event sensor's size."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import yaml

from mambaseg_core.recordings.errors import EventFileError
from mambaseg_core.recordings.hdf5.dsec import SENSOR_SIZE

EVENTS: Final = ("events/left/events.h5", "events.h5")
"""Places of the events, tried in this order."""
CALIBRATION: Final = ("calibration/cam_to_cam.yaml", "cam_to_cam.yaml")
"""Places of the calibration, tried in this order."""


def find_events(folder: Path) -> Path | None:
    """Return the event file of a sequence's folder; None if it is no such folder."""
    return next((folder / place for place in EVENTS if (folder / place).exists()), None)


def sensor_size(path: Path) -> tuple[int, int]:
    """Return (height, width) of the event sensor: the calibration's beside the events, else DSEC's.

    Args:
        path: a sequence's folder, or the `events.h5` in one.

    Raises:
        EventFileError: the calibration has no such size.
    """
    above = path.absolute().parents
    in_sequence = above[2:3] if above[1:] and above[1].name == "events" else ()
    folders = [path] if path.is_dir() else [above[0], *in_sequence]
    file = next((folder / place for folder in folders for place in CALIBRATION if (folder / place).is_file()), None)
    if file is None:
        return SENSOR_SIZE
    try:
        width, height = yaml.safe_load(file.read_text(encoding="utf-8"))["intrinsics"]["cam0"]["resolution"]
        if isinstance(width, int) and isinstance(height, int) and min(width, height) > 0:
            return height, width
        reason = f"it is {[width, height]}"
    except (OSError, UnicodeDecodeError, yaml.YAMLError, LookupError, TypeError, ValueError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
    raise EventFileError(
        f"calibration {file} has no intrinsics/cam0/resolution ({reason}), expected [width, height] of the event "
        f"sensor; use the file as DSEC publishes it"
    )
