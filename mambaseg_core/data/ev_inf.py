"""DSEC's images in the event view, `images/left/ev_inf`, which the data set does not ship."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mambaseg_core.data.dsec import DsecSequence
from mambaseg_core.pictures import write_png

FOLDER: Final = "images/left/ev_inf"


@dataclass(frozen=True)
class EvInfSummary:
    """Numbers of images written and of images that existed, and their folder."""

    written: int
    kept: int
    folder: Path


def write_ev_inf(
    sequence: DsecSequence, progress: Callable[[int, int], None] = lambda done, total: None
) -> EvInfSummary:
    """Warp every rectified left image into the rectified event view: a rotation, exact for far points.

    Existing images are kept, so an interrupted run resumes.

    Args:
        sequence: one with `cam_to_cam.yaml`.
        progress: called with images done and images in all.

    Raises:
        ValueError: the sequence has no calibration, or an image is damaged.
        OSError: an image cannot be written.
    """
    calibration = None if sequence.calibration_path is None else sequence.calibration
    if calibration is None:
        raise ValueError(
            f"sequence {sequence.root} has no calibration, expected calibration/cam_to_cam.yaml; "
            f"unpack the sequence's calibration into its folder"
        )
    folder = sequence.root / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    written = 0
    for index, source in enumerate(sequence.image_paths):
        target = folder / source.name
        if not target.exists():
            write_png(target, calibration.warp_image(sequence.image(index)))
            written += 1
        progress(index + 1, len(sequence))
    return EvInfSummary(written, len(sequence) - written, folder)
