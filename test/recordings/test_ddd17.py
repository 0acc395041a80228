"""DDD17's memory maps."""

from __future__ import annotations

from pathlib import Path

import event_recordings as recordings
import numpy as np
import pytest

from mambaseg_core.recordings import open_events


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return recordings.ddd17(tmp_path, recordings.some_events(100))


def test_a_window_is_a_copy_and_not_the_map(folder: Path) -> None:
    events = open_events(folder).between(0, 2**62).events
    (folder / "events.dat.t").write_bytes(bytes(800))
    assert events.t_ns[0] > 0


def test_files_of_different_lengths(folder: Path) -> None:
    np.zeros((99, 3), "<i2").tofile(folder / "events.dat.xyp")
    with pytest.raises(ValueError, match=r"'events.dat.t': 100, 'events.dat.xyp': 99.*unpack ddd17_seg"):
        len(open_events(folder))


@pytest.mark.parametrize(("name", "size"), [("events.dat.t", 799), ("events.dat.xyp", 599)])
def test_a_cut_off_file(folder: Path, name: str, size: int) -> None:
    (folder / name).write_bytes(bytes(size))
    with pytest.raises(ValueError, match=f"{name} has {size} bytes, expected a multiple"):
        len(open_events(folder))


def test_a_missing_file(folder: Path) -> None:
    (folder / "events.dat.xyp").unlink()
    with pytest.raises(ValueError, match=r"events\.dat\.xyp is missing"):
        len(open_events(folder))


@pytest.mark.parametrize("row", [(346, 0, 1), (0, 260, 1), (-1, 0, 1), (0, 0, 7)])
def test_an_event_that_cannot_be(folder: Path, row: tuple[int, int, int]) -> None:
    table = np.fromfile(folder / "events.dat.xyp", "<i2").reshape(-1, 3)
    table[40] = row
    table.tofile(folder / "events.dat.xyp")
    with pytest.raises(ValueError, match=r"events 0 to 100 of .*expected"):
        open_events(folder).between(0, 2**62)


def test_times_that_run_backwards(folder: Path) -> None:
    times = np.fromfile(folder / "events.dat.t", "<i8")
    times[50] = 0
    times.tofile(folder / "events.dat.t")
    with pytest.raises(ValueError, match="runs backwards at index 50"):
        list(open_events(folder).chunks(count=1000))
