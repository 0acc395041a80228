"""Images warped into the event view."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from mambaseg_core.data.dsec import DsecSequence
from mambaseg_core.data.ev_inf import write_ev_inf
from mambaseg_core.synth.dsec_drive import SequenceSummary


@pytest.fixture
def root(summary: SequenceSummary, tmp_path: Path) -> Path:
    return Path(shutil.copytree(summary.path, tmp_path / summary.path.name))


def test_every_image_is_warped_once(root: Path) -> None:
    sequence = DsecSequence(root)
    steps: list[tuple[int, int]] = []
    done = write_ev_inf(sequence, lambda *step: steps.append(step))
    assert (done.written, done.kept) == (len(sequence), 0)
    assert steps == [(k + 1, len(sequence)) for k in range(len(sequence))]
    files = sorted((root / "images/left/ev_inf").iterdir())
    assert [file.name for file in files] == [path.name for path in sequence.image_paths]
    assert sequence.calibration is not None
    for index in (0, len(sequence) - 1):
        image = cv2.imread(str(files[index]))[..., ::-1]
        np.testing.assert_array_equal(image, sequence.calibration.warp_image(sequence.image(index)))
        assert image.shape == (*sequence.event_size, 3)


def test_an_interrupted_run_goes_on(root: Path) -> None:
    sequence = DsecSequence(root)
    write_ev_inf(sequence)
    files = sorted((root / "images/left/ev_inf").iterdir())
    files[1].unlink()
    files[0].write_bytes(b"kept")
    done = write_ev_inf(sequence)
    assert (done.written, done.kept) == (1, len(files) - 1)
    assert files[0].read_bytes() == b"kept"
    assert sorted((root / "images/left/ev_inf").iterdir()) == files


def test_without_a_calibration_there_is_no_way(root: Path) -> None:
    shutil.rmtree(root / "calibration")
    with pytest.raises(ValueError, match=r"has no calibration, expected calibration/cam_to_cam"):
        write_ev_inf(DsecSequence(root))


def test_a_damaged_image_leaves_nothing_half_written(root: Path) -> None:
    sequence = DsecSequence(root)
    sequence.image_paths[1].write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"000001\.png with \d+ bytes cannot be read"):
        write_ev_inf(sequence)
    assert [file.name for file in (root / "images/left/ev_inf").iterdir()] == ["000000.png"]


def test_the_published_rectify_map_is_used(root: Path) -> None:
    import h5py

    computed = DsecSequence(root).calibration
    assert computed is not None
    with h5py.File(root / "events" / "left" / "rectify_map.h5", "w") as file:
        file.create_dataset("rectify_map", data=computed.rectify_map() + 1)
    published = DsecSequence(root).calibration
    assert published is not None
    np.testing.assert_array_equal(published.rectify_map(), computed.rectify_map() + 1)
