from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest

from mambaseg_core.data.dsec import DsecSequence
from mambaseg_core.events import Events, Window
from mambaseg_core.synth.dsec_drive import T_OFFSET_US, SequenceSummary


@pytest.fixture
def root(tmp_path: Path, summary: SequenceSummary) -> Path:
    """A copy of the small sequence that a test may change."""
    return Path(shutil.copytree(summary.path, tmp_path / "synthetic_00_a"))


def test_a_whole_sequence(summary: SequenceSummary) -> None:
    sequence = DsecSequence(summary.path)
    assert len(sequence) == summary.images == 6
    assert sequence.image_times_ns.dtype == np.int64
    assert sequence.image_times_ns[0] == (T_OFFSET_US + 49_863) * 1000
    assert sequence.image(0).shape == (135, 180, 3)
    assert sequence.image(0).dtype == np.uint8
    assert sequence.label(5).dtype == np.uint8
    assert sequence.event_size == (120, 160)
    assert sequence.calibration is not None
    assert sequence.calibration.image_size == (135, 180)
    assert sum(map(len, sequence.iter_events(2_000_000))) == summary.events


def test_windows_end_at_an_image(summary: SequenceSummary) -> None:
    sequence = DsecSequence(summary.path)
    end = int(sequence.image_times_ns[2])
    window = sequence.events.between(end - 50_000_000, end).events
    assert len(window) > 100
    assert window.t_ns[0] >= end - 50_000_000
    assert window.t_ns[-1] < end
    last = sequence.events.last(100, end).events
    np.testing.assert_array_equal(last.t_ns, window.t_ns[-100:])
    np.testing.assert_array_equal(last.x, window.x[-100:])
    assert len(sequence.events.between(0, 10**9).events) == 0
    assert len(sequence.calibration.rectify(window)) > 0.8 * len(window)  # type: ignore[union-attr]


def test_images_are_rgb(root: Path) -> None:
    image = np.zeros((5, 4, 3), np.uint8)
    image[..., 2] = 200  # OpenCV writes BGR: this is red
    cv2.imwrite(str(root / "images/left/rectified/000001.png"), image)
    assert DsecSequence(root).image(1)[0, 0].tolist() == [200, 0, 0]


@pytest.mark.parametrize(
    ("folder", "times"),
    [
        ("semantic/11classes/data", "semantic/timestamps.txt"),
        ("semantic/left/11classes/data", "semantic/timestamps.txt"),
        ("semantic/left/11classes", "semantic/semantic_timestamps.txt"),
        ("11classes", "synthetic_00_a_semantic_timestamps.txt"),
    ],
)
@pytest.mark.parametrize("kept", [6, 4])
def test_the_four_published_label_layouts(root: Path, folder: str, times: str, kept: int) -> None:
    expected = DsecSequence(root).label(4)
    lines = (root / "semantic/timestamps.txt").read_text().split()[-kept:]
    shutil.move(root / "semantic/11classes/data", root / "labels")
    shutil.rmtree(root / "semantic")
    for path in sorted((root / "labels").iterdir())[: 6 - kept]:
        path.unlink()
    (root / folder).parent.mkdir(parents=True, exist_ok=True)
    shutil.move(root / "labels", root / folder)
    (root / times).write_text("\n".join(lines))
    sequence = DsecSequence(root)
    np.testing.assert_array_equal(sequence.label(4), expected)
    assert [path is not None for path in sequence.label_paths] == [False] * (6 - kept) + [True] * kept


def test_other_label_sets(root: Path) -> None:
    shutil.copytree(root / "semantic/11classes", root / "semantic/19classes")
    cv2.imwrite(str(root / "semantic/19classes/data/000000.png"), np.full((110, 160), 18, np.uint8))
    assert DsecSequence(root, classes=19).label(0).max() == 18
    assert DsecSequence(root).label(0).max() < 11


def test_without_labels_and_calibration(root: Path) -> None:
    shutil.rmtree(root / "semantic")
    shutil.rmtree(root / "calibration")
    sequence = DsecSequence(root)
    assert sequence.event_size == (480, 640)
    with pytest.raises(ValueError, match=r"synthetic_00_a has no calibration/cam_to_cam\.yaml, without which"):
        _ = sequence.calibration
    assert DsecSequence(root, registered=True).calibration is None
    assert sequence.label_paths == (None,) * 6
    with pytest.raises(ValueError, match=r"image 2 of sequence .* has no label .*semantic/11classes/data"):
        sequence.label(2)


@pytest.mark.parametrize("moved", ["events/left/events.h5", "calibration/cam_to_cam.yaml"])
def test_files_in_the_sequence_s_own_folder(root: Path, moved: str) -> None:
    shutil.move(root / moved, root / Path(moved).name)
    sequence = DsecSequence(root)
    assert sequence.event_size == (120, 160)
    assert len(sequence.events.last(5, 2**62).events) == 5


def test_times_as_in_the_single_files(root: Path) -> None:
    shutil.move(root / "images/timestamps.txt", root / "synthetic_00_a_image_timestamps.txt")
    assert len(DsecSequence(root).image_times_ns) == 6


def test_it_can_be_pickled_while_open(summary: SequenceSummary) -> None:
    sequence = DsecSequence(summary.path)
    end = int(sequence.image_times_ns[3])
    before = sequence.events.last(10, end).events
    copy = pickle.loads(pickle.dumps(sequence))
    np.testing.assert_array_equal(copy.events.last(10, end).events.t_ns, before.t_ns)


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ("events", r"has no events \(found: \['calibration', .*'sequence.yaml'\]\), expected events/left/ev"),
        ("images/left", r"has no images .*expected images/left/rectified"),
        ("images/timestamps.txt", r"has no image times .*synthetic_00_a_image_timestamps\.txt"),
    ],
)
def test_missing_files(root: Path, missing: str, words: str) -> None:
    path = root / missing
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(ValueError, match=words) as caught:
        DsecSequence(root)
    assert str(root) in str(caught.value)


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nowhere is no folder"):
        DsecSequence(tmp_path / "nowhere")


def _write(name: str, content: str) -> Callable[[Path], object]:
    return lambda root: (root / name).write_text(content)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda root: (root / "images/left/rectified/000003.png").unlink(), "5 images and 6 image times"),
        (_write("images/timestamps.txt", "1\n2\nthree\n4\n5\n6"), "cannot be read .*'three'"),
        (_write("images/timestamps.txt", "1\n2\n9\n4\n5\n6"), "run backwards at line 4"),
        (
            lambda root: (root / "semantic/11classes/data/000003.png").unlink(),
            "5 labels .* 6 label times and 6 images",
        ),
        (_write("calibration/cam_to_cam.yaml", "{}"), r"cam_to_cam\.yaml: intrinsics is nothing"),
    ],
)
def test_files_that_do_not_fit(root: Path, change: Callable[[Path], object], words: str) -> None:
    change(root)
    with pytest.raises(ValueError, match=words):
        DsecSequence(root)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            _write("images/left/rectified/000000.png", "no picture"),
            r"000000\.png with \d+ bytes cannot be read",
        ),
        (_write("semantic/11classes/data/000000.png", ""), r"000000\.png with \d+ bytes cannot be read"),
        (
            lambda root: cv2.imwrite(str(root / "semantic/11classes/data/000000.png"), np.zeros((3, 4, 3), np.uint8)),
            r"000000\.png is uint8 \[3, 4, 3\], expected class ids",
        ),
        (_write("events/left/events.h5", "no hdf5"), r"events\.h5 cannot be read"),
    ],
)
def test_damaged_files_are_found_when_read(root: Path, change: Callable[[Path], object], words: str) -> None:
    change(root)
    sequence = DsecSequence(root)
    with pytest.raises(ValueError, match=words):
        sequence.image(0), sequence.label(0), sequence.events.last(1, 2**62).events


def test_a_table_that_is_wrong_changes_no_window(root: Path) -> None:
    def window() -> Events:
        sequence = DsecSequence(root)
        return sequence.window(int(sequence.image_times_ns[2]), Window(duration_ns=50_000_000), 10)

    expected = window()
    with h5py.File(root / "events/left/events.h5", "r+") as file:
        file["ms_to_idx"][...] = 0
    np.testing.assert_array_equal(window().t_ns, expected.t_ns)


def test_there_is_no_such_image(summary: SequenceSummary) -> None:
    with pytest.raises(IndexError):
        DsecSequence(summary.path).image(6)
