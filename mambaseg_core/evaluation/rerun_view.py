"""A recording, and a model's masks of it, for the viewer of Rerun (https://rerun.io): one time line, `.rrd` files.

The package `rerun-sdk` is optional. Entities: `camera/image` as recorded, `events/picture` (the events of the window
before each image), `model/image` and `model/mask` in the model's view with the names and colors of its classes,
`status/...` (times in ms, number of events), and `log`, which names what an image lacked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np

from mambaseg_core.data.picture_folder import PictureFolder
from mambaseg_core.data.rgbx import PairFolder
from mambaseg_core.evaluation.predict import Recording, segment_image
from mambaseg_core.events import Events, Window
from mambaseg_core.files import atomic_path
from mambaseg_core.inference import Segmenter
from mambaseg_core.labels import IGNORE, LabelSet
from mambaseg_core.pictures import Picture, event_picture, in_rgb

TIMELINE: Final = "recording"
SHOWN: Final = Window(duration_ns=40_000_000)
"""Events before an image that are drawn where no model says how many it takes."""

_JPEG_QUALITY: Final = 90
_FIRST_DATE_NS: Final = 10**18  # 2001; a clock that shows less began with its sensor
_OPACITY: Final = 0.5
_NO_CLASS: Final = (0, 0, 0, 0)


def import_rerun() -> Any:
    """Import Rerun.

    Raises:
        ValueError: it is not installed.
    """
    try:
        import rerun
    except ImportError as error:
        raise ValueError(
            f"the package rerun-sdk cannot be imported ({error}), expected it for views; run `pip install rerun-sdk`"
        ) from error
    return rerun


@contextmanager
def open_stream(name: str, out: Path | None) -> Iterator[Any]:
    """Open a stream of Rerun, into a file or a viewer that is started.

    Args:
        name: name of the recording.
        out: the `.rrd` file, which appears when it is complete; None: the viewer.

    Raises:
        ValueError: Rerun is not installed, its viewer cannot be started, or the file has another suffix.
        WriteError: the file cannot be written.
    """
    if out is not None and out.suffix.lower() != ".rrd":
        raise ValueError(f"view {out} ends in {out.suffix!r}, expected .rrd; choose another name")
    rerun = import_rerun()
    stream = rerun.RecordingStream("mambaseg")
    stream.set_log_time_enabled(False)  # of when it was written, which nobody asks
    stream.set_log_tick_enabled(False)
    stream.send_recording_name(name)
    if out is None:
        try:
            stream.spawn()
        except RuntimeError as error:
            raise ValueError(
                f"the viewer of Rerun cannot be started ({error}), expected a screen; write a file with --save VIEW.rrd"
            ) from error
        yield stream
        stream.flush()
        return
    with atomic_path(out) as part:
        stream.save(part)
        try:
            yield stream
        finally:
            stream.disconnect()  # completes the file


class RecordingView:
    """Logs the images of a recording, their events, and masks, to a stream of Rerun.

    Args:
        stream: of `open_stream`.
        recording: of `open_recording`.
        segmenter: makes the masks, with the recording's calibration; None: there are none.
    """

    def __init__(self, stream: Any, recording: Recording, segmenter: Segmenter | None = None) -> None:
        self._rerun = import_rerun()
        self._stream, self._recording, self._segmenter = stream, recording, segmenter
        stream.send_blueprint(_blueprint(self._rerun, masks=segmenter is not None))
        if segmenter is not None:
            context = class_context(segmenter.preprocessing.label_set)
            stream.log("model", self._rerun.AnnotationContext(context), static=True)

    def log(self, number: int) -> None:
        """Log an image with what belongs to it.

        Raises:
            ValueError: the recording is damaged.
        """
        recording = self._recording
        self._set_time(number)
        image = recording.image(number)
        self._image("camera/image", image)
        second = None if self._segmenter is None else self._log_mask(self._segmenter, image, number)
        if second is None and not isinstance(recording, PictureFolder | PairFolder):
            second = recording.window(int(recording.image_times_ns[number]), SHOWN, 1)
        if isinstance(second, Events):
            self._image("events/picture", event_picture(second.polarity_map()))
            self._stream.log("status/events", self._rerun.Scalars(len(second)))
            if not len(second):
                self._stream.log("log", self._rerun.TextLog("no events in the window before this image", level="WARN"))

    def _log_mask(self, segmenter: Segmenter, image: Picture, number: int) -> Any:
        """Log the mask of an image and the image in its view; return the second input."""
        mask, picture, second = segment_image(segmenter, self._recording, number, image)
        self._image("model/image", picture)
        self._stream.log("model/mask", self._rerun.SegmentationImage(mask.ids, opacity=_OPACITY))
        self._stream.log("status/prepare_ms", self._rerun.Scalars(mask.prepare_ms))
        self._stream.log("status/inference_ms", self._rerun.Scalars(mask.inference_ms))
        return second

    def _set_time(self, number: int) -> None:
        if isinstance(self._recording, PictureFolder | PairFolder):
            self._stream.set_time("image", sequence=number)
            return
        stamp_ns = int(self._recording.image_times_ns[number])
        if stamp_ns < _FIRST_DATE_NS:
            self._stream.set_time(TIMELINE, duration=np.timedelta64(stamp_ns, "ns"))
        else:
            self._stream.set_time(TIMELINE, timestamp=np.datetime64(stamp_ns, "ns"))

    def _image(self, entity: str, picture: Picture) -> None:
        self._stream.log(entity, self._rerun.Image(in_rgb(picture)).compress(jpeg_quality=_JPEG_QUALITY))


def write_view(
    recording: Recording,
    numbers: Sequence[int],
    out: Path | None,
    *,
    name: str,
    segmenter: Segmenter | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Write a recording into a `.rrd` file, or show it in the viewer.

    Args:
        recording: of `open_recording`.
        numbers: numbers of the images.
        out: as of `open_stream`.
        name: as of `open_stream`.
        segmenter: as of `RecordingView`.
        progress: called with the number of images done and of all images.

    Raises:
        ValueError: as of `open_stream`, or the recording is damaged.
        WriteError: the file cannot be written.
    """
    with open_stream(name, out) as stream:
        view = RecordingView(stream, recording, segmenter)
        for done, number in enumerate(numbers, 1):
            view.log(number)
            progress(done, len(numbers))


def class_context(labels: LabelSet) -> list[tuple[int, str, tuple[int, ...]]]:
    """Return (id, name, color) of each class and of no class, for an `AnnotationContext`."""
    classes = [(number, name, color) for number, (name, color) in enumerate(labels.legend)]
    return [*classes, (IGNORE, "no class", _NO_CLASS)]


def _blueprint(rerun: Any, *, masks: bool) -> Any:
    """Return the layout: pictures above, numbers and remarks below."""
    views = rerun.blueprint
    pictures = [views.Spatial2DView(origin=origin, name=origin) for origin in ("camera", "events")]
    if masks:
        pictures = [views.Spatial2DView(origin="model", name="masks"), *pictures]
    below = views.Horizontal(views.TimeSeriesView(origin="status"), views.TextLogView(origin="log"))
    return views.Blueprint(views.Vertical(views.Horizontal(*pictures), below, row_shares=[3, 1]), collapse_panels=True)
