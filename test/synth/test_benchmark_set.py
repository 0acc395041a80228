from __future__ import annotations

from pathlib import Path

import pytest

from mambaseg_core.data import DsecDataset
from mambaseg_core.models.presets import preset_preprocessing
from mambaseg_core.synth.benchmark_set import write_benchmark

SETUP = preset_preprocessing("mambaseg_dsec", size=(44, 64), channels=3)


def write(root: Path, *, seconds: float = 0.1, jobs: int = 1, progress: object = None) -> int:
    return write_benchmark(
        root, size=(48, 64), sequences={"train": 1, "test": 1}, seconds=seconds, jobs=jobs, progress=progress
    )  # type: ignore[arg-type]


def test_two_parts_of_four_conditions_that_share_no_scene(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    assert write(tmp_path, progress=lambda done, total: calls.append((done, total))) == 8
    assert calls == [(done, 8) for done in range(9)]
    parts = [DsecDataset(tmp_path, split, SETUP) for split in ("train", "test")]
    for part in parts:
        assert sorted(part[number].condition for number in range(len(part))) == ["day", "fast", "glare", "night"]
    seeds = [path.read_text().split("seed: ")[1].split()[0] for path in tmp_path.rglob("sequence.yaml")]
    assert len(set(seeds)) == 8

    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.png")}
    write(tmp_path)  # all is there: nothing is written again
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.png")} == before
    with pytest.raises(ValueError, match=r"day_00 holds .*'seconds': 0\.1.*, expected .*'seconds': 0\.2"):
        write(tmp_path, seconds=0.2)


def test_the_sensors_take_turns(tmp_path: Path) -> None:
    write_benchmark(tmp_path, size=(48, 64), sequences={"train": 2, "test": 0}, seconds=0.1)
    sensors = [path.read_text().split("sensor: ")[1].split()[0] for path in sorted(tmp_path.glob("train/day*/*.yaml"))]
    assert sensors == ["davis346", "gen3"]


def test_no_processes(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="jobs is 0"):
        write(tmp_path, jobs=0)
