"""`mambaseg synth --second thermal|depth`: pairs of registered images with exact labels, in MFNet's layout.

    <root>/RGB/<part>_<condition>_<drive>_<image>.png
           Modal/                    thermal: 8 bits with automatic gain; depth: 16 bits, millimeters, 0 = none
           Label/                    ids of the 11 classes of DSEC-Semantic
           train.txt, test.txt       and train_<condition>.txt, test_<condition>.txt
           drives/<part>_<condition>_<drive>.yaml      settings of the drive; written last

The same seed draws the same street as in `write_sequence`, here seen by a frame camera and a second camera in one
place.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import yaml

from mambaseg_core.files import write_text
from mambaseg_core.pictures import write_png
from mambaseg_core.synth.benchmark_set import PER_CONDITION, SEEDS, SEQUENCES, SIZE
from mambaseg_core.synth.conditions import CONDITIONS, draw_conditions
from mambaseg_core.synth.depth_camera import DepthCamera
from mambaseg_core.synth.dsec_drive import check_settings
from mambaseg_core.synth.processes import Progress, in_processes
from mambaseg_core.synth.render import Renderer
from mambaseg_core.synth.rig import Size, frame_camera, image_view, jittered_views, make_calibration
from mambaseg_core.synth.scene import build_scene
from mambaseg_core.synth.thermal_camera import ThermalCamera

CAMERAS: Final[dict[str, type[ThermalCamera] | type[DepthCamera]]] = {"thermal": ThermalCamera, "depth": DepthCamera}

SECONDS: Final = 1.0
FPS: Final = 4.0
VERSION: Final = 2
"""Version of this generator: with it, the same settings produce the same images."""

_FOLDERS: Final = ("RGB", "Modal", "Label")


@dataclass(frozen=True)
class PairSettings:
    """Everything that determines the images of a drive; the meanings are those of `write_pairs`' arguments."""

    second: str
    condition: str
    seconds: float
    fps: float
    seed: int
    size: Size

    @property
    def times_s(self) -> list[float]:
        """Times of the images."""
        return [(number + 1) / self.fps for number in range(int(self.seconds * self.fps + 1e-6))]

    def description(self) -> dict[str, Any]:
        """Return the content of the drive's file."""
        return {**asdict(self), "size": list(self.size), "made_by": f"mambaseg synth --second {VERSION}"}


@dataclass(frozen=True)
class PairDrive:
    """One drive of a data set."""

    root: Path
    part: str
    number: int
    settings: PairSettings

    @property
    def name(self) -> str:
        """Prefix of its images' names."""
        return f"{self.part}_{self.settings.condition}_{self.number:02d}"

    def image_names(self) -> list[str]:
        """Return the names of its images."""
        return [f"{self.name}_{index:04d}" for index in range(len(self.settings.times_s))]


def write_pairs(
    root: str | Path,
    second: str,
    *,
    conditions: Sequence[str] = tuple(CONDITIONS),
    sequences: Mapping[str, int] = SEQUENCES,
    seconds: float = SECONDS,
    fps: float = FPS,
    size: Size = SIZE,
    seed: int = 0,
    jobs: int = 1,
    progress: Progress | None = None,
) -> int:
    """Write a data set with the parts train and test; drives that an interrupted call finished are kept.

    Args:
        root: folder of the data set; created if missing.
        second: "thermal" or "depth".
        conditions: names in `conditions.CONDITIONS`.
        sequences: number of drives of each condition in "train" and in "test".
        seconds: length of a drive.
        fps: images per second.
        size: (height, width) of both cameras, pixels.
        seed: another seed draws other streets.
        jobs: number of processes.
        progress: called with drives done and drives in all.

    Returns:
        The number of labeled pairs.

    Raises:
        ValueError: an argument is out of range, or the folder holds a drive with different settings.
    """
    if second not in CAMERAS:
        raise ValueError(f"second is {second!r}, expected one of {', '.join(CAMERAS)}; choose one of these")
    check_settings("drive", seconds, fps, seed, size, size)
    root = Path(root)
    drives = [
        PairDrive(root, part, number, PairSettings(second, condition, seconds, fps, drive_seed, size))
        for part, condition, number, drive_seed in _plan(conditions, sequences, seed)
    ]
    missing = [drive for drive in drives if not _is_written(drive)]
    for folder in (*_FOLDERS, "drives"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    in_processes(write_drive, missing, jobs=jobs, before=len(drives) - len(missing), progress=progress)
    for part in sequences:
        of_part = [drive for drive in drives if drive.part == part]
        _write_list(root / f"{part}.txt", of_part)
        for condition in conditions:
            _write_list(root / f"{part}_{condition}.txt", [d for d in of_part if d.settings.condition == condition])
    return sum(len(drive.image_names()) for drive in drives)


def write_drive(drive: PairDrive) -> None:
    """Render the images of one drive."""
    cv2.setNumThreads(1)
    settings = drive.settings
    seeds = np.random.SeedSequence(settings.seed).spawn(4)
    conditions_rng, scene_rng, image_rng, second_rng = map(np.random.default_rng, seeds)
    conditions = draw_conditions(settings.condition, conditions_rng, settings.seconds)
    scene = build_scene(scene_rng, settings.seconds, conditions)
    calibration = make_calibration(settings.size, settings.size, conditions.motion.focal)
    camera = frame_camera(scene, calibration, conditions, image_rng)
    second = CAMERAS[settings.second](scene, jittered_views(calibration), conditions, second_rng)
    labels = Renderer(scene.quads, scene.ground, image_view(calibration), gray=True)
    for name, seconds in zip(drive.image_names(), settings.times_s, strict=True):
        frame = labels.render(conditions.motion.pose(seconds), seconds)
        images = camera.take(seconds), second.take(seconds), frame.labels
        for folder, image in zip(_FOLDERS, images, strict=True):
            write_png(drive.root / folder / f"{name}.png", image)
    write_text(_description(drive), yaml.safe_dump(settings.description(), sort_keys=False))


def _plan(conditions: Sequence[str], sequences: Mapping[str, int], seed: int) -> Iterator[tuple[str, str, int, int]]:
    """Yield part, condition, number and seed of each drive; seed 0 draws the seeds of `mambaseg synth --benchmark`."""
    places = list(CONDITIONS)
    for condition in conditions:
        if condition not in places:
            raise ValueError(f"condition is {condition!r}, expected one of {', '.join(places)}; choose one of these")
        for part, count in sequences.items():
            for number in range(count):
                drawn = SEEDS[part] + places.index(condition) * PER_CONDITION + number
                yield part, condition, number, drawn + 100_000 * seed


def _description(drive: PairDrive) -> Path:
    return drive.root / "drives" / f"{drive.name}.yaml"


def _is_written(drive: PairDrive) -> bool:
    path = _description(drive)
    if not path.is_file():
        return False
    found = yaml.safe_load(path.read_text(encoding="utf-8"))
    if found != drive.settings.description():
        raise ValueError(
            f"{path} holds {found}, expected {drive.settings.description()}; remove the data set or choose another "
            "folder"
        )
    return True


def _write_list(path: Path, drives: Sequence[PairDrive]) -> None:
    write_text(path, "".join(f"{name}\n" for drive in drives for name in drive.image_names()))
