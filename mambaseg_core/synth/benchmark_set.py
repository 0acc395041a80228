"""`mambaseg synth --benchmark`: one fixed train and test split of many short synthetic drives, all conditions in both.

    <root>/splits.yaml
           train/<condition>_<number>/, test/<condition>_<number>/   as `dsec_drive.write_sequence` writes them

Every sequence has its own seed, hence its own street, vehicle and noise; none is in both parts. The event
camera is that of one sensor and the other in turn.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import yaml

from mambaseg_core.data.dsec import DESCRIPTION
from mambaseg_core.files import write_text
from mambaseg_core.synth.conditions import CONDITIONS
from mambaseg_core.synth.dsec_drive import DriveSettings, write_sequence
from mambaseg_core.synth.event_model import SENSORS
from mambaseg_core.synth.processes import Progress, in_processes
from mambaseg_core.synth.rig import Size

SEQUENCES: Final = {"train": 56, "test": 12}
"""Number of sequences of each condition."""

SECONDS: Final = 0.35
FPS: Final = 30.0
FIRST_LABEL: Final = 3
"""The first label that is used: three older images, the oldest 100 ms old, come before it."""

LABEL_STEP: Final = 6
"""Every sixth label is used, 200 ms apart, which are two of each drive: many streets teach more than many moments."""

SIZE: Final = (240, 320)

SEEDS: Final = {"train": 10_000, "test": 20_000}  # first seed of each part
PER_CONDITION: Final = 1000


@dataclass(frozen=True)
class Drive:
    """One sequence of the benchmark."""

    folder: Path
    settings: DriveSettings


def write_benchmark(
    root: str | Path,
    *,
    jobs: int = 1,
    size: Size = SIZE,
    sequences: Mapping[str, int] = SEQUENCES,
    seconds: float = SECONDS,
    progress: Progress | None = None,
) -> int:
    """Write the benchmark; sequences that an interrupted call finished are kept.

    The published numbers are for the default size, sequences and seconds.

    Args:
        root: folder of the benchmark; created if missing.
        jobs: number of processes.
        size: (height, width) of both cameras, pixels.
        sequences: number of sequences of each condition in "train" and in "test".
        seconds: length of each sequence.
        progress: called with sequences done and sequences in all.

    Returns:
        The number of labeled images.

    Raises:
        ValueError: an argument is out of range, or the folder holds a sequence with different settings.
    """
    root = Path(root)
    drives = list(_drives(root, size, sequences, seconds))
    missing = [drive for drive in drives if not _is_written(drive)]
    in_processes(_write, missing, jobs=jobs, before=len(drives) - len(missing), progress=progress)
    splits: dict[str, list[str] | int] = {
        part: sorted(drive.folder.name for drive in drives if drive.folder.parent.name == part) for part in SEEDS
    }
    splits |= {"first_label": FIRST_LABEL, "label_step": LABEL_STEP}
    write_text(root / "splits.yaml", yaml.safe_dump(splits))
    return len(drives) * int(seconds * FPS + 1e-6)


def _drives(root: Path, size: Size, sequences: Mapping[str, int], seconds: float) -> Iterator[Drive]:
    sensors = tuple(SENSORS)
    for part, first in SEEDS.items():
        for number in range(sequences[part]):
            for place, condition in enumerate(CONDITIONS):
                seed = first + place * PER_CONDITION + number
                settings = DriveSettings(condition, seconds, FPS, seed, size, size, sensors[number % len(sensors)])
                yield Drive(root / part / f"{condition}_{number:02d}", settings)


def _is_written(drive: Drive) -> bool:
    path = drive.folder / DESCRIPTION
    if not drive.folder.exists():
        return False
    found = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else None
    if found != drive.settings.description():
        raise ValueError(
            f"{drive.folder} holds {found}, expected {drive.settings.description()}; remove it or choose another folder"
        )
    return True


def _write(drive: Drive) -> None:
    cv2.setNumThreads(1)
    settings = drive.settings
    write_sequence(
        drive.folder.parent,
        name=drive.folder.name,
        condition=settings.condition,
        seconds=settings.seconds,
        fps=settings.fps,
        seed=settings.seed,
        image_size=settings.image_size,
        event_size=settings.event_size,
        sensor=settings.sensor,
    )
