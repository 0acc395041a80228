"""`mambaseg predict` of a bag: the windows and images are those of the recording that the bag was made from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mambaseg_core.data.dsec import DsecSequence
from mambaseg_core.evaluation.predict import open_recording
from mambaseg_core.events import Window
from mambaseg_core.synth.dsec_drive import SequenceSummary
from mambaseg_ros.bag.bag_windows import open_bag_windows
from mambaseg_ros.bag.convert import convert


def test_a_bag_gives_the_images_and_windows_of_its_source(summary: SequenceSummary, tmp_path: Path) -> None:
    sequence = DsecSequence(summary.path)
    convert(sequence.root, tmp_path / "bag")
    with pytest.raises(ValueError, match=r"and there is no calibration; expected the two cameras' cam_to_cam.yaml"):
        open_recording(tmp_path / "bag", open_bag=open_bag_windows)
    found, numbers = open_recording(tmp_path / "bag", open_bag=open_bag_windows, calibration=sequence.calibration)
    assert numbers == list(range(len(sequence)))
    assert found.image_times_ns.tolist() == sequence.image_times_ns.tolist()
    window = Window(duration_ns=20_000_000)
    for number in [*numbers, 2]:  # and back
        np.testing.assert_array_equal(found.image(number), sequence.image(number))
        stamp_ns = int(sequence.image_times_ns[number])
        mine, theirs = found.window(stamp_ns, window, 10), sequence.window(stamp_ns, window, 10)
        for name in ("x", "y", "t_ns", "p"):
            np.testing.assert_array_equal(getattr(mine, name), getattr(theirs, name))
        assert len(mine) > 0 or number == 0
    with pytest.raises(ValueError, match="topic /camera is not in bag"):
        open_recording(tmp_path / "bag", open_bag=open_bag_windows, image_topic="/camera")
