"""A model's masks of a whole recorded sequence, as PNG files and a video."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from mambaseg_core.cameras.calibration import Calibration
from mambaseg_core.data.ddd17 import Ddd17Sequence
from mambaseg_core.data.dsec import DsecSequence
from mambaseg_core.data.labelled_sequence import LabelledSequence, check_views
from mambaseg_core.data.picture_folder import PictureFolder, is_picture_folder
from mambaseg_core.data.recorded_sequence import OpenBag, RecordedSequence, open_recorded_file
from mambaseg_core.data.rgbx import PairFolder
from mambaseg_core.evaluation.regions import image_picture
from mambaseg_core.events import Events
from mambaseg_core.files import write_text
from mambaseg_core.inference import Mask, Segmenter
from mambaseg_core.pictures import Picture, list_pictures, new_film, read_image, with_legend, write_png
from mambaseg_core.preprocessing import Preprocessing, Reading
from mambaseg_core.recordings.bag import is_bag
from mambaseg_core.recordings.davis_export import is_davis_export
from mambaseg_core.recordings.hdf5.dsec_sequence import EVENTS
from mambaseg_core.recordings.open import NO_SETTINGS, Settings

Recording: TypeAlias = LabelledSequence | RecordedSequence | PairFolder | PictureFolder


@dataclass(frozen=True)
class PredictionSummary:
    """Result of `predict_sequence`.

    Attributes:
        written: masks written by this call.
        kept: masks that existed before.
        without_events: of the written ones, how many had no event in their window, though the recording has events.
        video: path of the video of all overlays.
    """

    written: int
    kept: int
    video: Path
    without_events: int = 0


def is_recorded(path: Path) -> bool:
    """Return whether a path is a bag, a file or a DAVIS export, which hold no calibration."""
    return path.exists() and (is_bag(path) or path.is_file() or is_davis_export(path))


def open_recording(
    path: Path,
    second: str = "events",
    *,
    registered: bool = False,
    calibration: Calibration | None = None,
    settings: Settings = NO_SETTINGS,
    image_topic: str = "",
    open_bag: OpenBag | None = None,
) -> tuple[Recording, list[int]]:
    """Open any recording with images and events, or a folder of pairs or of pictures, and number its images.

    Args:
        path: folder of a sequence in DSEC's or DDD17's layout, a DAVIS export, a bag, or a file with events and images.
        second: "events"; or "thermal" or "depth" for a folder of pairs as in `data.rgbx`, sorted by name. A folder of
            plain pictures, or with such a folder `images`, is taken for a model with events too.
        registered: as of `DsecSequence` and `RecordedSequence`.
        calibration: of the cameras of a bag or file, which do not contain it.
        settings: what a bag or file does not contain; `topic` is that of the events.
        image_topic: topic or camera of the images of a bag or file; "": found by type.
        open_bag: opens bags; None: they are refused.

    Raises:
        ValueError: the folder has another layout or is incomplete, or images and events do not belong together
            (`check_views`, `RecordedSequence`).
    """
    if is_recorded(path) and second == "events":
        views: dict[str, Any] = {"calibration": calibration, "registered": registered}
        if is_bag(path):
            found = _open_bag(path, image_topic, settings.topic or "", views, open_bag)
        else:
            found = open_recorded_file(path, settings, image_topic, **views)
        return found, list(range(len(found)))
    if calibration is not None or settings != NO_SETTINGS or image_topic:
        raise ValueError(
            f"a calibration, a size or a topic is given for {path}, expected none for a folder that contains them: "
            "leave them out"
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


def _open_bag(
    path: Path, image_topic: str, events_topic: str, views: dict[str, Any], open_bag: OpenBag | None
) -> RecordedSequence:
    if open_bag is None:
        raise ValueError(
            f"{path} is a ROS bag, expected a sequence's folder or a file; use the command `mambaseg predict`, or give "
            "open_bag=mambaseg_ros.bag.bag_windows.open_bag_windows"
        )
    return RecordedSequence(path, *open_bag(path, image_topic, events_topic), **views)


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
    written = without_events = 0
    for done, number in enumerate(numbers, 1):
        mask, overlay = (folder / f"{number:06d}.png" for folder in folders)
        if not (mask.is_file() and overlay.is_file()):
            without_events += _segment(segmenter, recording, number, mask, overlay)
            written += 1
        if progress:
            progress(done, len(numbers))
    video = out / "overlay.mp4"
    if written or not video.is_file():
        with new_film(video, fps) as film:
            for number in numbers:
                film.write(read_image(folders[1] / f"{number:06d}.png"))
    return PredictionSummary(written, len(numbers) - written, video, without_events)


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


class SegmentedImage(NamedTuple):
    """A mask of a recorded image, and what it was made from.

    Attributes:
        mask: the mask, in the model's view.
        picture: uint8 RGB [H, W, 3], the image in that view.
        second: the second input; None for plain pictures.
    """

    mask: Mask
    picture: Picture
    second: Events | Reading | None


def segment_image(segmenter: Segmenter, recording: Recording, number: int, image: Picture) -> SegmentedImage:
    """Segment an image of a recording.

    Args:
        segmenter: segmenter with the recording's calibration.
        recording: sequence of `open_recording`.
        number: number of the image.
        image: `recording.image(number)`.

    Raises:
        ValueError: the recording is damaged, or not of the model's kind.
    """
    setup, calibration = segmenter.preprocessing, recording.calibration
    second, edges_ns = _second_input(recording, number, setup)
    mask = segmenter.segment(image, second, edges_ns)
    seen = image if calibration is None else calibration.warp_image(image)
    return SegmentedImage(mask, image_picture(setup.image_tensor(seen)), second)


def _second_input(
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


def _segment(segmenter: Segmenter, recording: Recording, number: int, mask_path: Path, overlay_path: Path) -> bool:
    """Write the mask and the overlay of an image; return whether its window has no event."""
    labels = segmenter.preprocessing.label_set
    mask, picture, second = segment_image(segmenter, recording, number, recording.image(number))
    write_png(mask_path, mask.ids)
    write_png(overlay_path, with_legend(labels.overlay(picture, mask.ids), labels.legend))
    return isinstance(second, Events) and not len(second)
