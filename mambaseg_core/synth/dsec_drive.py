"""`mambaseg synth`: a synthetic drive with exact labels, written in DSEC's layout.

    <root>/<name>/calibration/cam_to_cam.yaml
                  events/left/events.h5, rectify_map.h5
                  images/left/rectified/%06d.png, images/timestamps.txt
                  semantic/11classes/data/%06d.png, semantic/timestamps.txt
                  sequence.yaml: the condition and how the sequence was made

Of DSEC-Semantic's four published layouts this is the one that the released training code reads.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import cv2
import h5py
import numpy as np
import yaml

from mambaseg_core.cameras import cam_to_cam
from mambaseg_core.cameras.calibration import Calibration
from mambaseg_core.cameras.camera import Camera
from mambaseg_core.data.dsec import DESCRIPTION
from mambaseg_core.files import atomic_path, write_bytes, write_text
from mambaseg_core.png import write_png
from mambaseg_core.recordings.dsec import blosc_zstd
from mambaseg_core.recordings.dsec_writer import new_dsec
from mambaseg_core.synth.conditions import Conditions, draw_conditions
from mambaseg_core.synth.event_camera import SENSOR, EventSimulator
from mambaseg_core.synth.frame_camera import FrameCamera
from mambaseg_core.synth.pinhole import PinholeView, rotation
from mambaseg_core.synth.render import Renderer
from mambaseg_core.synth.scene import Scene, build_scene
from mambaseg_core.synth.textures import Plane

Size = tuple[int, int]
Progress = Callable[[int, int], None]

VERSION: Final = 2
"""Of the generator: the same settings give the same sequence."""

T_OFFSET_US: Final = 51_648_207_113
"""The clock's reading at the sequence's zero, microseconds."""

_STEP_US: Final = 5000  # between the frames from which events are made
_LEAD_US: Final = 137  # images are never at whole milliseconds, as in real recordings
_MAX_SECONDS: Final = 600.0
_SIZES: Final = (48, 4096)
JITTER_PX: Final = ((-0.25, -0.25), (0.25, 0.25), (0.25, -0.25), (-0.25, 0.25))  # against aliasing


@dataclass(frozen=True)
class SequenceSummary:
    """What `write_sequence` wrote.

    Attributes:
        path: folder of the sequence.
        images: number of images.
        events: number of events.
        labels: number of label pictures.
        seconds: length of the event stream.
    """

    path: Path
    images: int
    events: int
    labels: int
    seconds: float


@dataclass(frozen=True)
class DriveSettings:
    """All that a sequence is a function of; its meaning is that of `write_sequence`'s arguments."""

    condition: str
    seconds: float
    fps: float
    seed: int
    image_size: Size
    event_size: Size

    def description(self) -> dict[str, Any]:
        """The content of `sequence.yaml`."""
        sizes = {"image_size": list(self.image_size), "event_size": list(self.event_size)}
        return {**asdict(self), **sizes, "made_by": f"mambaseg synth {VERSION}"}


def write_sequence(
    root: str | Path,
    *,
    name: str = "synthetic_00_a",
    condition: str = "day",
    seconds: float = 2.0,
    fps: float = 20.0,
    seed: int = 0,
    image_size: Size = (540, 720),
    event_size: Size = (480, 640),
    progress: Progress | None = None,
) -> SequenceSummary:
    """Render a drive through a street and write it as `<root>/<name>`, which appears when it is complete.

    Args:
        root: folder for the sequence; made if missing.
        name: name of the sequence.
        condition: "day", "night", "glare" or "fast" (`conditions.CONDITIONS`).
        seconds: length; the first image comes 1 / fps after the first events.
        fps: images (and labels) per second.
        seed: the same seed gives the same sequence.
        image_size: (height, width) of the images, pixels.
        event_size: (height, width) of the event camera, pixels; labels have 11/12 of its rows, as
            DSEC-Semantic's.
        progress: called with steps done and steps in all.

    Raises:
        ValueError: an argument is out of range, or the sequence exists already.
        WriteError: the sequence cannot be written.
    """
    check_settings(name, seconds, fps, image_size, event_size)
    target = Path(root) / name
    if target.exists():
        raise ValueError(f"{target} exists already, expected a new folder; remove it or choose another name")
    target.parent.mkdir(parents=True, exist_ok=True)
    settings = DriveSettings(condition, seconds, fps, seed, image_size, event_size)
    with atomic_path(target) as folder:
        summary = _Drive(folder, settings, progress or (lambda done, total: None)).write()
    return replace(summary, path=target)


def make_calibration(image_size: Size, event_size: Size) -> Calibration:
    """The synthetic rig: one optical centre, two views slightly turned, a distorted event camera.

    Args:
        image_size: (height, width) of the rectified frame camera, pixels.
        event_size: (height, width) of the event camera, pixels.
    """
    (he, we), (hi, wi) = event_size, image_size
    t_10 = np.eye(4)
    t_10[:3, :3] = rotation(-0.004, 0.021, -0.009)
    return Calibration(
        event_raw=Camera(0.87 * we, 0.87 * we, 0.525 * we, 0.455 * he, he, we, (-0.1, 0.18, -0.0004, 0.0002)),
        event=Camera(0.90 * we, 0.90 * we, 0.515 * we, 0.470 * he, he, we),
        image=Camera(0.80 * wi, 0.80 * wi, 0.502 * wi, 0.520 * hi, hi, wi),
        R_rect0=rotation(0.0013, 0.0091, -0.0031),
        R_rect1=rotation(-0.0034, -0.0122, 0.0133),
        T_10=t_10,
    )


def image_view(calibration: Calibration, *, shift_px: tuple[float, float] = (0.0, 0.0)) -> PinholeView:
    """The frame camera, which looks straight ahead; seen at pixels' middles plus a shift (x, y)."""
    matrix = calibration.image.matrix()
    matrix[:2, 2] -= shift_px
    return PinholeView(matrix, np.eye(3), calibration.image_size)


def event_view(calibration: Calibration, *, margin: int = 0) -> PinholeView:
    """The rectified event camera, with a margin of pixels on every side."""
    matrix = calibration.event.matrix()
    matrix[:2, 2] += margin
    height, width = calibration.event_size
    return PinholeView(matrix, calibration.rotation.T, (height + 2 * margin, width + 2 * margin))


class RawEventCamera:
    """What the event camera's pixels see: the rectified view drawn wide enough and distorted.

    The forward map from raw to rectified pixels says just where to sample the rectified view for each raw
    pixel.
    """

    def __init__(self, scene: Scene, calibration: Calibration, conditions: Conditions) -> None:
        rectified = calibration.rectify_map()
        limits = np.asarray(calibration.event_size[::-1], np.float32) - 1
        margin = int(np.ceil(max(-rectified.min(), (rectified - limits).max(), 0))) + 2
        self._columns, self._rows = np.ascontiguousarray(np.moveaxis(rectified + np.float32(margin), -1, 0))
        view = event_view(calibration, margin=margin)
        self._motion = conditions.motion
        self._renderer = Renderer(scene.quads, scene.ground, view, gray=True, light=conditions.light)

    def intensity(self, seconds: float) -> Plane:
        """Float32 [H, W], 1 being a white wall by day, at a time of the drive."""
        rectified = self._renderer.render(self._motion.pose(seconds), seconds).color
        return np.asarray(cv2.remap(rectified, self._columns, self._rows, cv2.INTER_LINEAR), np.float32)


class _Drive:
    """Writes one sequence into a folder."""

    def __init__(self, folder: Path, settings: DriveSettings, progress: Progress) -> None:
        seeds = np.random.SeedSequence(settings.seed).spawn(4)
        conditions_rng, scene_rng, self._image_rng, self._event_rng = map(np.random.default_rng, seeds)
        seconds, fps = settings.seconds, settings.fps
        self._folder = folder
        self._settings = settings
        self._conditions = draw_conditions(settings.condition, conditions_rng, seconds)
        self._scene = build_scene(scene_rng, seconds, self._conditions)
        self._calibration = make_calibration(settings.image_size, settings.event_size)
        self._end_us = round(seconds * 1e6)
        self._image_times_us = [round((i + 1) * 1e6 / fps) - _LEAD_US for i in range(int(seconds * fps + 1e-6))]
        self._steps = -(-self._end_us // _STEP_US)
        self._done = 0
        self._progress = progress

    def write(self) -> SequenceSummary:
        for part in ("calibration", "events/left", "images/left/rectified", "semantic/11classes/data"):
            (self._folder / part).mkdir(parents=True)
        cam_to_cam.write(self._folder / "calibration" / "cam_to_cam.yaml", self._calibration)
        rectify_map = io.BytesIO()
        with h5py.File(rectify_map, "w") as file:
            file.create_dataset("rectify_map", data=self._calibration.rectify_map(), **blosc_zstd())
        write_bytes(self._folder / "events/left/rectify_map.h5", rectify_map.getvalue())
        self._write_images()
        self._write_labels()
        description = yaml.safe_dump(self._settings.description(), sort_keys=False)
        write_text(self._folder / DESCRIPTION, description)
        times = "".join(f"{t + T_OFFSET_US}\n" for t in self._image_times_us)
        for part in ("images", "semantic"):
            write_text(self._folder / part / "timestamps.txt", times)
        events = self._write_events()
        count = len(self._image_times_us)
        return SequenceSummary(self._folder, count, events, count, self._end_us * 1e-6)

    def _advance(self) -> None:
        self._done += 1
        self._progress(self._done, 2 * len(self._image_times_us) + self._steps)

    def _write_images(self) -> None:
        renderers = [self._renderer(image_view(self._calibration, shift_px=shift)) for shift in JITTER_PX]

        def radiance(seconds: float, sample: int) -> Plane:
            return renderers[sample % len(renderers)].render(self._conditions.motion.pose(seconds), seconds).color

        camera = FrameCamera(radiance, self._image_rng)
        for index, t_us in enumerate(self._image_times_us):
            picture = camera.take(t_us * 1e-6)
            write_png(self._folder / f"images/left/rectified/{index:06d}.png", picture)
            self._advance()

    def _write_labels(self) -> None:
        renderer = self._renderer(event_view(self._calibration), gray=True)
        rows = label_rows(self._calibration.event_size[0])
        for index, t_us in enumerate(self._image_times_us):
            labels = renderer.render(self._conditions.motion.pose(t_us * 1e-6), t_us * 1e-6).labels
            write_png(self._folder / f"semantic/11classes/data/{index:06d}.png", labels[:rows])
            self._advance()

    def _write_events(self) -> int:
        camera = RawEventCamera(self._scene, self._calibration, self._conditions)
        simulator = EventSimulator(camera.intensity(0.0), 0, rng=self._event_rng, model=SENSOR)
        with new_dsec(self._folder / "events/left/events.h5", T_OFFSET_US) as writer:
            for step in range(self._steps):
                t_us = min((step + 1) * _STEP_US, self._end_us)
                writer.write(simulator.step(camera.intensity(t_us * 1e-6), t_us))
                self._advance()
        return writer.count

    def _renderer(self, view: PinholeView, *, gray: bool = False) -> Renderer:
        return Renderer(self._scene.quads, self._scene.ground, view, gray=gray, light=self._conditions.light)


def label_rows(height: int) -> int:
    """Rows of the rectified event view that DSEC-Semantic's labels keep: 440 of 480."""
    return height - round(40 * height / 480)


def check_settings(name: str, seconds: float, fps: float, image_size: Size, event_size: Size) -> None:
    """Raise ValueError for settings of a drive that cannot be."""
    if not name or name.startswith(".") or Path(name).name != name:
        raise ValueError(
            f"name is {name!r}, expected one folder name without a leading dot; give root for the path before it"
        )
    if not (0 < seconds <= _MAX_SECONDS and fps > 0 and int(seconds * fps + 1e-6) >= 1):
        raise ValueError(
            f"got seconds={seconds} and fps={fps}, expected at least one image in at most {_MAX_SECONDS:g} "
            f"s; "
            f"raise seconds or fps"
        )
    for what, size in (("image_size", image_size), ("event_size", event_size)):
        if not all(_SIZES[0] <= length <= _SIZES[1] for length in size):
            raise ValueError(f"{what} is {size}, expected (height, width) of {_SIZES[0]} to {_SIZES[1]} pixels each")
