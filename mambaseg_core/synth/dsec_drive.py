"""`mambaseg synth`: a synthetic drive with exact labels, written in DSEC's layout.

    <root>/<name>/calibration/cam_to_cam.yaml
                  events/left/events.h5, rectify_map.h5
                  images/left/rectified/%06d.png, images/timestamps.txt
                  semantic/11classes/data/%06d.png, semantic/timestamps.txt
                  sequence.yaml: the condition, the sensor and how the sequence was made

DSEC-Semantic has four published layouts; the released training code reads this one.
"""

from __future__ import annotations

import io
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
import yaml

from mambaseg_core.cameras import cam_to_cam
from mambaseg_core.data.dsec import DESCRIPTION
from mambaseg_core.files import atomic_path, write_bytes, write_text
from mambaseg_core.pictures import write_png
from mambaseg_core.recordings.hdf5.dsec import blosc_zstd
from mambaseg_core.recordings.hdf5.dsec_writer import new_dsec
from mambaseg_core.synth.conditions import draw_conditions
from mambaseg_core.synth.event_camera import EventSimulator
from mambaseg_core.synth.event_model import check_sensor, draw_sensor
from mambaseg_core.synth.processes import Progress
from mambaseg_core.synth.render import Renderer
from mambaseg_core.synth.rig import RawEventCamera, Size, event_view, frame_camera, make_calibration
from mambaseg_core.synth.scene import build_scene

VERSION: Final = 3
"""Version of the generator: with it, the same settings produce the same sequence."""

T_OFFSET_US: Final = 51_648_207_113
"""Time of the clock at the start of the sequence, microseconds."""

_STEP_US: Final = 5000  # between the frames that events are made from
_LEAD_US: Final = 137  # images are never at whole milliseconds, as in real recordings
_MAX_SECONDS: Final = 600.0
_MAX_FPS: Final = 1000.0
_SIZES: Final = (48, 4096)


@dataclass(frozen=True)
class SequenceSummary:
    """Summary of the sequence that `write_sequence` wrote.

    Attributes:
        path: folder of the sequence.
        images: number of images.
        events: number of events.
        labels: number of label images.
        seconds: length of the event stream.
    """

    path: Path
    images: int
    events: int
    labels: int
    seconds: float


@dataclass(frozen=True)
class DriveSettings:
    """Everything that determines a sequence; the meanings are those of `write_sequence`'s arguments."""

    condition: str
    seconds: float
    fps: float
    seed: int
    image_size: Size
    event_size: Size
    sensor: str = "gen3"

    def description(self) -> dict[str, Any]:
        """Return the content of `sequence.yaml`."""
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
    sensor: str = "gen3",
    progress: Progress | None = None,
) -> SequenceSummary:
    """Render a drive through a street and write it as `<root>/<name>`, which appears when it is complete.

    Args:
        root: folder for the sequence; created if missing.
        name: name of the sequence.
        condition: a name in `conditions.CONDITIONS`.
        seconds: length; the first image comes 1 / fps after the first events.
        fps: images (and labels) per second, at most 1000.
        seed: 0 or more; the same seed produces the same sequence.
        image_size: (height, width) of the images, pixels.
        event_size: (height, width) of the event camera, pixels; labels have its size too.
        sensor: the event camera, a name in `event_model.SENSORS`; the seed draws a specimen of it.
        progress: called with steps done and steps in all.

    Raises:
        ValueError: an argument is out of range, or the sequence exists already.
        WriteError: the sequence cannot be written.
    """
    check_settings(name, seconds, fps, seed, image_size, event_size)
    check_sensor(sensor)
    target = Path(root) / name
    if target.exists():
        raise ValueError(f"{target} exists already, expected a new folder; remove it or choose another name")
    target.parent.mkdir(parents=True, exist_ok=True)
    settings = DriveSettings(condition, seconds, fps, seed, image_size, event_size, sensor)
    with atomic_path(target) as folder:
        summary = _Drive(folder, settings, progress or (lambda done, total: None)).write()
    return replace(summary, path=target)


class _Drive:
    """Writes one sequence into a folder."""

    def __init__(self, folder: Path, settings: DriveSettings, progress: Progress) -> None:
        seeds = np.random.SeedSequence(settings.seed).spawn(5)
        conditions_rng, scene_rng, self._image_rng, self._event_rng, sensor_rng = map(np.random.default_rng, seeds)
        seconds, fps = settings.seconds, settings.fps
        self._folder = folder
        self._settings = settings
        self._conditions = draw_conditions(settings.condition, conditions_rng, seconds)
        self._scene = build_scene(scene_rng, seconds, self._conditions)
        self._sensor = draw_sensor(settings.sensor, sensor_rng)
        self._calibration = make_calibration(settings.image_size, settings.event_size, self._conditions.motion.focal)
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
        camera = frame_camera(self._scene, self._calibration, self._conditions, self._image_rng)
        for index, t_us in enumerate(self._image_times_us):
            image = camera.take(t_us * 1e-6)
            write_png(self._folder / f"images/left/rectified/{index:06d}.png", image)
            self._advance()

    def _write_labels(self) -> None:
        renderer = Renderer(self._scene.quads, self._scene.ground, event_view(self._calibration), gray=True)
        for index, t_us in enumerate(self._image_times_us):
            labels = renderer.render(self._conditions.motion.pose(t_us * 1e-6), t_us * 1e-6).labels
            write_png(self._folder / f"semantic/11classes/data/{index:06d}.png", labels)
            self._advance()

    def _write_events(self) -> int:
        camera = RawEventCamera(self._scene, self._calibration, self._conditions)
        simulator = EventSimulator(camera.intensity(0.0), 0, rng=self._event_rng, model=self._sensor)
        with new_dsec(self._folder / "events/left/events.h5", T_OFFSET_US) as writer:
            for step in range(self._steps):
                t_us = min((step + 1) * _STEP_US, self._end_us)
                writer.write(simulator.step(camera.intensity(t_us * 1e-6), t_us))
                self._advance()
        return writer.count


def check_settings(name: str, seconds: float, fps: float, seed: int, image_size: Size, event_size: Size) -> None:
    """Raise ValueError for impossible settings of a drive."""
    if not name or name.startswith(".") or Path(name).name != name:
        raise ValueError(
            f"name is {name!r}, expected one folder name without a leading dot; pass the folder above it as root"
        )
    if not 0 < fps <= _MAX_FPS:
        raise ValueError(f"fps is {fps}, expected above 0 and at most {_MAX_FPS:g} images a second; change it")
    if not (0 < seconds <= _MAX_SECONDS and int(seconds * fps + 1e-6) >= 1):
        raise ValueError(
            f"got seconds={seconds} and fps={fps}, expected at least one image in at most {_MAX_SECONDS:g} s; "
            f"raise seconds or fps"
        )
    if seed < 0:
        raise ValueError(f"seed is {seed}, expected 0 or a whole number above it; change it")
    for what, size in (("image_size", image_size), ("event_size", event_size)):
        if not all(_SIZES[0] <= length <= _SIZES[1] for length in size):
            raise ValueError(
                f"{what} is {size}, expected (height, width) of {_SIZES[0]} to {_SIZES[1]} pixels each; change it"
            )
