"""A model's masks of a whole recorded sequence, as PNG files and a video."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from mambaseg_core.data.ddd17 import Ddd17Sequence
from mambaseg_core.data.dsec import DsecSequence
from mambaseg_core.data.labelled_sequence import LabelledSequence, check_views
from mambaseg_core.data.picture_folder import PictureFolder, is_picture_folder
from mambaseg_core.data.rgbx import PairFolder
from mambaseg_core.evaluation.regions import image_picture
from mambaseg_core.events import Events
from mambaseg_core.files import write_text
from mambaseg_core.inference import Segmenter
from mambaseg_core.pictures import list_pictures, new_film, read_image, with_legend, write_png
from mambaseg_core.preprocessing import Preprocessing, Reading
from mambaseg_core.recordings.bag import is_bag
from mambaseg_core.recordings.hdf5.dsec_sequence import EVENTS

Recording: TypeAlias = LabelledSequence | PairFolder | PictureFolder


@dataclass(frozen=True)
class PredictionSummary:
    """Result of `predict_sequence`.

    Attributes:
        written: masks written by this call.
        kept: masks that existed before.
        video: path of the video of all overlays.
    """

    written: int
    kept: int
    video: Path


def open_recording(path: Path, second: str = "events", *, registered: bool = False) -> tuple[Recording, list[int]]:
    """Open a sequence in DSEC's or DDD17's layout, or a folder of pairs or of pictures, and number its images.

    Args:
        path: folder of the sequence.
        second: "events"; or "thermal" or "depth" for a folder of pairs as in `data.rgbx`, sorted by name. A folder of
            plain pictures, or with such a folder `images`, is taken for a model with events too.
        registered: as of `DsecSequence`.

    Raises:
        ValueError: the folder has another layout or is incomplete, or images and events do not belong together
            (`check_views`). For a bag, the message names the commands to use.
    """
    if path.exists() and is_bag(path):
        raise ValueError(
            f"{path} is a ROS bag, expected a sequence's folder; make its masks with `mambaseg bag segment BAG MASKS "
            "--weights CHECKPOINT`, then overlays and a film with `mambaseg bag pictures BAG MASKS OUT`"
        )
    if path.is_file():
        raise ValueError(
            f"{path} is a file, expected a sequence's folder; make a bag of it with `mambaseg bag convert FILE BAG`, "
            "then its masks with `mambaseg bag segment BAG MASKS --weights CHECKPOINT`"
        )
    if second != "events":
        if not path.is_dir():
            raise ValueError(f"{path} is no folder, expected one with RGB/ and a folder of {second} images: check it")
        pairs = PairFolder(path, second)
        return pairs, list(range(len(pairs.names)))
    if (path / "events.dat.t").is_file():
        davis = Ddd17Sequence(path)
        check_views(davis)
        return davis, [number for number, image in enumerate(davis.image_paths) if image is not None]
    has_events = any((path / place).exists() for place in EVENTS)  # a picture beside them is no data set
    if path.is_dir() and not has_events and (is_picture_folder(path) or list_pictures(path)):
        pictures = PictureFolder(path)
        return pictures, list(range(len(pictures.names)))
    dsec = DsecSequence(path, registered=registered)
    check_views(dsec)
    return dsec, list(range(len(dsec)))


def predict_sequence(
    segmenter: Segmenter,
    recording: Recording,
    numbers: Sequence[int],
    out: Path,
    *,
    about: dict[str, str],
    fps: float = 20.0,
    progress: Callable[[int, int], None] | None = None,
) -> PredictionSummary:
    """Segment every image. Files of an earlier call are kept, so an interrupted call can be repeated to continue.

    Writes `masks/%06d.png` (class ids) and `overlays/%06d.png`, both in the model's view, and `overlay.mp4`. A legend
    of the classes stands below each overlay.

    Args:
        segmenter: segmenter with the recording's calibration.
        recording: recording in any layout.
        numbers: numbers of its images.
        out: output folder; created if missing.
        about: model and data of the masks; a folder with masks of other ones is refused.
        fps: frames per second of the video.
        progress: called with the number of images done and of all images.

    Raises:
        ValueError: the folder holds masks of another model or other data.
        OSError: an image or the video cannot be written.
    """
    _claim(out, about)
    folders = out / "masks", out / "overlays"
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    written = 0
    for done, number in enumerate(numbers, 1):
        mask, overlay = (folder / f"{number:06d}.png" for folder in folders)
        if not (mask.is_file() and overlay.is_file()):
            _segment(segmenter, recording, number, mask, overlay)
            written += 1
        if progress:
            progress(done, len(numbers))
    video = out / "overlay.mp4"
    if written or not video.is_file():
        with new_film(video, fps) as film:
            for number in numbers:
                film.write(read_image(folders[1] / f"{number:06d}.png"))
    return PredictionSummary(written, len(numbers) - written, video)


def _claim(out: Path, about: dict[str, str]) -> None:
    """Record the model and data of a folder; raise ValueError if it has masks of other ones."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / "prediction.json"
    before = json.loads(path.read_text()) if path.is_file() else about
    for name, value in about.items():
        if before.get(name) != value:
            raise ValueError(
                f"{out} holds masks whose {name} is {before.get(name)!r}, but now it is {value!r}; expected the same: "
                "choose another folder"
            )
    write_text(path, json.dumps(about, indent=1) + "\n")


def second_input(
    recording: Recording, number: int, setup: Preprocessing
) -> tuple[Events | Reading | None, npt.NDArray[np.int64] | None]:
    """Return the second input of an image, and the window's edges if it is events; None for plain pictures."""
    if isinstance(recording, PictureFolder):
        return None, None
    if isinstance(recording, PairFolder):
        return recording.second(number, setup), None
    stamp_ns = int(recording.image_times_ns[number])
    events = recording.window(stamp_ns, setup.window, setup.bins)
    return events, setup.window.edges_ns(events, stamp_ns, bins=setup.bins, mode=setup.voxel_mode)


def _segment(segmenter: Segmenter, recording: Recording, number: int, mask_path: Path, overlay_path: Path) -> None:
    setup = segmenter.preprocessing
    image = recording.image(number)
    ids = segmenter.segment(image, *second_input(recording, number, setup)).ids
    seen = image if recording.calibration is None else recording.calibration.warp_image(image)
    write_png(mask_path, ids)
    overlay = setup.label_set.overlay(image_picture(setup.image_tensor(seen)), ids)
    write_png(overlay_path, with_legend(overlay, setup.label_set.legend))
