from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from mambaseg_core.data.dsec import DsecSequence
from mambaseg_core.synth import dsec_drive
from mambaseg_core.synth.conditions import draw_conditions
from mambaseg_core.synth.dsec_drive import T_OFFSET_US, SequenceSummary
from mambaseg_core.synth.rig import make_calibration


def test_the_layout(summary: SequenceSummary) -> None:
    files = sorted(str(path.relative_to(summary.path)) for path in summary.path.rglob("*") if path.is_file())
    numbers = [f"{index:06d}.png" for index in range(6)]
    assert files == sorted(
        [
            "calibration/cam_to_cam.yaml",
            "events/left/events.h5",
            "events/left/rectify_map.h5",
            "images/timestamps.txt",
            "semantic/timestamps.txt",
            "sequence.yaml",
            *(f"images/left/rectified/{name}" for name in numbers),
            *(f"semantic/11classes/data/{name}" for name in numbers),
        ]
    )
    assert (summary.images, summary.labels, summary.seconds) == (6, 6, 0.3)
    assert summary.path.name == "synthetic_00_a"
    assert [path.name for path in summary.path.parent.iterdir()] == ["synthetic_00_a"]


def test_events_and_images_share_a_clock(summary: SequenceSummary) -> None:
    times = np.loadtxt(summary.path / "images/timestamps.txt", dtype=np.int64) - T_OFFSET_US
    assert times.tolist() == [49863, 99863, 149863, 199863, 249863, 299863]
    assert (summary.path / "semantic/timestamps.txt").read_text() == (
        summary.path / "images/timestamps.txt"
    ).read_text()
    with h5py.File(summary.path / "events/left/events.h5") as file:
        t = file["events/t"][()]
        assert int(file["t_offset"][()]) == T_OFFSET_US
        assert len(t) == summary.events > 5000
        assert t[0] < 4000
        assert 299_000 < t[-1] < 300_000
        assert (np.diff(t.astype(np.int64)) >= 0).all()
        assert file["events/x"][()].max() == 159
        assert file["events/y"][()].max() == 119


def test_the_rectify_map_is_the_calibration_s(summary: SequenceSummary) -> None:
    with h5py.File(summary.path / "events/left/rectify_map.h5") as file:
        stored = file["rectify_map"][()]
    assert stored.dtype == np.float32
    conditions = draw_conditions("day", np.random.default_rng(np.random.SeedSequence(0).spawn(1)[0]), 0.3)
    calibration = make_calibration((135, 180), (120, 160), conditions.motion.focal)
    np.testing.assert_allclose(stored, calibration.rectify_map(), atol=1e-3)
    assert np.abs(stored - np.stack(np.meshgrid(np.arange(160), np.arange(120)), -1)).max() > 2


def test_labels_have_the_event_view_s_size_and_dsec_s_classes(summary: SequenceSummary) -> None:
    sequence = DsecSequence(summary.path)
    seen: set[int] = set()
    for index in range(len(sequence)):
        labels = sequence.label(index)
        assert labels.shape == (120, 160)
        seen |= set(np.unique(labels).tolist())
        assert (labels == 5).mean() > 0.15  # road
        assert labels[0, 70] in (0, 1, 7)
    assert seen <= set(range(11))
    assert seen >= {0, 5, 7}  # what any place has


def test_the_same_seed_produces_the_same_sequence(
    tmp_path: Path, summary: SequenceSummary, write_small: Callable[..., SequenceSummary]
) -> None:
    again = write_small(tmp_path, seed=0)
    assert again.events == summary.events
    for path in summary.path.rglob("*"):
        other = again.path / path.relative_to(summary.path)
        if path.name == "events.h5":
            with h5py.File(path) as first, h5py.File(other) as second:
                for name in ("events/x", "events/y", "events/t", "events/p", "ms_to_idx"):
                    np.testing.assert_array_equal(first[name][()], second[name][()])
        elif path.is_file() and path.suffix != ".h5":
            assert path.read_bytes() == other.read_bytes()


def test_another_seed_produces_another_sequence(
    tmp_path: Path, summary: SequenceSummary, write_small: Callable[..., SequenceSummary]
) -> None:
    other = write_small(tmp_path, seed=1)
    first = "semantic/11classes/data/000000.png"
    assert (other.path / first).read_bytes() != (summary.path / first).read_bytes()


def test_a_sequence_names_its_sensor(tmp_path: Path, write_small: Callable[..., SequenceSummary]) -> None:
    """Another sensor has other events, in front of the same street."""
    first, second = (write_small(tmp_path, name=name, sensor=name, seconds=0.1) for name in ("gen3", "davis346"))
    assert "sensor: gen3\n" in (first.path / "sequence.yaml").read_text()
    assert "sensor: davis346\n" in (second.path / "sequence.yaml").read_text()
    image = "images/left/rectified/000000.png"
    assert (first.path / image).read_bytes() == (second.path / image).read_bytes()
    assert first.events != second.events


def test_images_are_rgb_and_bright(summary: SequenceSummary) -> None:
    sequence = DsecSequence(summary.path)
    image = sequence.image(3)
    assert image.shape == (135, 180, 3)
    red, _, blue = image[:25, 70:110].reshape(-1, 3).mean(axis=0)
    assert blue > red + 10  # the sky
    assert 60 < image.mean() < 190


def test_the_folder_appears_only_when_it_is_complete(
    tmp_path: Path, write_small: Callable[..., SequenceSummary], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        assert not (tmp_path / "synthetic_00_a").exists()
        raise OSError("disk full")

    monkeypatch.setattr(dsec_drive, "write_png", fail)
    with pytest.raises(OSError, match="disk full"):
        write_small(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_progress_counts_to_its_end(tmp_path: Path, write_small: Callable[..., SequenceSummary]) -> None:
    calls: list[tuple[int, int]] = []
    write_small(tmp_path / "new" / "folder", seconds=0.05, progress=lambda done, total: calls.append((done, total)))
    assert [done for done, _ in calls] == list(range(1, len(calls) + 1))
    assert {total for _, total in calls} == {len(calls)}


def test_an_existing_sequence_is_not_touched(
    summary: SequenceSummary, write_small: Callable[..., SequenceSummary]
) -> None:
    with pytest.raises(ValueError, match="synthetic_00_a exists already"):
        write_small(summary.path.parent)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"seconds": 0.0}, "seconds=0.0"),
        ({"seconds": 0.01}, "seconds=0.01 and fps=20"),
        ({"seconds": float("nan")}, "seconds=nan"),
        ({"seconds": 1e9}, "at most 600 s"),
        ({"fps": -1.0}, "fps is -1.0"),
        ({"fps": float("inf")}, "fps is inf, expected above 0 and at most 1000"),
        ({"fps": 1e9}, "fps is 1000000000.0, expected above 0 and at most 1000"),
        ({"seed": -1}, "seed is -1, expected 0 or a whole number above it"),
        ({"condition": "fog"}, "condition is 'fog', expected one of day, night, glare, tunnel, rain, fast, turn"),
        ({"sensor": "dvs128"}, "sensor is 'dvs128', expected one of davis346, gen3"),
        ({"name": "a/b"}, "name is 'a/b'"),
        ({"name": ".."}, r"name is '\.\.'"),
        ({"name": ""}, "name is ''"),
        ({"image_size": (10, 200)}, r"image_size is \(10, 200\)"),
        ({"event_size": (100, 70000)}, r"event_size is \(100, 70000\)"),
    ],
)
def test_bad_arguments(
    tmp_path: Path, write_small: Callable[..., SequenceSummary], options: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        write_small(tmp_path, **options)
    assert list(tmp_path.iterdir()) == []
