from __future__ import annotations

from pathlib import Path

import pytest

from mambaseg_core.data import DsecDataset
from mambaseg_core.models.presets import preset_preprocessing
from mambaseg_core.synth.benchmark_set import write_benchmark
from mambaseg_core.synth.conditions import CONDITIONS
from mambaseg_core.synth.processes import Progress

SETUP = preset_preprocessing("mambaseg_dsec", size=(44, 64), channels=3)


def write(root: Path, *, seconds: float = 0.14, jobs: int = 1, progress: Progress | None = None) -> int:
    return write_benchmark(
        root, size=(48, 64), sequences={"train": 1, "test": 1}, seconds=seconds, jobs=jobs, progress=progress
    )


def test_two_parts_of_all_conditions_that_share_no_scene(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    drives = 2 * len(CONDITIONS)
    assert write(tmp_path, progress=lambda done, total: calls.append((done, total))) == 4 * drives
    assert calls == [(done, drives) for done in range(drives + 1)]
    parts = [DsecDataset(tmp_path, split, SETUP) for split in ("train", "test")]
    for part in parts:
        assert sorted(part[number].condition for number in range(len(part))) == sorted(CONDITIONS)
        for recording, index in part.items:  # there are images 33, 66 and 100 ms older than each used label's
            older = recording.image_times_ns[index] - recording.image_times_ns[:index]
            assert older[-3:] == pytest.approx([100e6, 66.7e6, 33.3e6], abs=1e5)
    seeds = [path.read_text().split("seed: ")[1].split()[0] for path in tmp_path.rglob("sequence.yaml")]
    assert len(set(seeds)) == drives

    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.png")}
    write(tmp_path)  # all is there: nothing is written again
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.png")} == before
    with pytest.raises(ValueError, match=r"day_00 holds .*'seconds': 0\.14.*, expected .*'seconds': 0\.2"):
        write(tmp_path, seconds=0.2)


def test_the_sensors_take_turns(tmp_path: Path) -> None:
    write_benchmark(tmp_path, size=(48, 64), sequences={"train": 2, "test": 0}, seconds=0.1)
    sensors = [path.read_text().split("sensor: ")[1].split()[0] for path in sorted(tmp_path.glob("train/day*/*.yaml"))]
    assert sensors == ["davis346", "gen3"]


def test_no_processes(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="jobs is 0"):
        write(tmp_path, jobs=0)
